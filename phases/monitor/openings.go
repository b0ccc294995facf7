package monitor

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/phases/flow"
)

// Opening is a time in which a gate stood open: what it let in is evidence of
// the opening, never of normal traffic. Empty lists mean every group, address
// or service. To is zero while it goes on.
type Opening struct {
	ID       string         `json:"id"`   // no comma
	Kind     string         `json:"kind"` // "rollback", "lapse", "unblock", "foreign"
	From     time.Time      `json:"from"`
	To       time.Time      `json:"to,omitzero"`
	Groups   []string       `json:"groups,omitempty"`
	Clients  []netip.Prefix `json:"clients,omitempty"`
	Servers  []netip.Prefix `json:"servers,omitempty"`
	Services []flow.Service `json:"services,omitempty"`
	Reason   string         `json:"reason,omitempty"`
}

// Open books an opening, or its end when it is booked again with To. Records
// that arrive later count as its own when their connection began inside it;
// those that were already added stay as they are until the evidence is loaded
// anew.
func (e *Evidence) Open(o Opening) {
	o.ID = strings.ReplaceAll(o.ID, ",", "_")
	have, known := e.openings[o.ID]
	if known {
		widened := have
		if o.From.Before(widened.From) {
			widened.From = o.From
		}
		if o.To.After(widened.To) {
			widened.To = o.To
		}
		o = widened
	}
	e.openings[o.ID] = o
	if e.delta != nil {
		e.delta.Open(o)
	}
}

// Openings returns the openings in the order of their ids.
func (e *Evidence) Openings() []Opening {
	out := make([]Opening, 0, len(e.openings))
	for _, id := range sortedKeys(e.openings, cmp.Compare[string]) {
		out = append(out, e.openings[id])
	}
	return out
}

// openingsOf names the openings that may have let a connection in that began at
// a moment. Groups are looked at when the evidence is read.
func (e *Evidence) openingsOf(f flow.Flow, began time.Time) string {
	var ids []string
	for id, o := range e.openings {
		if began.Before(o.From) || !o.To.IsZero() && !began.Before(o.To) {
			continue
		}
		if within(o.Clients, f.Client) && within(o.Servers, f.Server) && serves(o.Services, f.Service()) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, ",")
}

// within says whether an address is in one of the prefixes, or there are none.
func within(ps []netip.Prefix, a netip.Addr) bool {
	return len(ps) == 0 || contains(ps, a)
}

func serves(ss []flow.Service, s flow.Service) bool {
	return len(ss) == 0 || slices.ContainsFunc(ss, func(x flow.Service) bool { return x.Contains(s) })
}

// openingFor returns the first of the named openings that holds for a group.
func (e *Evidence) openingFor(ids, group string) string {
	if ids == "" {
		return ""
	}
	for _, id := range strings.Split(ids, ",") {
		o, known := e.openings[id]
		if !known || len(o.Groups) == 0 || slices.Contains(o.Groups, group) {
			return id
		}
	}
	return ""
}

// Excision takes an endpoint's flows out of what is normal, from a moment on: an
// intruder or a scanner inside the baseline. The evidence itself stays.
type Excision struct {
	ID      string         `json:"id"`
	Clients netip.Prefix   `json:"clients"`
	Servers []netip.Prefix `json:"servers,omitempty"` // empty: all
	Since   time.Time      `json:"since"`             // flows first seen before it stay
	Who     string         `json:"who"`
	Reason  string         `json:"reason"`
	At      time.Time      `json:"at"`
}

// Takes says whether the excision takes out a flow that was first seen at a
// moment.
func (x Excision) Takes(f flow.Flow, first time.Time) bool {
	return x.Clients.Contains(f.Client) && !first.Before(x.Since) && within(x.Servers, f.Server)
}

// Exclude books an excision; the same id again replaces nothing.
func (e *Evidence) Exclude(x Excision) {
	if slices.ContainsFunc(e.excluded, func(h Excision) bool { return h.ID == x.ID }) {
		return
	}
	e.excluded = append(e.excluded, x)
	slices.SortFunc(e.excluded, func(a, b Excision) int { return cmp.Compare(a.ID, b.ID) })
	if e.delta != nil {
		e.delta.Exclude(x)
	}
}

// Excisions returns what was taken out, by id.
func (e *Evidence) Excisions() []Excision { return slices.Clone(e.excluded) }

func (e *Evidence) excisionOf(f flow.Flow, first time.Time) string {
	for _, x := range e.excluded {
		if x.Takes(f, first) {
			return x.ID
		}
	}
	return ""
}
