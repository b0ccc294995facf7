package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/nft"
	"weir/nft/kernel"
	"weir/phases"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/plans"
)

// unblock opens a bounded exception within the plan's limits.
func (d *Daemon) unblock(ctx context.Context, c caller, in api.UnblockArgs) (api.Exception, error) {
	p, err := d.needPlan()
	if err != nil {
		return api.Exception{}, err
	}
	e, err := exception(p, in)
	if err != nil {
		return api.Exception{}, err
	}
	if err := d.withinLimits(p, e); err != nil {
		return api.Exception{}, err
	}
	if err := d.canOpen(); err != nil {
		return api.Exception{}, err
	}
	if e.ID, err = newID("e"); err != nil {
		return api.Exception{}, err
	}
	words := fmt.Sprintf("unblocked %s to %s %s for %s: %s", e.From, e.To, serviceText(e.Service), in.For, in.Reason)
	if err := d.machine.Note(ctx, c.now, c.Actor, phases.Noted, phases.Record{Line: e.ID, Words: words}); err != nil {
		return api.Exception{}, err
	}
	return d.openException(ctx, c.now, e, in.Reason)
}

func (d *Daemon) canOpen() error {
	if !d.machine.Look().Present {
		return exit.Errorf(exit.Refused, "nothing of weir is in the kernel: everything passes").
			WithHint("weir status")
	}
	return nil
}

// openException opens what the journal holds already, and reads it back.
func (d *Daemon) openException(ctx context.Context, now time.Time, e nft.Exception, reason string) (api.Exception, error) {
	if err := d.remember(now, rememberedEx{Exception: e, Until: now.Add(e.For)}); err != nil {
		return api.Exception{}, err
	}
	d.gen++
	d.evidence.Open(monitor.Opening{ID: e.ID, Kind: unblockKind, From: now, To: now.Add(e.For), Reason: reason,
		Clients: []netip.Prefix{e.From}, Servers: []netip.Prefix{e.To}, Services: servicesOf(e.Service)})
	// It outlives a crash: what the unblock lets in is in the connection table
	// still when the next daemon reads it.
	if err := d.flush(now); err != nil {
		return api.Exception{}, err
	}
	if err := d.kernel.AddException(ctx, e); err != nil {
		return api.Exception{}, err
	}
	live, err := d.exceptions(ctx)
	if err != nil {
		return api.Exception{}, exit.Errorf(exit.Unknown, "unblocked, but the kernel could not be read back: %w", err)
	}
	for _, x := range live {
		if x.ID == e.ID {
			return x, nil
		}
	}
	return api.Exception{}, exit.Errorf(exit.Failed, "the kernel does not show the exception").WithHint("weir unblock --list")
}

func servicesOf(s flow.Service) []flow.Service {
	if s.Proto == 0 {
		return nil
	}
	return []flow.Service{s}
}

func serviceText(s flow.Service) string {
	if s.Proto == 0 {
		return "any service"
	}
	return s.String()
}

// exception reads the arguments; every mistake has its own words.
func exception(p plans.Plan, in api.UnblockArgs) (nft.Exception, error) {
	var e nft.Exception
	var err error
	if in.From == "" || in.To == "" || in.Service == "" || in.For <= 0 || in.Reason == "" {
		return e, exit.Errorf(exit.Usage, "an unblock names from, to, service, for and reason").
			WithHint("weir unblock --from 10.20.16.12 --to 198.51.100.7 --service tcp/443 --for 1h --reason TICKET")
	}
	if e.From, err = parsePrefix(in.From); err != nil {
		return e, err
	}
	if e.To, err = parsePrefix(in.To); err != nil {
		return e, err
	}
	if e.From.Addr().Is4() != e.To.Addr().Is4() {
		return e, exit.Errorf(exit.Invalid, "--from %s and --to %s are of different families", e.From, e.To)
	}
	if in.Service != "any" {
		if s, ok := p.Services[in.Service]; ok {
			if len(s) != 1 {
				return e, exit.Errorf(exit.Invalid, "service %s is %d services; unblock them one by one", in.Service, len(s))
			}
			e.Service = s[0]
		} else if e.Service, err = flow.ParseService(in.Service); err != nil {
			return e, exit.Errorf(exit.Invalid, "%w", err).WithHint("tcp/443, icmp/8, esp, any, or a service of the plan")
		}
	}
	e.For = in.For
	return e, nil
}

