package monitor

import (
	"maps"
	"net/netip"
	"slices"

	"weir/phases/flow"
)

// Merge adds all of o: what Take returned, what was decoded, or the evidence of
// another gateway. Days stay as they were counted, in o's time zone.
// Connections that both know count once in what follows, not in what was
// already summed.
func (e *Evidence) Merge(o *Evidence) {
	for k, v := range o.flows {
		e.mergeEntry(k, v)
	}
	for k, v := range o.verdicts {
		e.mergeVerdict(k, v)
	}
	for k, c := range o.conns {
		e.mergeConn(k, c)
	}
	for a, vias := range o.hosts {
		for _, v := range vias {
			e.mergeHost(a, v)
		}
	}
	for _, op := range o.openings {
		e.Open(op)
	}
	for _, s := range o.observed {
		e.Observed(s.From, s.To)
	}
	for _, g := range o.gaps {
		e.AddGap(g)
	}
	for iface, s := range o.sent {
		e.AddSent(iface, s)
	}
	for _, x := range o.excluded {
		e.Exclude(x)
	}
	e.addSeen(o.seen)
}

func (e *Evidence) mergeEntry(k key, inc *entry) {
	mergeInto(e.flows, k, inc)
	if e.delta != nil {
		mergeInto(e.delta.flows, k, inc)
	}
}

func mergeInto[K comparable](m map[K]*entry, k K, inc *entry) {
	have := m[k]
	if have == nil {
		have = &entry{}
		m[k] = have
	}
	have.merge(inc)
}

func (e *Evidence) addSeen(left [2]uint64) {
	e.seen[0] += left[0]
	e.seen[1] += left[1]
	if e.delta != nil {
		e.delta.addSeen(left)
	}
}

func (e *Evidence) mergeConn(k connKey, c *conn) {
	have := e.conns[k]
	switch {
	case have == nil || have.closed && c.first.After(have.last):
		copied := *c
		have = &copied
		e.conns[k] = have
	case c.closed && have.first.After(c.last):
		return // an earlier one of the same id
	default:
		widen(&have.first, &have.last, c.first, c.last)
		have.out, have.in = max(have.out, c.out), max(have.in, c.in)
		have.pout, have.pin = max(have.pout, c.pout), max(have.pin, c.pin)
		have.closed = have.closed || c.closed
	}
	if e.delta != nil {
		e.delta.mergeConn(k, have)
	}
}

// addHost remembers how an inside address was seen.
func (e *Evidence) addHost(f flow.Flow, inbound bool, v Via) {
	if inbound {
		return // the link address is the outside router's
	}
	v.UID, v.Unit = -1, ""
	e.mergeHost(f.Client, v)
}

func (e *Evidence) mergeHost(a netip.Addr, v Via) {
	e.hosts[a] = addVia(e.hosts[a], v)
	if e.delta != nil {
		e.delta.mergeHost(a, v)
	}
}

// Clone returns evidence of its own that tracks nothing.
func (e *Evidence) Clone() *Evidence {
	out := bare(e.zone)
	out.Merge(e)
	return out
}

func sortedKeys[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(m), compare)
}
