package expect

import (
	"net/netip"
	"slices"

	"weir/phases/flow"
	"weir/phases/policy"
	"weir/plans"
)

// ask judges every test of the plan. With a frozen step, groups that nothing
// blocks are not asked.
func (v view) ask(frozen bool) []Result {
	var out []Result
	for _, t := range v.plan.Tests {
		r := Result{Test: t, Verdict: Holds}
		asked := false
		for _, c := range v.plan.Testers(t.From) {
			if frozen && !blocked(v.plan, c.Group) {
				continue
			}
			asked = true
			one := v.group(t, c, frozen)
			if one.Verdict == Fails {
				r = one
				break
			}
			if one.Verdict == Depends && r.Verdict == Holds {
				r = one
			}
		}
		if asked {
			out = append(out, r)
		}
	}
	return out
}

// group judges a test for one group.
func (v view) group(t plans.Test, c plans.Clients, frozen bool) Result {
	r := Result{Test: t, Group: c.Group, Verdict: Holds}
	g := v.plan.Group(c.Group)
	fail := func(boxes []policy.Box, by string, at plans.Pos) Result {
		r.Verdict, r.Packet, r.By, r.At = Fails, v.packet(g, boxes), by, at
		return r
	}
	left := v.packets(t, c, *g)
	if len(left) == 0 {
		return r
	}
	if !blocked(v.plan, c.Group) {
		if t.Allowed {
			return r
		}
		return fail(left, "no wave blocks the group "+c.Group, g.Pos)
	}
	for _, e := range v.of(v.lifelines, c.Group) {
		both, rest := cut(left, e.of(t.Services))
		if !t.Allowed && len(both) > 0 {
			return fail(both, e.words, e.at)
		}
		left = rest
	}
	for _, e := range v.of(v.never, c.Group) {
		both, rest := cut(left, e.of(t.Services))
		if t.Allowed && len(both) > 0 {
			return fail(both, e.words, e.at)
		}
		left = rest
	}
	if !t.Allowed {
		for _, e := range append(v.of(v.rules, c.Group), v.of(v.sometimes, c.Group)...) {
			if both, _ := cut(left, e.of(t.Services)); len(both) > 0 {
				return fail(both, e.words, e.at)
			}
		}
	} else if len(left) > 0 {
		var all policy.Policy
		for _, e := range v.of(v.rules, c.Group) {
			all.Rules = append(all.Rules, e.of(t.Services).Rules...)
		}
		left = minus(left, all)
	}
	switch {
	case len(left) == 0:
	case v.unknown(c.Group):
		r.Verdict = Depends
	case t.Allowed:
		return fail(left, "no rule of the group "+c.Group+" allows it", g.Pos)
	}
	return r
}

// of are the entries for one group.
func (v view) of(list []entry, group string) (out []entry) {
	for _, e := range list {
		if e.rule.Group == group {
			out = append(out, e)
		}
	}
	return out
}

// packets are the test's packets of a group that are judged at all: from inside
// to outside.
func (v view) packets(t plans.Test, c plans.Clients, g plans.Group) []policy.Box {
	to, everywhere := v.plan.Resolve(t.To)
	if t.To.Any || everywhere {
		to = v.plan.Scope.Outside
	}
	r := policy.Rule{Group: g.Name, Endpoints: c.Endpoints, To: to, Services: t.Services}
	for _, f := range t.Families {
		if slices.Contains(g.Families, f) {
			r.Families = append(r.Families, f)
		}
	}
	if len(r.Families) == 0 {
		return nil
	}
	p := policy.Policy{Rules: []policy.Rule{r}}
	not := policy.Rule{Group: g.Name, To: slices.Concat(v.plan.Scope.Inside, notOutside), Services: t.Services}
	return minus(p.Boxes(), policy.Policy{Rules: []policy.Rule{not}})
}

// minus takes a policy out of boxes.
func minus(boxes []policy.Box, p policy.Policy) []policy.Box {
	if len(boxes) == 0 {
		return nil
	}
	out, _ := policy.Diff(ruled(boxes), p, boxes[0].Group)
	return out
}

// cut splits boxes into what a policy has of them, and the rest.
func cut(boxes []policy.Box, p policy.Policy) (both, rest []policy.Box) {
	if !touches(boxes, p) {
		return nil, boxes
	}
	rest = minus(boxes, p)
	if len(rest) == 0 {
		return boxes, nil
	}
	return minus(boxes, ruled(rest)), rest
}

// touches says whether a box of the policy meets one of the boxes.
func touches(boxes []policy.Box, p policy.Policy) bool {
	for _, b := range p.Boxes() {
		if slices.ContainsFunc(boxes, func(a policy.Box) bool {
			return a.Family == b.Family && a.Client.Overlaps(b.Client) && a.Server.Overlaps(b.Server) && a.Service.Overlaps(b.Service)
		}) {
			return true
		}
	}
	return false
}

// ruled writes boxes of one group as rules.
func ruled(boxes []policy.Box) policy.Policy {
	var p policy.Policy
	for _, b := range boxes {
		p.Rules = append(p.Rules, policy.Rule{Group: b.Group, Families: []flow.Family{b.Family}, Endpoints: []netip.Prefix{b.Client},
			To: []netip.Prefix{b.Server}, Services: []flow.Service{b.Service}})
	}
	return p
}

// packet is one packet of the boxes, such as is seen on a network.
func (v view) packet(g *plans.Group, boxes []policy.Box) string {
	best := boxes[0]
	for _, b := range boxes {
		if known := b.Example().Server; known == docServer4 || known == docServer6 {
			best = b
			break
		}
	}
	f := best.Example()
	ends := []netip.Prefix{best.Client}
	if best.Client.Bits() == 0 {
		ends = nil
		for _, m := range g.Members {
			if flow.FamilyOf(m.Addr()) == best.Family {
				ends = append(ends, m)
			}
		}
	}
	if client, ok := v.member(g.Name, ends); ok {
		f.Client = client
		return f.String()
	}
	if best.Client.Bits() > 0 {
		return f.String()
	}
	return "an endpoint -> " + f.Server.String() + " " + f.Service().String()
}

var docServer4, docServer6 = netip.MustParseAddr("198.51.100.80"), netip.MustParseAddr("2001:db8:100::80")

// member finds an address of the group in prefixes: the tenth where there is
// room, since the first ones are often a router's.
func (v view) member(group string, in []netip.Prefix) (netip.Addr, bool) {
	for _, p := range in {
		first := policy.Box{Family: flow.FamilyOf(p.Addr()), Client: p, Server: p}.Example().Client
		if v.classes.Group(first, "", "") == group {
			return first, true
		}
		a := p.Addr()
		if !p.IsSingleIP() {
			a = a.Next() // the first is the network's own
		}
		for range 4096 {
			if !a.IsValid() || !p.Contains(a) {
				break
			}
			if v.classes.Group(a, "", "") == group {
				return a, true
			}
			a = a.Next()
		}
	}
	return netip.Addr{}, false
}
