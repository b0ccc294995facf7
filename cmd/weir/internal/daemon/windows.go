package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weir/nft"
	"weir/phases"
	"weir/phases/policy"
	"weir/plans"
)

// A declared flow with a window is no rule: it is an exception that the kernel
// itself ends, opened when the window opens, so that what it let in ends with
// it, weir alive or not.

// withoutWindows takes the rules of windowed flows out of a policy.
func withoutWindows(p plans.Plan, pol policy.Policy) policy.Policy {
	pol.Rules = slices.DeleteFunc(pol.Rules, func(r policy.Rule) bool {
		return r.Reason == policy.DeclaredBy && slices.ContainsFunc(p.Declared, func(d plans.Declared) bool { return d.Name == r.Name && d.Window != nil })
	})
	return pol
}

// windows opens the exceptions of the windows that are open now, once each. The
// windows are those of the plan in force, which was approved with its step, not
// of one that somebody registered since.
func (d *Daemon) windows(ctx context.Context, now time.Time) error {
	if !d.machine.Look().Present || time.Now().Before(d.windowsAt) {
		return nil
	}
	d.windowsAt = time.Now().Add(5 * time.Second)
	p, err := d.machine.PlanInForce()
	if err != nil {
		return err
	}
	var live map[string]bool
	for _, decl := range p.Declared {
		if decl.Window == nil || !decl.Expires.IsZero() && !now.Before(decl.Expires) {
			continue
		}
		end, open := plans.End([]plans.Window{*decl.Window}, p.Timezone, now)
		if !open {
			continue
		}
		if !decl.Expires.IsZero() && decl.Expires.Before(end) {
			end = decl.Expires
		}
		if live == nil {
			live = map[string]bool{}
			have, err := d.kernel.Exceptions(ctx)
			if err != nil {
				return err
			}
			for _, e := range have {
				live[e.ID] = true
			}
		}
		for _, e := range windowExceptions(p, decl, end) {
			if live[e.ID] {
				continue
			}
			e.For = end.Sub(now)
			if e.For < time.Second {
				continue
			}
			words := fmt.Sprintf("the window of %s is open until %s: %s to %s %s", decl.Name, end.In(p.Timezone).Format("2006-01-02 15:04"), e.From, e.To, serviceText(e.Service))
			if err := d.machine.Note(ctx, now, phases.Self, phases.Noted, phases.Record{Line: e.ID, Words: words}); err != nil {
				return err
			}
			if err := d.kernel.AddException(ctx, e); err != nil {
				return fmt.Errorf("cannot open the window of %s: %w", decl.Name, err)
			}
			d.log.Info(words)
		}
	}
	return nil
}

// windowExceptions lists what a window opens. Its end is part of each id, so
// that the next opening has others.
func windowExceptions(p plans.Plan, decl plans.Declared, end time.Time) []nft.Exception {
	everywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	to, all := p.Resolve(decl.To)
	if all {
		to = everywhere
	}
	var out []nft.Exception
	for _, c := range p.Clients(decl.From) {
		from := c.Endpoints
		if len(from) == 0 {
			if from, all = p.Resolve(plans.Target{Groups: []string{c.Group}}); all {
				from = everywhere
			}
		}
		for _, f := range from {
			for _, t := range to {
				if f.Addr().Is4() != t.Addr().Is4() {
					continue
				}
				for _, s := range decl.Services {
					sum := sha256.Sum256([]byte(fmt.Sprint(decl.Name, f, t, s, end.Unix())))
					out = append(out, nft.Exception{ID: "e" + hex.EncodeToString(sum[:5]), From: f, To: t, Service: s})
				}
			}
		}
	}
	return out
}
