package monitor

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"weir/phases/flow"
	"weir/plans"
)

// PortLine is a line of the operational port report: a service of a group, by
// how many endpoints it is used, or that it never was.
type PortLine struct {
	Group        string       `json:"group"`
	Service      flow.Service `json:"service"`
	Name         string       `json:"name,omitempty"` // of the plan's services, where one has it
	Used         bool         `json:"used"`
	OneWay       bool         `json:"oneWay,omitempty"` // nobody ever answered
	Endpoints    int          `json:"endpoints"`        // different clients
	Destinations int          `json:"destinations"`     // different servers
	Days         int          `json:"days"`
	Connections  uint64       `json:"connections"`
	BytesOut     uint64       `json:"bytesOut"`
	BytesIn      uint64       `json:"bytesIn"`
	First        time.Time    `json:"first,omitzero"`
	Last         time.Time    `json:"last,omitzero"`
}

// Ports reports each group's services that were used, by normal rows that were
// answered or one-way, and those of the plan that never were: of its services,
// and of what it declares for the group. Sorted by group, used before unused,
// then by service.
func Ports(p *plans.Plan, rows []Row) []PortLine {
	type portKey struct {
		group   string
		service flow.Service
	}
	type portSum struct {
		line           PortLine
		days           Days
		clients, dests map[netip.Addr]bool
	}
	sums := map[portKey]*portSum{}
	for _, r := range rows {
		if !r.Normal() || !r.Answered && !r.OneWay {
			continue
		}
		k := portKey{r.Group, r.Service}
		s := sums[k]
		if s == nil {
			s = &portSum{clients: map[netip.Addr]bool{}, dests: map[netip.Addr]bool{}}
			s.line = PortLine{Group: r.Group, Service: r.Service, Name: p.ServiceName(r.Service), Used: true, OneWay: true}
			sums[k] = s
		}
		widen(&s.line.First, &s.line.Last, r.First, r.Last)
		s.days.Union(r.Days)
		s.clients[r.Client], s.dests[r.Server] = true, true
		s.line.Connections += r.Connections
		s.line.BytesOut += r.BytesOut
		s.line.BytesIn += r.BytesIn
		s.line.OneWay = s.line.OneWay && r.OneWay
	}
	var out []PortLine
	for _, s := range sums {
		s.line.Endpoints, s.line.Destinations, s.line.Days = len(s.clients), len(s.dests), s.days.Len()
		out = append(out, s.line)
	}
	used := func(group string, want flow.Service) bool {
		for k := range sums {
			if k.group == group && want.Contains(k.service) {
				return true
			}
		}
		return false
	}
	for _, g := range p.Groups {
		var want []flow.Service
		for _, ss := range p.Services {
			want = append(want, ss...)
		}
		for _, d := range p.Declared {
			if slices.ContainsFunc(p.Clients(d.From), func(c plans.Clients) bool { return c.Group == g.Name }) {
				want = append(want, d.Services...)
			}
		}
		slices.SortFunc(want, flow.CompareServices)
		for _, s := range slices.Compact(want) {
			if !used(g.Name, s) && slices.ContainsFunc(g.Families, s.Proto.Fits) {
				out = append(out, PortLine{Group: g.Name, Service: s, Name: p.ServiceName(s)})
			}
		}
	}
	slices.SortFunc(out, func(a, b PortLine) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), compareBool(b.Used, a.Used), flow.CompareServices(a.Service, b.Service))
	})
	return out
}
