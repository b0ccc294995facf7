package enforce

import (
	"net/netip"
	"slices"

	"weir/phases/flow"
	"weir/plans"
)

// matcher answers for one entry of a plan whether it speaks of a flow. It is
// resolved once: a plan is asked of for every flow of the evidence.
type matcher struct {
	clients    map[string][]netip.Prefix // by group; none: the whole group
	dests      []netip.Prefix
	everywhere bool
	services   []flow.Service // none: every service
	families   []flow.Family  // none: both
}

func newMatcher(p *plans.Plan, from, to plans.Target, services []flow.Service, families []flow.Family) matcher {
	m := matcher{clients: map[string][]netip.Prefix{}, services: services, families: families}
	for _, c := range p.Clients(from) {
		m.clients[c.Group] = c.Endpoints
	}
	m.dests, m.everywhere = p.Resolve(to)
	return m
}

func (m matcher) covers(group string, client, server netip.Addr, s flow.Service) bool {
	ends, meant := m.clients[group]
	return meant && (len(ends) == 0 || contains(ends, client)) &&
		(m.everywhere || contains(m.dests, server)) &&
		(len(m.services) == 0 || slices.ContainsFunc(m.services, func(x flow.Service) bool { return x.Contains(s) })) &&
		(len(m.families) == 0 || slices.Contains(m.families, flow.FamilyOf(server)))
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) })
}

// lifelines are what passes before anything is judged.
type lifelines []matcher

func lifelinesOf(p *plans.Plan) lifelines {
	var out lifelines
	for _, l := range p.Lifelines {
		out = append(out, newMatcher(p, l.From, l.To, l.Services, l.Families))
	}
	return out
}

func (ls lifelines) passes(group string, f flow.Flow) bool {
	return slices.ContainsFunc(ls, func(m matcher) bool { return m.covers(group, f.Client, f.Server, f.Service()) })
}

// nevers is what a plan never allows.
type nevers struct {
	entries []plans.Never
	match   []matcher
}

func neversOf(p *plans.Plan) nevers {
	n := nevers{entries: p.Never}
	for _, e := range p.Never {
		n.match = append(n.match, newMatcher(p, e.From, e.To, e.Services, nil))
	}
	return n
}

// find returns the first entry that speaks of a flow, or nil.
func (n nevers) find(group string, client, server netip.Addr, s flow.Service) *plans.Never {
	for i, m := range n.match {
		if m.covers(group, client, server, s) {
			return &n.entries[i]
		}
	}
	return nil
}
