package enforce

import (
	"net/netip"
	"slices"

	"weir/phases/policy"
	"weir/plans"
)

// declare makes the rules of the declared flows that are in force.
func (b *builder) declare(out *ruleList) {
	for _, d := range b.plan.Declared {
		expires := d.Expires
		if !expires.IsZero() && !b.upTo.Before(expires) {
			b.held.Expired = append(b.held.Expired, d.Name)
			continue
		}
		if d.Window != nil {
			end, open := windowAt(b.plan, *d.Window, b.upTo)
			if !open {
				b.held.Windowed = append(b.held.Windowed, d.Name)
				continue
			}
			if expires.IsZero() || end.Before(expires) {
				expires = end
			}
		}
		b.declared = append(b.declared, d)
		rules := declaredRules(b.plan, d)
		if len(rules) == 0 {
			b.held.NoMembers = append(b.held.NoMembers, d.Name)
		}
		for _, r := range rules {
			r.Expires = expires
			out.add(r, Origin{Declared: d.Name})
		}
	}
	slices.Sort(b.held.Expired)
	slices.Sort(b.held.Windowed)
	slices.Sort(b.held.NoMembers)
}

// declaredRules returns a rule for each group that a declared flow comes from,
// without its expiry.
func declaredRules(p *plans.Plan, d plans.Declared) []policy.Rule {
	dests, everywhere := destinations(p, d.To)
	if !everywhere && len(dests) == 0 {
		return nil
	}
	var out []policy.Rule
	for _, g := range p.Groups {
		endpoints, whole := sources(p, d.From, g)
		if !whole && len(endpoints) == 0 {
			continue
		}
		r := policy.Rule{Group: g.Name, To: dests, Services: slices.Clone(d.Services),
			Families: narrowed(d.Families), Reason: policy.DeclaredBy, Name: d.Name, Owner: d.Owner}
		if !whole {
			r.Endpoints = endpoints
		}
		out = append(out, r)
	}
	return out
}

// destinations returns the prefixes of a target; everywhere where it is not
// limited.
func destinations(p *plans.Plan, t plans.Target) (out []netip.Prefix, everywhere bool) {
	if t.Any || t.Outside {
		return nil, true
	}
	out = append(out, t.Prefixes...)
	if t.Inside {
		out = append(out, p.Scope.Inside...)
	}
	for _, name := range t.Groups {
		if g, ok := groupOf(p, name); ok {
			out = append(out, g.Members...)
		}
	}
	slices.SortFunc(out, comparePrefixes)
	return slices.Compact(out), false
}

// sources returns which endpoints of a group a target means: all of them, or
// those in prefixes.
func sources(p *plans.Plan, t plans.Target, g plans.Group) (endpoints []netip.Prefix, whole bool) {
	if t.Any || t.Inside || descends(p, g.Name, t.Groups) || t.Self && g.Self {
		return nil, true
	}
	// Members by link address or interface, and the unassigned, may have any
	// address.
	anywhere := len(g.MACs) > 0 || len(g.Ifaces) > 0 || g.Self || g.Name == plans.Unassigned
	for _, want := range t.Prefixes {
		if anywhere {
			endpoints = append(endpoints, want)
			continue
		}
		for _, m := range g.Members {
			switch {
			case !m.Overlaps(want):
			case m.Bits() >= want.Bits():
				endpoints = append(endpoints, m)
			default:
				endpoints = append(endpoints, want)
			}
		}
	}
	slices.SortFunc(endpoints, comparePrefixes)
	return slices.Compact(endpoints), false
}
