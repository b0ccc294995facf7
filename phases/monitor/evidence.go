package monitor

import (
	"net/netip"
	"strings"
	"time"

	"weir/phases/flow"
)

// Evidence is the sum of all records. Create it with New or Decode. It is not
// safe for concurrent use: one goroutine owns it.
type Evidence struct {
	zone     *time.Location
	flows    map[key]*entry
	conns    map[connKey]*conn
	hosts    map[netip.Addr][]Via // inside addresses, by MAC and interface
	verdicts map[verdictKey]*entry
	openings map[string]Opening
	observed []Span // sorted, disjoint
	gaps     []Gap  // sorted
	sent     map[string]Sent
	excluded []Excision
	seen     [2]uint64 // bytes and packets that left, of connections seen while observing
	delta    *Evidence // what changed since the last Take; nil where nobody tracks
}

// New returns empty evidence whose days are counted in zone (nil: UTC). It
// keeps what changes for Take.
func New(zone *time.Location) *Evidence {
	e := bare(zone)
	e.delta = bare(e.zone)
	return e
}

// Sum returns empty evidence that tracks no changes: for summing up.
func Sum(zone *time.Location) *Evidence { return bare(zone) }

func bare(zone *time.Location) *Evidence {
	if zone == nil {
		zone = time.UTC
	}
	return &Evidence{zone: zone, flows: map[key]*entry{}, conns: map[connKey]*conn{},
		hosts: map[netip.Addr][]Via{}, verdicts: map[verdictKey]*entry{},
		openings: map[string]Opening{}, sent: map[string]Sent{}}
}

// SetZone says in which time zone days are counted from now on; those that are
// counted stay.
func (e *Evidence) SetZone(zone *time.Location) {
	e.zone = zone
	if e.delta != nil {
		e.delta.zone = zone
	}
}

// Zone returns the time zone that the days are counted in.
func (e *Evidence) Zone() *time.Location { return e.zone }

// Track begins to keep what changes, from now on, for Take.
func (e *Evidence) Track() { e.delta = bare(e.zone) }

// Take returns what changed since the last Take (or Track or New) and begins
// anew. Merging all that Take returned gives the same evidence.
func (e *Evidence) Take() *Evidence {
	d := e.delta
	e.delta = bare(e.zone)
	if d == nil {
		d = bare(e.zone)
	}
	return d
}

// PutBack returns what Take gave and nobody could keep: the next Take gives it
// again.
func (e *Evidence) PutBack(delta *Evidence) {
	if e.delta == nil {
		e.delta = bare(e.zone)
	}
	e.delta.Merge(delta)
}

// Latest returns the latest moment that the evidence speaks of; zero for none.
func (e *Evidence) Latest() time.Time {
	var first, last time.Time
	for _, v := range e.flows {
		widen(&first, &last, v.first, v.last)
	}
	for _, v := range e.verdicts {
		widen(&first, &last, v.first, v.last)
	}
	for _, s := range e.observed {
		widen(&first, &last, s.From, s.To)
	}
	for _, g := range e.gaps {
		widen(&first, &last, g.From, g.To)
	}
	for _, x := range e.excluded {
		widen(&first, &last, x.At, x.At)
	}
	for _, o := range e.openings {
		widen(&first, &last, o.From, o.From)
	}
	return last
}

// Empty says whether nothing at all is known.
func (e *Evidence) Empty() bool {
	return len(e.flows)+len(e.conns)+len(e.hosts)+len(e.verdicts)+len(e.openings)+
		len(e.observed)+len(e.gaps)+len(e.sent)+len(e.excluded) == 0 && e.seen == [2]uint64{}
}

// Prune forgets connections that were last seen before a moment: give it a few
// dump intervals, since one that goes on is in every dump. A record of a
// forgotten connection counts as a new one. What they moved stays.
func (e *Evidence) Prune(before time.Time) {
	for k, c := range e.conns {
		if c.last.Before(before) {
			delete(e.conns, k)
		}
	}
}