// withinLimits refuses an unblock that is wider or longer than the plan, or the
// trust file, lets one operator open.
func (d *Daemon) withinLimits(p plans.Plan, e nft.Exception) error {
	contact := ""
	if p.Unblock.Contact != "" {
		contact = "; ask " + p.Unblock.Contact
	}
	err := beyond("the plan", p.Unblock, e, contact)
	t, _ := d.machine.Trust() // the limits of the accepted file hold also while another one is there
	if t == nil {
		return err
	}
	if err == nil {
		err = beyond("the trust file", t.Unblock, e, contact)
	}
	return bySigners(err, "weir unblock")
}

func beyond(whose string, u plans.Unblock, e nft.Exception, contact string) error {
	widest, from := u.Widest4, u.From4
	if e.To.Addr().Is6() {
		widest, from = u.Widest6, u.From6
	}
	switch {
	case e.To.Bits() < widest:
		return exit.Errorf(exit.Refused, "%s lets an unblock reach at most a /%d, not %s%s", whose, widest, e.To, contact)
	case e.From.Bits() < from:
		return exit.Errorf(exit.Refused, "%s lets an unblock be for at most a /%d, not %s%s", whose, from, e.From, contact)
	case u.Longest > 0 && e.For > u.Longest:
		return exit.Errorf(exit.Refused, "%s lets an unblock last at most %s, not %s%s", whose, u.Longest, e.For, contact)
	}
	return nil
}

// bySigners says how to go beyond a limit.
func bySigners(err error, verb string) error {
	if err == nil {
		return nil
	}
	return exit.From(err).WithHint("beyond it signers decide: %s … --statement; one alone, for 4h at most: %s … --emergency --sign KEYFILE", verb, verb)
}

func newID(prefix string) (string, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return prefix + hex.EncodeToString(b[:]), nil
}

