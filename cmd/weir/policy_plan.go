package main

import (
	"cmp"
	"net/netip"
	"slices"

	"weir/phases/flow"
	"weir/phases/policy/rules"
	"weir/plans"
)

// planRules writes what a plan declares as rules: default deny, and one rule
// for each group that opens a declared flow. What was observed is not in a
// plan.
func planRules(p *plans.Plan) (rules.Ruleset, error) {
	c := &rules.Chain{Name: "plan " + p.Name, Hook: p.Scope.Hooks[0], Default: rules.Drop}
	c.Rules = append(c.Rules, notJudged(p)...)
	for _, d := range p.Declared {
		to, everywhere := p.Resolve(d.To)
		dst := rangesOf(to...)
		if everywhere {
			dst = allAddrs
		}
		for _, cl := range p.Clients(d.From) {
			src, test := members(p, cl.Group)
			if len(cl.Endpoints) > 0 {
				src = src.within(rangesOf(cl.Endpoints...))
			}
			for _, f := range d.Families {
				m := rules.Match{Family: f, Src: []rules.Addrs{{Ranges: src.of(f)}}, Dst: []rules.Addrs{{Ranges: dst.of(f)}}, Services: []rules.Services{{Ranges: serviceRanges(d.Services)}}}
				if test != "" {
					m.Src, m.Tests = nil, []rules.Test{{Text: test}}
				}
				c.Rules = append(c.Rules, rules.Rule{File: d.Pos.File, Line: d.Pos.Line, Text: "declared " + d.Name, Match: m, Action: rules.Accept})
			}
		}
	}
	return rules.Ruleset{Families: p.Scope.Families(), Chains: []*rules.Chain{c}}, nil
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
