package plans

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/phases/flow"
)

// Test says what the policy must do with flows: all of them allowed, or all of
// them denied.
type Test struct {
	From, To Target
	Services []flow.Service // never empty
	Families []flow.Family  // never empty
	Allowed  bool           // expect: allowed; else denied
	Pos      Pos
}

// Expect is the word of the plan: "allowed" or "denied".
func (t Test) Expect() string {
	if t.Allowed {
		return "allowed"
	}
	return "denied"
}

// tests reads what the policy must do.
func (d *decoder) tests(n *node) {
	for _, v := range items(n, mapping) {
		e := Test{Pos: d.pos(v), Allowed: str(v.get("expect")) == "allowed"}
		from, to := v.get("from"), v.get("to")
		e.From, e.To = d.target(from), d.targetOr(to, Target{Outside: true})
		e.Services = d.serviceList(v.get("services"))
		e.Families = d.flowFamilies(v, e.From, e.To, e.Services)
		d.outward(to, e.To)
		switch {
		case e.From.Self && !d.p.output():
			d.add(from, "this machine's own traffic is not in the scope", "write hooks: [forward, output], or name who opens the connection")
		case e.From.Outside:
			d.add(from, "from is outside: it is always who opens the connection", "write an address, a prefix or a group from inside")
		case len(e.From.Prefixes) > 0 && len(d.p.Scope.InsideIfaces) > 0:
			d.add(from, "an interface may decide which group an address is in", "name the group")
		case !d.hurt(from) && len(d.p.Testers(e.From)) == 0 && !e.From.Empty():
			d.add(from, "from is nobody inside: it is always who opens the connection", "write an address, a prefix or a group from inside")
		}
		for _, p := range e.From.Prefixes {
			if s := d.p.Scope; len(s.Inside) > 0 && len(s.InsideIfaces) == 0 && !within(p, s.Inside) && !d.hurt(from) {
				d.add(from, fmt.Sprintf("%s is not inside", p), "write addresses from scope.inside")
			}
		}
		d.p.Tests = append(d.p.Tests, e)
	}
}

// ownIsAssigned says whether all that this machine sends is some group's: then
// nothing of it is unassigned.
func (p *Plan) ownIsAssigned() bool {
	return slices.ContainsFunc(p.Groups, func(g Group) bool { return g.Self && len(g.UIDs) == 0 })
}

// Testers says whose flows a test speaks of, by group. An address is taken for
// a member of the group whose prefix holds it: what is known by link addresses
// or interfaces is tested by the group's name.
func (p *Plan) Testers(from Target) []Clients {
	named := from
	named.Prefixes = nil
	out := slices.DeleteFunc(p.Clients(named), func(c Clients) bool {
		return c.Group == Unassigned && !slices.Contains(from.Groups, Unassigned) && p.ownIsAssigned() &&
			(!from.Any && !from.Inside || !slices.Contains(p.Scope.Hooks, "forward"))
	})
	for _, g := range p.Groups {
		if slices.ContainsFunc(out, func(c Clients) bool { return c.Group == g.Name }) {
			continue
		}
		var ends []netip.Prefix
		for _, x := range from.Prefixes {
			if p.owner(x) == g.Name {
				ends = append(ends, x)
				continue
			}
			for _, m := range g.Members {
				if within(m, []netip.Prefix{x}) {
					ends = append(ends, m)
				}
			}
		}
		if len(ends) > 0 {
			sortPrefixes(ends)
			out = append(out, Clients{g.Name, slices.Compact(ends)})
		}
	}
	slices.SortFunc(out, func(a, b Clients) int { return strings.Compare(a.Group, b.Group) })
	return out
}
