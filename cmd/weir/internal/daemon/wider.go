package daemon

import (
	"context"
	"net/netip"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/notify"
	"weir/nft"
	"weir/phases"
	"weir/phases/approval"
)

// widerStatement is what signers sign so that an unblock or a quarantine goes
// beyond what one operator may do.
func (d *Daemon) widerStatement(c caller, in api.WiderOf) (approval.Statement, error) {
	w := phases.Wider{Kind: phases.KindUnblock, For: in.For, Reason: in.Reason}
	if in.Host != "" {
		a, err := d.canCutOff(in.Host)
		if err == nil {
			err = boundedQuarantine(a, in.For)
		}
		if err != nil {
			return approval.Statement{}, err
		}
		w.Kind, w.From = phases.KindQuarantine, netip.PrefixFrom(a, a.BitLen())
	} else {
		p, err := d.needPlan()
		if err != nil {
			return approval.Statement{}, err
		}
		e, err := exception(p, in.UnblockArgs)
		if err == nil {
			err = d.canOpen()
		}
		if err != nil {
			return approval.Statement{}, err
		}
		w.From, w.To, w.Service = e.From, e.To, e.Service
	}
	decision := approval.Approve
	if in.Alone {
		decision = approval.Emergency
	}
	return d.machine.WiderStatement(c.now, decision, w)
}

// wider makes an exception that its quorum, or one signer alone, has signed.
func (d *Daemon) wider(ctx context.Context, c caller, in api.WiderArgs) (api.Widened, error) {
	id, err := newID("e")
	if err != nil {
		return api.Widened{}, err
	}
	w, r, err := d.machine.AcceptWider(ctx, c.now, c.Actor, in.Statement, in.Signatures, func(w phases.Wider) (string, error) {
		if w.Kind == phases.KindUnblock {
			return id, d.canOpen()
		}
		a, err := d.canCutOff(w.From.Addr().String())
		if err == nil {
			err = boundedQuarantine(a, w.For)
		}
		return a.String(), err
	})
	if err != nil {
		return api.Widened{}, err
	}
	out := api.Widened{Kind: w.Kind, ID: r.Line, For: w.For, Emergency: r.Emergency != ""}
	if out.Emergency {
		d.page("", r.Words, c.now)
	}
	if w.Kind == phases.KindQuarantine {
		return out, d.cutOff(ctx, c.now, w.From.Addr(), w.For)
	}
	_, err = d.openException(ctx, c.now, nft.Exception{ID: id, From: w.From, To: w.To, Service: w.Service, For: w.For}, w.Reason)
	return out, err
}

// page tells every signer what one of them did alone. step is "" for an
// exception.
func (d *Daemon) page(step, words string, now time.Time) {
	m := notify.Message{Severity: notify.Page, Kind: notify.Emergency, At: now, Step: step, Words: words, Command: "weir status"}
	if t, _ := d.machine.Trust(); t != nil {
		for _, s := range t.Signers {
			m.Lines = append(m.Lines, "for the signer "+s.Name)
		}
	}
	d.notify.Tell(m)
}
