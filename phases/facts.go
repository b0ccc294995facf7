package phases

import (
	"time"

	"weir/phases/enforce"
	"weir/phases/health"
	"weir/phases/monitor"
	"weir/phases/refactor"
)

// Facts is what the gates look at. The daemon fills it; what it does not know
// stays at its zero value, and the gates answer "cannot tell".
type Facts struct {
	Observed   []monitor.Span       // when capture ran (Evidence.Spans)
	Gaps       []monitor.Gap        // when it missed something although it ran (Evidence.Gaps)
	Lines      []enforce.Line       // would-be-denied flows of log and census, joined, since alert began
	Moved      map[string]time.Time // group → when its would-be-denied counter last moved, zero never; nil: not known
	Census     time.Time            // last census of the live connections
	Held       *enforce.Held        // what waits for a person; nil: not known
	Unanswered []monitor.Unanswered // nil: not known
	Witnessed  *float64             // share of the outside interfaces' bytes that flows explain
	Discovered []monitor.Discovered // nil: not known
	Heartbeat  time.Time            // when a synthetic would-be-denied packet was last seen in the log
	Proof      *refactor.Proof      // of the refactoring that the step is about; nil: not computed
	Shadow     *Shadow              // of the refactoring that is in its shadow; nil: not watched
	Missing    []string             // packets of lifelines that the machine needs now and the frozen step would deny
	Floor      []string             // Material.Floor as it is now; nil: not known

	Surroundings []Surrounding  // what hides traffic from weir; nil: not looked at
	Probes       []health.Probe // of the plan, with their latest attempts
}

// observed returns how much of a span was really observed: capture ran and
// missed nothing.
func (f Facts) observed(from, to time.Time) time.Duration {
	var d time.Duration
	for _, s := range f.Observed {
		d += overlap(s, from, to)
		for _, g := range f.Gaps {
			b, e := later(s.From, from), earlier(s.To, to)
			d -= overlap(g.Span, b, e)
		}
	}
	return max(0, d)
}

// complete says whether a span was observed but for one part in a hundred.
func (f Facts) complete(from, to time.Time) bool {
	if !to.After(from) { // an instant
		for _, s := range f.Observed {
			if !from.Before(s.From) && !from.After(s.To) {
				return true
			}
		}
		return false
	}
	return f.observed(from, to) >= to.Sub(from)/100*99
}

func overlap(s monitor.Span, from, to time.Time) time.Duration {
	b, e := later(s.From, from), earlier(s.To, to)
	return max(0, e.Sub(b))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
