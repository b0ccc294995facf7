package monitor

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"weir/phases/flow"
)

// Filter chooses rows. Zero fields choose everything.
type Filter struct {
	Group       string
	Client      netip.Prefix
	Destination netip.Prefix
	Service     flow.Service
	Since       time.Time // last seen at or after
	Opening     string    // of this opening; "*": of any
	Normal      bool      // only normal rows
}

// Matches says whether a row is chosen.
func (f Filter) Matches(r Row) bool {
	switch {
	case f.Group != "" && f.Group != r.Group,
		f.Client.IsValid() && !f.Client.Contains(r.Client),
		f.Destination.IsValid() && !f.Destination.Contains(r.Server),
		f.Service.Proto != 0 && !f.Service.Contains(r.Service),
		r.Last.Before(f.Since),
		f.Opening == "*" && r.Opening == "",
		f.Opening != "" && f.Opening != "*" && f.Opening != r.Opening,
		f.Normal && !r.Normal():
		return false
	}
	return true
}

// By is what a report sums over: the fields that are false are joined.
type By struct {
	Group, Client, Destination, Service bool
}

// ByAll keeps each flow of each group apart.
var ByAll = By{true, true, true, true}

// FlowLine is a line of the report of flows. Group, Client, Destination and
// Service are empty where the report sums over them.
type FlowLine struct {
	Group        string       `json:"group,omitempty"`
	Client       netip.Addr   `json:"client,omitzero"`
	Destination  netip.Addr   `json:"destination,omitzero"`
	Service      flow.Service `json:"service,omitzero"`
	Endpoints    int          `json:"endpoints"`    // different inside addresses
	Destinations int          `json:"destinations"` // different outside addresses
	First        time.Time    `json:"first"`
	Last         time.Time    `json:"last"`
	Days         int          `json:"days"`
	Connections  uint64       `json:"connections"`
	BytesOut     uint64       `json:"bytesOut"`
	BytesIn      uint64       `json:"bytesIn"`
	State        string       `json:"state"` // "answered", "one-way", "guessed", "attempted", "first-sight"
	Inbound      bool         `json:"inbound,omitempty"`
	Opening      string       `json:"opening,omitempty"`
	Excluded     string       `json:"excluded,omitempty"`
	MACs         []string     `json:"macs,omitempty"`
	Sources      []string     `json:"sources,omitempty"`
	UIDs         []uint32     `json:"uids,omitempty"`
	Units        []string     `json:"units,omitempty"`
}

// State says in one word what a row is evidence of.
func (r Row) State() string {
	switch {
	case r.Answered && r.Guessed:
		return "guessed"
	case r.Answered:
		return "answered"
	case r.OneWay:
		return "one-way"
	case r.Traced:
		return "attempted"
	}
	return "first-sight"
}

// Flows sums the chosen rows. Rows of different states, directions and openings
// are never joined. Sorted by group, client, destination, service, state.
func Flows(rows []Row, f Filter, by By) []FlowLine {
	type lineKey struct {
		group             string
		client, dest      netip.Addr
		service           flow.Service
		state             string
		inbound           bool
		opening, excluded string
	}
	type lineSum struct {
		line           FlowLine
		days           Days
		clients, dests map[netip.Addr]bool
	}
	sums := map[lineKey]*lineSum{}
	for _, r := range rows {
		if !f.Matches(r) {
			continue
		}
		k := lineKey{state: r.State(), inbound: r.Inbound, opening: r.Opening, excluded: r.Excluded}
		if by.Group {
			k.group = r.Group
		}
		if by.Client {
			k.client = r.Client
		}
		if by.Destination {
			k.dest = r.Server
		}
		if by.Service {
			k.service = r.Service
		}
		s := sums[k]
		if s == nil {
			s = &lineSum{clients: map[netip.Addr]bool{}, dests: map[netip.Addr]bool{}}
			s.line = FlowLine{Group: k.group, Client: k.client, Destination: k.dest, Service: k.service,
				State: k.state, Inbound: k.inbound, Opening: k.opening, Excluded: k.excluded}
			sums[k] = s
		}
		widen(&s.line.First, &s.line.Last, r.First, r.Last)
		s.days.Union(r.Days)
		s.line.Connections += r.Connections
		s.line.BytesOut += r.BytesOut
		s.line.BytesIn += r.BytesIn
		inside, outside := r.Client, r.Server
		if r.Inbound {
			inside, outside = outside, inside
		}
		s.clients[inside], s.dests[outside] = true, true
		for _, m := range r.MACs {
			s.line.MACs = addSorted(s.line.MACs, m, cmp.Compare)
		}
		for _, x := range r.Sources {
			s.line.Sources = addSorted(s.line.Sources, x, cmp.Compare)
		}
		for _, u := range r.UIDs {
			s.line.UIDs = addSorted(s.line.UIDs, u, cmp.Compare)
		}
		for _, u := range r.Units {
			s.line.Units = addSorted(s.line.Units, u, cmp.Compare)
		}
	}
	out := make([]FlowLine, 0, len(sums))
	for _, s := range sums {
		s.line.Days, s.line.Endpoints, s.line.Destinations = s.days.Len(), len(s.clients), len(s.dests)
		out = append(out, s.line)
	}
	slices.SortFunc(out, func(a, b FlowLine) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), a.Client.Compare(b.Client), a.Destination.Compare(b.Destination),
			flow.CompareServices(a.Service, b.Service), cmp.Compare(a.State, b.State), compareBool(a.Inbound, b.Inbound),
			cmp.Compare(a.Opening, b.Opening), cmp.Compare(a.Excluded, b.Excluded))
	})
	return out
}

// Unanswered is how many of a group's flows never got an answer although they
// should have. A large share means that replies may take another way, or that
// somebody scans: evidence of such a group cannot pass a gate.
type Unanswered struct {
	Group      string  `json:"group"`
	Flows      int     `json:"flows"`
	Unanswered int     `json:"unanswered"`
	Share      float64 `json:"share"` // 0 to 1
}

// UnansweredShare sums per group, over normal rows of kinds that need answers.
func UnansweredShare(rows []Row) []Unanswered {
	sums := map[string]*Unanswered{}
	for _, r := range rows {
		if !r.Normal() || !r.Traced || r.OneWay {
			continue
		}
		u := sums[r.Group]
		if u == nil {
			u = &Unanswered{Group: r.Group}
			sums[r.Group] = u
		}
		u.Flows++
		if !r.Answered {
			u.Unanswered++
		}
	}
	out := make([]Unanswered, 0, len(sums))
	for _, g := range sortedKeys(sums, cmp.Compare[string]) {
		u := *sums[g]
		u.Share = float64(u.Unanswered) / float64(u.Flows)
		out = append(out, u)
	}
	return out
}
