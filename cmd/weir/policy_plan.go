package main

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"weir/cmd/weir/internal/exit"
	"weir/phases/enforce"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/phases/policy/rules"
	"weir/phases/refactor"
	"weir/plans"
)

// planRules writes as rules what a plan lets pass once all its steps are taken:
// default deny, lifelines, what is never allowed, and one rule for each group
// and what it may do: declared flows, the rules of refactorings and, of groups
// that are not refactored, what was observed, where rows are given.
func planRules(p *plans.Plan, rows []monitor.Row, now time.Time) (rules.Ruleset, error) {
	c := &rules.Chain{Name: "plan " + p.Name, Hook: p.Scope.Hooks[0], Default: rules.Drop}
	c.Rules = append(c.Rules, notJudged(p)...)
	w := planChain{p, c}
	for _, l := range p.Lifelines {
		to := plans.Target{Any: l.To.Any, Outside: l.To.Outside, Prefixes: l.To.Prefixes}
		if to.Empty() {
			continue // it leads to this machine, or inside: nothing that is judged
		}
		w.add(rules.Accept, "lifeline "+l.Name, l.Pos, p.Clients(l.From), to, l.Services, l.Families)
	}
	for _, n := range p.Never {
		w.add(rules.Drop, "never "+n.Name, n.Pos, p.Clients(n.From), n.To, n.Services, nil)
	}
	for _, d := range p.Declared {
		w.add(rules.Accept, "declared "+d.Name, d.Pos, p.Clients(d.From), d.To, d.Services, d.Families)
	}
	pol, _ := enforce.Build(p, rows, nil, now)
	pol.Rules = slices.DeleteFunc(pol.Rules, func(r policy.Rule) bool { return r.Reason == policy.DeclaredBy })
	var err error
	for _, r := range p.Refactor {
		if pol, err = refactor.Apply(pol, *p, r); err != nil {
			return rules.Ruleset{}, exit.Errorf(exit.Invalid, "%w", err)
		}
	}
	for _, r := range pol.Rules {
		pos, words := p.Group(r.Group).Pos, string(r.Reason)+" of "+r.Group
		if i := slices.IndexFunc(p.Refactor, func(x plans.Refactor) bool { return x.Name == r.Name }); i >= 0 && r.Reason == policy.Refactored {
			pos, words = p.Refactor[i].Pos, "refactor step "+r.Name
		}
		w.add(rules.Accept, words, pos, []plans.Clients{{Group: r.Group, Endpoints: r.Endpoints}}, plans.Target{Outside: len(r.To) == 0, Prefixes: r.To}, r.Services, r.Families)
	}
	return rules.Ruleset{Families: p.Scope.Families(), Chains: []*rules.Chain{c}}, nil
}

// planChain writes a plan's rules into a chain.
type planChain struct {
	plan  *plans.Plan
	chain *rules.Chain
}

// add writes one rule for each group and family; no services are all, no
// families both.
func (w planChain) add(do rules.Action, text string, at plans.Pos, from []plans.Clients, target plans.Target, services []flow.Service, families []flow.Family) {
	to, everywhere := w.plan.Resolve(target)
	dst := rangesOf(to...)
	if everywhere {
		dst = allAddrs
	}
	if len(families) == 0 {
		families = []flow.Family{flow.IPv4, flow.IPv6}
	}
	for _, cl := range from {
		src, test := members(w.plan, cl.Group)
		if len(cl.Endpoints) > 0 {
			src = src.within(rangesOf(cl.Endpoints...))
		}
		for _, f := range families {
			if len(dst.of(f)) == 0 || test == "" && len(src.of(f)) == 0 {
				continue
			}
			m := rules.Match{Family: f, Src: []rules.Addrs{{Ranges: src.of(f)}}, Dst: []rules.Addrs{{Ranges: dst.of(f)}}}
			if len(services) > 0 {
				m.Services = []rules.Services{{Ranges: serviceRanges(services)}}
			}
			if test != "" {
				m.Src, m.Tests = nil, []rules.Test{{Text: test}}
			}
			w.chain.Rules = append(w.chain.Rules, rules.Rule{File: at.File, Line: at.Line, Text: text, Match: m, Action: do})
		}
	}
}

func serviceRanges(list []flow.Service) (out []rules.ServiceRange) {
	for _, s := range list {
		switch {
		case s.Proto.IsICMP():
			out = append(out, rules.PortsOf(s.Proto, s.Lo<<8, s.Hi<<8|255))
		case s.Proto.HasPorts():
			out = append(out, rules.PortsOf(s.Proto, s.Lo, s.Hi))
		default:
			out = append(out, rules.Protocol(s.Proto))
		}
	}
	return out
}

// members are the addresses of a group: the longest prefix decides whose an
// address is. A group that is not known by addresses is a question instead.
func members(p *plans.Plan, group string) (out ranges, test string) {
	if g := p.Group(group); g != nil && (len(g.MACs) > 0 || len(g.Ifaces) > 0 || g.Self) {
		return nil, "member of group " + group
	}
	type owned struct {
		p    netip.Prefix
		mine bool
	}
	var all []owned
	if group == plans.Unassigned {
		for _, x := range p.Scope.Inside {
			all = append(all, owned{x, true})
		}
	}
	for _, g := range p.Groups {
		for _, x := range g.Members {
			all = append(all, owned{x, g.Name == group})
		}
	}
	slices.SortStableFunc(all, func(a, b owned) int { return cmp.Compare(a.p.Bits(), b.p.Bits()) })
	for _, x := range all {
		if r := rangesOf(x.p); x.mine {
			out = out.plus(r)
		} else {
			out = out.minus(r)
		}
	}
	return out, ""
}

// special are addresses that are never outside.
var special = rangesOf(netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::/127"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"))

// notJudged are rules that accept what a plan says nothing about: replies, and
// what does not go from inside to outside.
func notJudged(p *plans.Plan) []rules.Rule {
	inside := rangesOf(p.Scope.Inside...)
	accept := func(text string, m rules.Match) rules.Rule {
		return rules.Rule{File: "plan", Text: text, Match: m, Action: rules.Accept}
	}
	out := []rules.Rule{
		accept("not a new connection", rules.Match{States: rules.AnyState &^ rules.New}),
		accept("no protocol", rules.Match{Services: []rules.Services{{Ranges: []rules.ServiceRange{rules.Protocol(0)}}}}),
	}
	if len(p.Scope.Inside) > 0 {
		out = append(out,
			accept("not from inside", rules.Match{Src: []rules.Addrs{{Ranges: allAddrs.minus(inside)}}}),
			accept("not to outside", rules.Match{Dst: []rules.Addrs{{Ranges: inside.plus(special)}}}))
	}
	if len(p.Scope.OutsideIfaces) > 0 {
		out = append(out, accept("not to outside", rules.Match{Out: []rules.Interfaces{{Names: p.Scope.OutsideIfaces, Not: true}}}))
	}
	if len(p.Scope.Outside) > 0 {
		out = append(out, accept("not to outside", rules.Match{Dst: []rules.Addrs{{Ranges: allAddrs.minus(rangesOf(p.Scope.Outside...))}}}))
	}
	return out
}
