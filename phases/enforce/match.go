package enforce

import (
	"net/netip"
	"slices"

	"weir/phases/flow"
	"weir/plans"
)

// groupOf returns the plan's group of a name; false for one that a later plan
// no longer has.
func groupOf(p *plans.Plan, name string) (plans.Group, bool) {
	i := slices.IndexFunc(p.Groups, func(g plans.Group) bool { return g.Name == name })
	if i < 0 {
		return plans.Group{}, false
	}
	return p.Groups[i], true
}

// descends says whether a group is, or extends over any number of parents, one
// of the named.
func descends(p *plans.Plan, name string, of []string) bool {
	for range p.Groups {
		if slices.Contains(of, name) {
			return true
		}
		g, ok := groupOf(p, name)
		if !ok || g.Extends == "" {
			return false
		}
		name = g.Extends
	}
	return slices.Contains(of, name)
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) })
}

// from says whether a client of a group is meant by a target.
func from(p *plans.Plan, t plans.Target, group string, client netip.Addr) bool {
	if t.Any || t.Inside || descends(p, group, t.Groups) || contains(t.Prefixes, client) {
		return true
	}
	if t.Self {
		g, ok := groupOf(p, group)
		return ok && g.Self
	}
	return false
}

// to says whether a server is meant by a target. Only what goes outside is
// judged, so outside is everywhere.
func to(p *plans.Plan, t plans.Target, server netip.Addr) bool {
	if t.Any || t.Outside || contains(t.Prefixes, server) || t.Inside && contains(p.Scope.Inside, server) {
		return true
	}
	for _, name := range t.Groups {
		if g, ok := groupOf(p, name); ok && contains(g.Members, server) {
			return true
		}
	}
	return false
}

func serves(ss []flow.Service, s flow.Service) bool {
	return len(ss) == 0 || slices.ContainsFunc(ss, func(x flow.Service) bool { return x.Contains(s) })
}

func inFamilies(fs []flow.Family, f flow.Family) bool { return len(fs) == 0 || slices.Contains(fs, f) }

// neverOf returns the entry of the plan that never allows a flow, or nil.
func neverOf(p *plans.Plan, group string, client, server netip.Addr, s flow.Service) *plans.Never {
	for i, n := range p.Never {
		if from(p, n.From, group, client) && to(p, n.To, server) && serves(n.Services, s) {
			return &p.Never[i]
		}
	}
	return nil
}

// declaredOf says whether a declared flow that is in force covers a flow.
func declaredOf(p *plans.Plan, ds []plans.Declared, group string, client, server netip.Addr, s flow.Service) bool {
	return slices.ContainsFunc(ds, func(d plans.Declared) bool {
		return from(p, d.From, group, client) && to(p, d.To, server) && serves(d.Services, s) &&
			inFamilies(d.Families, flow.FamilyOf(server))
	})
}
