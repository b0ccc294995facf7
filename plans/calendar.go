package plans

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Span is a stretch of time; From is in it, To is not.
type Span struct{ From, To time.Time }

// Contains says whether t is in the span.
func (s Span) Contains(t time.Time) bool { return !t.Before(s.From) && t.Before(s.To) }

// instants returns the window's parsed cron. A window of a parsed plan always
// has one; a window made by hand with a bad cron has no instants.
func (w Window) instants() (instants, bool) {
	type key struct{ cron, days string }
	k := key{w.Cron, w.DaysOfMonth}
	if in, ok := crons.Load(k); ok {
		return in.(instants), true
	}
	in, f := parseCron(w.Cron, w.DaysOfMonth)
	if f != nil {
		return in, false
	}
	crons.Store(k, in)
	return in, true
}

var crons sync.Map // of parsed expressions; a plan has few, and few plans live

// Spans lists the window's spans that overlap [from, to), by their beginning.
// Spans of one window may overlap each other; none is cut at from or to.
func Spans(w Window, loc *time.Location, from, to time.Time) []Span {
	in, ok := w.instants()
	if !ok {
		return nil
	}
	var out []Span
	in.each(loc, from.Add(-w.After), func(t time.Time) bool {
		s := Span{t.Add(-w.Before), t.Add(w.After)}
		if !s.From.Before(to) {
			return false
		}
		if s.To.After(from) {
			out = append(out, s)
		}
		return true
	})
	return out
}

// Inside says whether one of the windows is open now. No windows at all means
// that nothing limits the time: true.
func Inside(windows []Window, loc *time.Location, now time.Time) bool {
	if len(windows) == 0 {
		return true
	}
	return slices.ContainsFunc(windows, func(w Window) bool {
		return len(Spans(w, loc, now, now.Add(1))) > 0
	})
}

// Next returns the first time at or after now at which one of the windows is
// open: now itself, where it is inside or where there are no windows. The zero
// time means never, which no parsed plan has.
func Next(windows []Window, loc *time.Location, now time.Time) time.Time {
	if Inside(windows, loc, now) {
		return now
	}
	var best time.Time
	for _, w := range windows {
		in, ok := w.instants()
		if !ok {
			continue
		}
		t, ok := in.next(loc, now.Add(w.Before))
		if !ok {
			continue
		}
		if open := t.Add(-w.Before); best.IsZero() || open.Before(best) {
			best = open
		}
	}
	return best
}

// End returns when the open stretch that contains now ends, windows that touch
// or overlap taken together, and false where now is not inside one or where
// there are no windows. It looks 31 days ahead: a later end means "at least".
func End(windows []Window, loc *time.Location, now time.Time) (time.Time, bool) {
	var spans []Span
	for _, w := range windows {
		spans = append(spans, Spans(w, loc, now, now.AddDate(0, 0, 31))...)
	}
	slices.SortFunc(spans, func(a, b Span) int { return a.From.Compare(b.From) })
	end := now
	for _, s := range spans {
		if s.From.After(end) {
			break
		}
		if s.To.After(end) {
			end = s.To
		}
	}
	return end, end.After(now)
}

// NextInstant returns the first instant of a cron expression after now.
func NextInstant(cron string, loc *time.Location, now time.Time) (time.Time, error) {
	in, f := parseCron(cron, "")
	if f != nil {
		return time.Time{}, fmt.Errorf("cannot use cron: %s: %s", f.text, f.hint)
	}
	t, _ := in.next(loc, now.Add(1))
	return t, nil
}

// Event returns the calendar event of that name, or nil.
func (p *Plan) Event(name string) *Event {
	for i := range p.Calendar {
		if p.Calendar[i].Name == name {
			return &p.Calendar[i]
		}
	}
	return nil
}

// Frozen returns the freeze that now is in, or nil.
func (p *Plan) Frozen(now time.Time) *Freeze {
	for i, f := range p.Enforce.Freezes {
		if (Span{f.From, f.To}).Contains(now) {
			return &p.Enforce.Freezes[i]
		}
	}
	return nil
}

// NextBlocking returns the first time at or after now at which a blocking step
// may be armed: inside a window and in no freeze. The zero time means that
// there is none within five years.
func (p *Plan) NextBlocking(now time.Time) time.Time {
	for t := now; t.Sub(now) < 5*366*24*time.Hour; {
		f := p.Frozen(t)
		if f == nil {
			open := Next(p.Enforce.Windows, p.Timezone, t)
			if open.IsZero() || open.Equal(t) {
				return open
			}
			t = open
			continue
		}
		t = f.To
	}
	return time.Time{}
}
