package phases

import "time"

// Span is a time from Begin up to End.
type Span struct{ Begin, End time.Time }

// Line is a would-be-denied flow as the gates see it: one question, however
// often and from however many endpoints it comes.
type Line struct {
	Fingerprint string
	Group       string
	First, Last time.Time
	Answered    bool
	Words       string
}

// Facts is what the gates look at. The daemon fills it; what it does not know
// stays at its zero value, and the gates answer "cannot tell".
type Facts struct {
	Observed   []Span             // when capture really ran, gaps cut out, oldest first
	Lines      []Line             // would-be-denied flows since alert began
	Census     time.Time          // last census of the live connections
	Questions  map[string]int     // group → rare and one-way flows that wait for a review; nil: not known
	Unanswered map[string]float64 // group → share of its flows that saw no reply, 0 to 1
	Witnessed  *float64           // share of the outside interfaces' bytes that flows explain
	Lost       *uint64            // records lost in the time that the gates look at
	Heartbeat  time.Time          // when a synthetic would-be-denied packet was last seen in the log
	Missing    []string           // lifelines that the machine needs now and the frozen step lacks
}

// observed returns how much of a span was really observed.
func (f Facts) observed(begin, end time.Time) time.Duration {
	var d time.Duration
	for _, s := range f.Observed {
		b, e := s.Begin, s.End
		if b.Before(begin) {
			b = begin
		}
		if e.After(end) {
			e = end
		}
		if e.After(b) {
			d += e.Sub(b)
		}
	}
	return d
}
