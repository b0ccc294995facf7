package monitor

import (
	"cmp"
	"slices"
	"time"
)

// Span is a time from From up to, but without, To.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Duration returns the span's length; never negative.
func (s Span) Duration() time.Duration { return max(0, s.To.Sub(s.From)) }

// overlap returns the part that both share.
func (s Span) overlap(o Span) Span {
	from, to := s.From, s.To
	if o.From.After(from) {
		from = o.From
	}
	if o.To.Before(to) {
		to = o.To
	}
	return Span{from, to}
}

// Gap is a time in which records may be missing although the capture ran, with
// the cause in words and the number that is known to be lost.
type Gap struct {
	Span
	Cause string `json:"cause"`
	Lost  uint64 `json:"lost,omitempty"`
}

// Observed says that the capture ran from one moment to another: a heartbeat
// and the one before it. Spans may come in any order and overlap.
func (e *Evidence) Observed(from, to time.Time) {
	if !to.After(from) {
		return
	}
	e.observed = addSpan(e.observed, Span{from, to})
	if e.delta != nil {
		e.delta.Observed(from, to)
	}
}

func addSpan(list []Span, s Span) []Span {
	i, _ := slices.BinarySearchFunc(list, s, func(a, b Span) int { return a.To.Compare(b.From) })
	j := i
	for j < len(list) && !list[j].From.After(s.To) {
		if list[j].From.Before(s.From) {
			s.From = list[j].From
		}
		if list[j].To.After(s.To) {
			s.To = list[j].To
		}
		j++
	}
	return slices.Replace(list, i, j, s)
}

// AddGap books a loss. The same span and cause again is the same loss.
func (e *Evidence) AddGap(g Gap) {
	i, found := slices.BinarySearchFunc(e.gaps, g, compareGaps)
	if found {
		e.gaps[i].Lost = max(e.gaps[i].Lost, g.Lost)
	} else {
		e.gaps = slices.Insert(e.gaps, i, g)
	}
	if e.delta != nil {
		e.delta.AddGap(g)
	}
}

func compareGaps(a, b Gap) int {
	return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To), cmp.Compare(a.Cause, b.Cause))
}

// watched says whether the capture ran at a moment, or has run since before it.
func (e *Evidence) watched(at time.Time) bool {
	if n := len(e.observed); n > 0 && !at.Before(e.observed[n-1].From) {
		return true
	}
	return slices.ContainsFunc(e.observed, func(s Span) bool { return !at.Before(s.From) && at.Before(s.To) })
}

// Spans returns when the capture ran, sorted and disjoint, losses included.
func (e *Evidence) Spans() []Span { return slices.Clone(e.observed) }

// Gaps returns what is missing between from and to: losses while the capture
// ran, and the times in which it did not ("not running"), sorted.
func (e *Evidence) Gaps(from, to time.Time) []Gap {
	var out []Gap
	window := Span{from, to}
	for _, g := range e.gaps {
		if g.overlap(window).Duration() > 0 || !g.To.After(g.From) && !g.From.Before(from) && g.From.Before(to) {
			out = append(out, g)
		}
	}
	at := from
	for _, s := range e.observed {
		o := s.overlap(window)
		if o.Duration() <= 0 {
			continue
		}
		if o.From.After(at) {
			out = append(out, Gap{Span: Span{at, o.From}, Cause: "not running"})
		}
		at = o.To
	}
	if to.After(at) {
		out = append(out, Gap{Span: Span{at, to}, Cause: "not running"})
	}
	slices.SortFunc(out, compareGaps)
	return out
}

// ObservedTime is how long between from and to the capture ran without a loss.
func (e *Evidence) ObservedTime(from, to time.Time) time.Duration {
	var lost []Span
	for _, g := range e.gaps {
		if g.Duration() > 0 {
			lost = addSpan(lost, g.Span)
		}
	}
	var total time.Duration
	for _, s := range e.observed {
		o := s.overlap(Span{from, to})
		total += o.Duration()
		for _, l := range lost {
			total -= l.overlap(o).Duration()
		}
	}
	return total
}

// Occasion is one span of a calendar event.
type Occasion struct {
	Name string `json:"name"`
	Span
}

// Covered is how much of an occasion was observed.
type Covered struct {
	Occasion
	Observed time.Duration `json:"observed"` // nanoseconds
	Share    float64       `json:"share"`    // 0 to 1
}

// Coverage says of each occasion how much of it was observed.
func (e *Evidence) Coverage(occasions []Occasion) []Covered {
	out := make([]Covered, 0, len(occasions))
	for _, o := range occasions {
		c := Covered{Occasion: o, Observed: e.ObservedTime(o.From, o.To)}
		if d := o.Duration(); d > 0 {
			c.Share = float64(c.Observed) / float64(d)
		}
		out = append(out, c)
	}
	return out
}

// Sent is what an outside interface sent by its own counters while the capture
// ran.
type Sent struct {
	Bytes   uint64 `json:"bytes"`
	Packets uint64 `json:"packets"`
}

// AddSent adds what an outside interface's counters grew by.
func (e *Evidence) AddSent(iface string, s Sent) {
	have := e.sent[iface]
	e.sent[iface] = Sent{have.Bytes + s.Bytes, have.Packets + s.Packets}
	if e.delta != nil {
		e.delta.AddSent(iface, s)
	}
}

// etherHeader is what an interface's counter has more than connection tracking,
// per packet.
const etherHeader = 14

// Witnessed is the share of the bytes that the outside interfaces sent which
// the flows explain, from 0 to 1; false where nothing was sent. A low share has
// usual causes: flowtables or offload, a proxy or containers on the gateway,
// tunnels, paths past this machine.
func (e *Evidence) Witnessed() (float64, bool) {
	var sent Sent
	for _, s := range e.sent {
		sent.Bytes += s.Bytes
		sent.Packets += s.Packets
	}
	if net := int64(sent.Bytes) - etherHeader*int64(sent.Packets); net > 0 {
		return min(1, float64(e.seen[0])/float64(net)), true
	}
	return 0, false
}
