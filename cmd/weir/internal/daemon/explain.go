package daemon

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/nft"
	"weir/nft/eval"
	"weir/phases"
	"weir/phases/flow"
	"weir/phases/policy"
)

// why answers "is it the firewall?" for one host.
func (d *Daemon) why(ctx context.Context, c caller, in api.WhyArgs) (api.Why, error) {
	p, err := d.needPlan()
	if err != nil {
		return api.Why{}, err
	}
	a, err := netip.ParseAddr(in.Host)
	if err != nil {
		return api.Why{}, exit.Errorf(exit.Usage, "cannot read address %q", in.Host)
	}
	out := api.Why{Host: a.Unmap().WithZone(""), Denied: []api.WhyLine{}, Lines: []api.WhyLine{}}
	where, err := d.sideOf(p, out.Host)
	if err != nil {
		return out, err
	}
	if where == outOf || where == ownOf && !hostHook(p.Scope.Hooks) {
		out.Side = string(where)
		return out, nil
	}
	out.Group = d.evidence.GroupOf(d.classes, flow.Record{Flow: flow.Flow{Client: out.Host}})
	s := d.machine.State()
	_, _, targets, _ := s.Current()
	if s.Trial != nil {
		targets = s.Heads[s.Trial.Digest].Step.Targets
	}
	out.Treatment = "open"
	for _, t := range targets {
		if t.Group == out.Group {
			out.Treatment = string(t.Treatment)
		}
	}
	if f, pol, ok := d.judging(); ok {
		_ = f
		for _, r := range pol.Rules {
			if r.Group == out.Group {
				out.Rules++
			}
		}
	}
	if d.machine.Look().Present {
		quar, err := d.kernel.Quarantines(ctx)
		if err != nil {
			return out, err
		}
		for _, q := range quar {
			if q.Addr == out.Host {
				out.Quarantined = q.Left
			}
		}
	}
	since := c.now.Add(-in.Since)
	for _, j := range d.evidence.Judged() {
		if j.Verdict.Disagrees() || j.Client != out.Host || in.Since > 0 && j.Last.Before(since) {
			continue
		}
		l := api.WhyLine{Flow: j.Flow, First: j.First, Last: j.Last, Count: j.Count}
		if j.Verdict == flow.WouldDeny {
			out.Lines = append(out.Lines, l)
		} else {
			out.Denied = append(out.Denied, l)
		}
	}
	latest := func(a, b api.WhyLine) int { return b.Last.Compare(a.Last) }
	slices.SortFunc(out.Denied, latest)
	slices.SortFunc(out.Lines, latest)
	return out, nil
}

// explain says which rule decides a flow now and after the next step.
func (d *Daemon) explain(ctx context.Context, c caller, in api.ExplainArgs) (api.Explained, error) {
	p, err := d.needPlan()
	if err != nil {
		return api.Explained{}, err
	}
	f, err := ParseFlow(in.Src, in.Dst, in.Service)
	if err != nil {
		return api.Explained{}, err
	}
	out := api.Explained{Flow: f, Group: d.evidence.GroupOf(d.classes, flow.Record{Flow: f})}
	from, err := d.sideOf(p, f.Client)
	if err != nil {
		return out, err
	}
	to, err := d.sideOf(p, f.Server)
	if err != nil {
		return out, err
	}
	if from == outOf && slices.Contains(p.Scope.Hooks, "forward") {
		out.Group = ""
		out.Inbound = to == insideOf
	}
	hook := nft.HookForward
	if !slices.Contains(p.Scope.Hooks, "forward") {
		hook = nft.HookOutput
	}
	s := d.machine.State()
	switch {
	case s.Trial != nil:
		out.Now, err = d.decide(s.Trial.Digest, hook, out)
	case s.Stable != "":
		out.Now, err = d.decide(s.Stable, hook, out)
	default:
		out.Now = api.Decision{Step: phases.StepOff, Verdict: "accept", Rule: "nothing is in force"}
	}
	if err != nil {
		return out, err
	}
	if out.Now, err = Override(ctx, d.kernel, d.machine.Look(), f, out.Group, out.Now); err != nil || s.Request == nil {
		return out, err
	}
	next, err := d.decide(s.Request.Digest, hook, out)
	out.Next = &next
	return out, err
}

func (d *Daemon) decide(digest, hook string, q api.Explained) (api.Decision, error) {
	f, err := d.frozenStep(digest)
	if err != nil {
		return api.Decision{}, err
	}
	return Decide(f, hook, q.Flow, q.Group, q.Inbound)
}

// Decide runs one new flow through a frozen step's ruleset; inbound says that an
// outside host opens it towards inside.
func Decide(f phases.Frozen, hook string, q flow.Flow, group string, inbound bool) (api.Decision, error) {
	m := eval.NewMachine(f.Rules.Skeleton, f.Rules.Ruleset)
	if err := m.Stable(f.Rules); err != nil {
		return api.Decision{}, err
	}
	packet := packetOf(f, hook, q, group)
	if inbound {
		packet.In, packet.Out = packet.Out, packet.In
	}
	trace, err := m.Eval(packet)
	if err != nil {
		return api.Decision{}, err
	}
	out := api.Decision{Step: f.Step.Name, Verdict: trace.Verdict, Chain: trace.Chain, Rule: trace.Rule.String()}
	if r, ok := policy.Allows(f.Input.Policy, group, q); ok && trace.Passes() {
		out.Reason = string(r.Reason)
		if r.Name != "" {
			out.Reason += " " + r.Name
		}
	}
	return out, nil
}

// packetOf is the first packet of a flow on its way outside, with what the
// group's dispatch looks at.
func packetOf(f phases.Frozen, hook string, q flow.Flow, group string) eval.Packet {
	p := eval.NewPacket(hook, q)
	if names := f.Input.Scope.OutsideIfaces; len(names) > 0 {
		p.Out = names[0]
	}
	if names := f.Input.Scope.InsideIfaces; len(names) > 0 && hook == nft.HookForward {
		p.In = names[0]
	}
	for _, g := range f.Input.Groups {
		if g.Name != group {
			continue
		}
		if len(g.MACs) > 0 {
			if mac, err := net.ParseMAC(g.MACs[0]); err == nil {
				p.MAC = mac
			}
		}
		if len(g.Ifaces) > 0 {
			p.In = g.Ifaces[0]
		}
		if len(g.UIDs) > 0 {
			p.UID = &g.UIDs[0]
		}
	}
	return p
}

// ParseFlow reads the three words of a flow.
func ParseFlow(src, dst, service string) (flow.Flow, error) {
	var f flow.Flow
	var err error
	if f.Client, err = netip.ParseAddr(src); err != nil {
		return f, exit.Errorf(exit.Usage, "cannot read source address %q", src)
	}
	if f.Server, err = netip.ParseAddr(dst); err != nil {
		return f, exit.Errorf(exit.Usage, "cannot read destination address %q", dst)
	}
	f.Client, f.Server = f.Client.Unmap(), f.Server.Unmap()
	if f.Client.Is4() != f.Server.Is4() {
		return f, exit.Errorf(exit.Usage, "%s and %s are of different families", f.Client, f.Server)
	}
	sv, err := flow.ParseService(strings.ToLower(service))
	if err != nil {
		return f, exit.Errorf(exit.Usage, "%w", err)
	}
	if sv.Lo != sv.Hi {
		return f, exit.Errorf(exit.Usage, "%s is more than one port; ask for one", sv)
	}
	f.Proto, f.Port = sv.Proto, sv.Lo
	return f, nil
}