// Add takes one record in. Records whose client or server is unknown say
// nothing about a flow and are refused with false; the caller counts them.
func (e *Evidence) Add(r flow.Record) bool {
	if !r.Client.IsValid() || !r.Server.IsValid() || r.Proto == 0 {
		return false
	}
	r.Client, r.Server = r.Client.Unmap().WithZone(""), r.Server.Unmap().WithZone("")
	r.First, r.Last = r.First.UTC().Round(0), r.Last.UTC().Round(0)
	if r.First.IsZero() {
		r.First = r.Last
	}
	if r.Last.Before(r.First) {
		r.Last = r.First
	}
	if r.Verdict.Judged() {
		e.addVerdict(r)
		return true
	}
	inc := entry{first: r.First, last: r.Last, answered: r.Answered, sure: !r.Guessed,
		traced: r.Verdict != flow.Seen, sources: []string{r.Source}}
	if r.Source == "" {
		inc.sources = nil
	}
	if r.Asked.IsValid() {
		inc.asked = []netip.AddrPort{r.Asked}
	}
	inc.days.Add(DayOf(r.Last, e.zone))
	if r.New {
		inc.days.Add(DayOf(r.First, e.zone))
	}
	if v := viaOf(r); v.known() {
		inc.via = []Via{v}
		e.addHost(r.Flow, r.Inbound, v)
	}
	k := key{r.Flow, r.Inbound, ""}
	switch {
	case r.ID != 0 && r.Verdict != flow.Seen:
		k = e.addConn(r, &inc)
	case r.Verdict == flow.Seen:
		k.opening = e.openingsOf(r.Flow, r.First)
		if r.New {
			inc.sights = 1
		}
	default:
		k.opening = e.openingsOf(r.Flow, r.First)
		inc.out, inc.in, inc.pout, inc.pin = r.BytesOut, r.BytesIn, r.PacketsOut, r.PacketsIn
		if r.New {
			inc.imported = 1
		}
	}
	e.mergeEntry(k, &inc)
	return true
}

func viaOf(r flow.Record) Via {
	v := Via{MAC: strings.ToLower(r.MAC), Iface: r.In, UID: -1, Unit: r.Unit, First: r.First, Last: r.Last,
		Self: r.Hook == "output" || r.UID != nil}
	if r.UID != nil {
		v.UID = int64(*r.UID)
	}
	return v
}

// addConn books what the connection's totals grew by, and returns the key that
// the connection counts under: the openings are those at its beginning.
func (e *Evidence) addConn(r flow.Record, inc *entry) key {
	ck := connKey{r.Flow, r.ID, r.SrcPort, r.Zone}
	c := e.conns[ck]
	if c != nil && c.closed && r.First.After(c.last) {
		c = nil // the kernel uses the id again
	}
	if c == nil {
		c = &conn{key: key{r.Flow, r.Inbound, e.openingsOf(r.Flow, r.First)}}
		e.conns[ck] = c
		inc.conns = 1
	}
	// What an old connection moved before anybody looked is its own, but nothing
	// that was witnessed.
	witnessed := inc.conns == 0 || e.watched(r.First)
	grow := func(have *uint64, now uint64) uint64 {
		if now <= *have {
			return 0
		}
		d := now - *have
		*have = now
		return d
	}
	inc.out, inc.in = grow(&c.out, r.BytesOut), grow(&c.in, r.BytesIn)
	inc.pout, inc.pin = grow(&c.pout, r.PacketsOut), grow(&c.pin, r.PacketsIn)
	if witnessed {
		left := [2]uint64{inc.out, inc.pout}
		if r.Inbound {
			left = [2]uint64{inc.in, inc.pin}
		}
		e.addSeen(left)
	}
	widen(&c.first, &c.last, r.First, r.Last)
	c.closed = c.closed || r.Closed
	if e.delta != nil {
		copied := *c
		e.delta.conns[ck] = &copied
	}
	return c.key
}
