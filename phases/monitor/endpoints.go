package monitor

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"weir/plans"
)

// Known is an endpoint that somebody other than the flows knows to be alive: a
// neighbour, a DHCP lease.
type Known struct {
	Addr netip.Addr
	MAC  string
}

// What an endpoint does.
const (
	Talks    = "talks"    // sends to the outside, and somebody answered or it needs no answer
	Attempts = "attempts" // tries, and nobody ever answered
	Never    = "never"    // is alive, and never sent anything to the outside
	Silent   = "silent"   // the plan knows it, and nothing was ever seen of it
)

// EndpointLine is one inside endpoint.
type EndpointLine struct {
	Group        string     `json:"group"`
	Addr         netip.Addr `json:"address,omitzero"` // zero: only the link address is known
	MAC          string     `json:"mac,omitempty"`    // the latest
	State        string     `json:"state"`
	Flows        int        `json:"flows"`        // normal outbound ones, answered or one-way
	Destinations int        `json:"destinations"` // of these
	Services     int        `json:"services"`
	Inbound      int        `json:"inbound"` // flows that outside hosts opened to it
	BytesOut     uint64     `json:"bytesOut"`
	BytesIn      uint64     `json:"bytesIn"`
	InboundOut   uint64     `json:"inboundBytesOut"` // what it sent in connections that outside hosts opened
	First        time.Time  `json:"first,omitzero"`
	Last         time.Time  `json:"last,omitzero"`
}

// Endpoints reports who talks to the outside, who never does, and who is known
// but silent. Known are the plan's members that are single addresses, its link
// addresses, what the evidence saw, and those given. Sorted by group, address,
// link address.
func Endpoints(p *plans.Plan, e *Evidence, c Classifier, known []Known) []EndpointLine {
	type endpointKey struct {
		group string
		addr  netip.Addr
	}
	type endpointSum struct {
		line           EndpointLine
		dests          map[netip.Addr]bool
		services       map[string]bool
		attempts, live bool
	}
	sums := map[endpointKey]*endpointSum{}
	get := func(group string, a netip.Addr) *endpointSum {
		k := endpointKey{group, a}
		if sums[k] == nil {
			sums[k] = &endpointSum{dests: map[netip.Addr]bool{}, services: map[string]bool{}}
			sums[k].line = EndpointLine{Group: group, Addr: a}
		}
		return sums[k]
	}
	for _, r := range e.Rows(c) {
		if r.Inbound {
			s := get(r.Group, r.Server)
			s.live = true
			s.line.Inbound++
			s.line.InboundOut += r.BytesIn
			widen(&s.line.First, &s.line.Last, r.First, r.Last)
			continue
		}
		s := get(r.Group, r.Client)
		s.live = true
		widen(&s.line.First, &s.line.Last, r.First, r.Last)
		if !r.Answered && !r.OneWay {
			s.attempts = true
			continue
		}
		s.line.Flows++
		s.line.BytesOut += r.BytesOut
		s.line.BytesIn += r.BytesIn
		s.dests[r.Server], s.services[r.Service.String()] = true, true
	}
	macs := map[string]bool{}
	has := map[netip.Addr]bool{}
	for k := range sums {
		has[k.addr] = true
	}
	alive := func(a netip.Addr, mac string) {
		macs[mac] = true
		if !has[a] {
			s := get(c.Group(a, mac, ""), a)
			s.live, s.line.MAC = true, mac
			has[a] = true
		}
	}
	for a, vias := range e.hosts {
		for _, v := range vias {
			macs[v.MAC] = true
		}
		if !has[a] {
			s := get(e.groupsOf(c, a, nil)[0], a)
			s.live = true
			has[a] = true
		}
	}
	for _, k := range known {
		alive(k.Addr.Unmap().WithZone(""), k.MAC)
	}
	for _, g := range p.Groups {
		for _, m := range g.Members {
			if m.IsSingleIP() && !has[m.Addr()] {
				get(g.Name, m.Addr())
				has[m.Addr()] = true
			}
		}
	}
	var out []EndpointLine
	for k, s := range sums {
		l := s.line
		l.Destinations, l.Services = len(s.dests), len(s.services)
		if mac := e.latestMAC(k.addr); mac != "" {
			l.MAC = mac
		}
		switch {
		case l.Flows > 0:
			l.State = Talks
		case s.attempts:
			l.State = Attempts
		case s.live:
			l.State = Never
		default:
			l.State = Silent
		}
		out = append(out, l)
	}
	for _, g := range p.Groups {
		for _, mac := range g.MACs {
			if !macs[mac] {
				out = append(out, EndpointLine{Group: g.Name, MAC: mac, State: Silent})
			}
		}
	}
	slices.SortFunc(out, func(a, b EndpointLine) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), a.Addr.Compare(b.Addr), cmp.Compare(a.MAC, b.MAC))
	})
	return out
}

func (e *Evidence) latestMAC(a netip.Addr) string {
	var latest Via
	for _, v := range e.hosts[a] {
		if v.MAC != "" && v.Last.After(latest.Last) {
			latest = v
		}
	}
	return latest.MAC
}