// exceptions lists the live ones as the kernel says.
func (d *Daemon) exceptions(ctx context.Context) ([]api.Exception, error) {
	live, err := d.kernel.Exceptions(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.Exception{}
	for _, e := range live {
		x := api.Exception{ID: e.ID, Kind: "unblock", From: e.From, To: e.To, Service: e.Service, Left: e.For, Packets: e.Packets, Bytes: e.Bytes}
		x.By, x.Reason = d.noteOf(e.ID)
		out = append(out, x)
	}
	quar, err := d.kernel.Quarantines(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range quar {
		x := api.Exception{ID: q.Addr.String(), Kind: "quarantine", From: netip.PrefixFrom(q.Addr, q.Addr.BitLen()), Left: q.Left}
		x.By, x.Reason = d.noteOf(q.Addr.String())
		out = append(out, x)
	}
	return out, nil
}

// noteOf finds who opened an exception, and why.
func (d *Daemon) noteOf(id string) (by, words string) {
	records, err := d.machine.History()
	if err != nil {
		return "", ""
	}
	for i := len(records) - 1; i >= 0; i-- {
		if r := records[i]; r.Kind == phases.Noted && r.Line == id {
			return r.Actor.Name, r.Words
		}
	}
	return "", ""
}

func (d *Daemon) unblocks(ctx context.Context, c caller, in None) ([]api.Exception, error) {
	return d.exceptions(ctx)
}

func (d *Daemon) endUnblock(ctx context.Context, c caller, in api.EndArgs) (None, error) {
	live, err := d.kernel.Exceptions(ctx)
	if err != nil {
		return None{}, err
	}
	for _, e := range live {
		if e.ID != in.ID {
			continue
		}
		if err := d.remember(c.now, rememberedEx{Exception: nft.Exception{ID: in.ID}}); err != nil {
			return None{}, err
		}
		if err := d.kernel.EndException(ctx, in.ID); err != nil {
			return None{}, err
		}
		return None{}, d.machine.Note(ctx, c.now, c.Actor, phases.Noted, phases.Record{Line: in.ID, Words: "ended the unblock " + in.ID})
	}
	return None{}, exit.Errorf(exit.NotInForce, "no unblock %q is in force", in.ID).WithHint("weir unblock --list")
}

// drill exercises the unblock procedure on this machine from end to end: an
// exception between two documentation addresses is opened, seen in the kernel,
// ended, and seen to be gone.
func (d *Daemon) drill(ctx context.Context, c caller, in None) (api.Drilled, error) {
	if !d.machine.Look().Present {
		return api.Drilled{}, exit.Errorf(exit.Refused, "nothing of weir is in the kernel yet").WithHint("take the monitor step first: weir advance")
	}
	start := time.Now()
	var out api.Drilled
	for _, pair := range [][2]string{{"192.0.2.1/32", "192.0.2.2/32"}, {"2001:db8::1/128", "2001:db8::2/128"}} {
		id, err := newID("e")
		if err != nil {
			return out, err
		}
		e := nft.Exception{ID: id, From: netip.MustParsePrefix(pair[0]), To: netip.MustParsePrefix(pair[1]),
			Service: flow.Single(flow.TCP, 443), For: 5 * time.Second}
		t := time.Now()
		if err := d.kernel.AddException(ctx, e); err != nil {
			return out, fmt.Errorf("the drill failed: %w", err)
		}
		if !d.live(ctx, id) {
			return out, exit.Errorf(exit.Failed, "the drill failed: the kernel does not show the exception")
		}
		out.Opened = max(out.Opened, time.Since(t))
		t = time.Now()
		if err := d.kernel.EndException(ctx, id); err != nil {
			return out, fmt.Errorf("the drill failed: %w", err)
		}
		if d.live(ctx, id) {
			return out, exit.Errorf(exit.Failed, "the drill failed: the exception did not end")
		}
		out.Ended = max(out.Ended, time.Since(t))
	}
	out.Took = time.Since(start)
	return out, d.machine.Drilled(ctx, c.now, c.Actor, out.Took)
}

func (d *Daemon) live(ctx context.Context, id string) bool {
	all, err := d.kernel.Exceptions(ctx)
	if err != nil {
		return false
	}
	for _, e := range all {
		if e.ID == id {
			return true
		}
	}
	return false
}

// quarantine cuts one endpoint off, live connections too, for a bounded time.
func (d *Daemon) quarantine(ctx context.Context, c caller, in api.QuarantineArgs) (None, error) {
	a, err := d.canCutOff(in.Host)
	if err != nil {
		return None{}, err
	}
	if in.End {
		live, err := d.kernel.Quarantines(ctx)
		if err != nil {
			return None{}, err
		}
		if !slices.ContainsFunc(live, func(q kernel.Quarantined) bool { return q.Addr == a }) {
			return None{}, exit.Errorf(exit.NotInForce, "no quarantine of %s is in force", a).WithHint("weir unblock --list")
		}
		if err := d.remember(c.now, quarantineOf(a, 0, c.now)); err != nil {
			return None{}, err
		}
		if err := d.kernel.Unquarantine(ctx, a); err != nil {
			return None{}, err
		}
		return None{}, d.machine.Note(ctx, c.now, c.Actor, phases.Noted, phases.Record{Line: a.String(), Words: "ended the quarantine of " + a.String()})
	}
	if err := boundedQuarantine(a, in.For); err != nil {
		return None{}, err
	}
	if t, _ := d.machine.Trust(); t != nil && t.Quarantine > 0 && in.For > t.Quarantine {
		return None{}, bySigners(exit.Errorf(exit.Refused, "the trust file lets a quarantine last at most %s, not %s", t.Quarantine, in.For), "weir quarantine")
	}
	if err := d.machine.Note(ctx, c.now, c.Actor, phases.Noted, phases.Record{Line: a.String(),
		Words: strings.TrimSuffix(fmt.Sprintf("quarantined %s for %s: %s", a, in.For, in.Reason), ": ")}); err != nil {
		return None{}, err
	}
	return None{}, d.cutOff(ctx, c.now, a, in.For)
}

// canCutOff reads the address of a host that a quarantine would touch.
func (d *Daemon) canCutOff(host string) (netip.Addr, error) {
	p, err := d.needPlan()
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return a, exit.Errorf(exit.Usage, "cannot read address %q", host)
	}
	a = a.Unmap().WithZone("")
	where, err := d.sideOf(p, a)
	switch {
	case err != nil:
		return a, err
	case where == outOf:
		return a, exit.Errorf(exit.Invalid, "%s is not inside: the plan does not judge it", a)
	case where == ownOf && !hostHook(p.Scope.Hooks):
		return a, exit.Errorf(exit.Invalid, "%s is this machine's own address: the plan does not judge what it sends itself", a)
	}
	if !d.machine.Look().Present {
		return a, exit.Errorf(exit.Refused, "nothing of weir is in the kernel: nothing can be cut off").WithHint("weir status")
	}
	return a, nil
}

func boundedQuarantine(a netip.Addr, long time.Duration) error {
	if long <= 0 || long > 7*24*time.Hour {
		return exit.Errorf(exit.Usage, "a quarantine is bounded: --for up to 7d").WithHint("weir quarantine %s --for 4h --reason TICKET", a)
	}
	return nil
}

// cutOff cuts off what the journal holds already.
func (d *Daemon) cutOff(ctx context.Context, now time.Time, a netip.Addr, long time.Duration) error {
	if err := d.remember(now, quarantineOf(a, long, now)); err != nil {
		return err
	}
	return d.kernel.Quarantine(ctx, a, long)
}
