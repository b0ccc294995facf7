package plans

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// instants is a parsed cron expression with its days of the month.
type instants struct {
	spec  *cron.SpecSchedule
	days  uint32 // bit n: day n of the month; 0: all
	hours bool   // every hour of the day
}

const star = 1 << 63

// parseCron reads five cron fields and a list of days of the month ("" for
// all). It never panics, whatever the library does.
func parseCron(expr, daysOfMonth string) (in instants, f *fault) {
	defer func() {
		if p := recover(); p != nil {
			f = &fault{fmt.Sprintf("%q is not a cron expression", clip(expr)), cronHint}
		}
	}()
	fields := strings.Fields(expr)
	switch {
	case strings.Contains(expr, "TZ="):
		return in, &fault{"a time zone in a cron expression", "remove it; the plan's timezone field holds for every cron"}
	case strings.HasPrefix(strings.TrimSpace(expr), "@"):
		return in, &fault{fmt.Sprintf("%q is a short form", clip(expr)), cronHint}
	case len(fields) != 5:
		return in, &fault{fmt.Sprintf("%q does not have five fields", clip(expr)), cronHint}
	case strings.Contains(expr, "?"):
		return in, &fault{"a ? in a cron expression", "write * for any"}
	}
	sched, err := cron.ParseStandard(expr)
	if err != nil {
		why := ""
		if e := firstLine(err.Error()); !strings.Contains(e, "strconv") {
			why = ": " + clip(e)
		}
		return in, &fault{fmt.Sprintf("%q is not a cron expression%s", clip(expr), why), cronHint}
	}
	spec, ok := sched.(*cron.SpecSchedule)
	if !ok {
		return in, &fault{fmt.Sprintf("%q is not a cron expression", clip(expr)), cronHint}
	}
	if spec.Dom&star == 0 && spec.Dow&star == 0 {
		return in, &fault{"a cron with a day of month and a day of week fires on both", fmt.Sprintf(`write * for the day of month and daysOfMonth: "%s"`, daysHint(fields[2]))}
	}
	in = instants{spec: spec, hours: bits.OnesCount64(spec.Hour&(1<<24-1)) == 24}
	if daysOfMonth != "" {
		if in.days, f = parseDays(daysOfMonth); f != nil {
			return in, f
		}
		if spec.Dom&star == 0 {
			return in, &fault{"both a day of month in the cron and daysOfMonth", "keep one of them"}
		}
	}
	if _, ok := in.next(time.UTC, time.Unix(0, 0).UTC()); !ok {
		return in, &fault{fmt.Sprintf("%q never fires", clip(expr)), "no month of those named has such a day"}
	}
	return in, nil
}

const cronHint = `write minute, hour, day of month, month, day of week, as "30 9 * * MON-FRI"`

func daysHint(field string) string {
	if _, f := parseDays(field); f == nil {
		return field
	}
	return "8-14"
}

func parseDays(s string) (mask uint32, f *fault) {
	bad := &fault{fmt.Sprintf("%q are not days of the month", clip(s)), `write numbers from 1 to 31, as "8-14" or "1,15"`}
	for part := range strings.SplitSeq(s, ",") {
		lo, hi, isRange := strings.Cut(part, "-")
		if !isRange {
			hi = lo
		}
		l, err1 := strconv.ParseUint(lo, 10, 8)
		h, err2 := strconv.ParseUint(hi, 10, 8)
		if err1 != nil || err2 != nil || l < 1 || h > 31 || l > h {
			return 0, bad
		}
		for d := l; d <= h; d++ {
			mask |= 1 << d
		}
	}
	return mask, nil
}

// on says whether the day has instants.
func (in instants) on(y int, m time.Month, d int, wd time.Weekday) bool {
	s := in.spec
	return s.Month&(1<<uint(m)) != 0 && s.Dom&(1<<uint(d)) != 0 && s.Dow&(1<<uint(wd)) != 0 &&
		(in.days == 0 || in.days&(1<<uint(d)) != 0)
}

// each calls f with every instant from the given time on, in order, until f
// returns false or after about nine years without an instant. An instant that
// spring's change of clocks skips takes place as much later as the clocks
// moved; one that autumn's change makes twice takes place once, the first,
// unless the expression fires in every hour.
func (in instants) each(loc *time.Location, from time.Time, f func(time.Time) bool) {
	local := from.In(loc)
	y, m, d := local.Date()
	day := time.Date(y, m, d-1, 12, 0, 0, 0, time.UTC) // a calendar without clock changes
	var last time.Time
	for idle := 0; idle < 9*366; idle++ {
		y, m, d := day.Date()
		if in.on(y, m, d, day.Weekday()) {
			for _, t := range in.onDay(loc, y, m, d) {
				if t.Before(from) || !t.After(last) {
					continue
				}
				last, idle = t, 0
				if !f(t) {
					return
				}
			}
		}
		day = day.AddDate(0, 0, 1)
	}
}

// onDay lists a day's instants in order.
func (in instants) onDay(loc *time.Location, y int, m time.Month, d int) []time.Time {
	midnight := time.Date(y, m, d, 0, 0, 0, 0, loc)
	_, before := midnight.Zone()
	_, after := time.Date(y, m, d+1, 0, 0, 0, 0, loc).Zone()
	plain := before == after && midnight.Hour() == 0
	var out []time.Time
	for h := range 24 {
		if in.spec.Hour&(1<<uint(h)) == 0 {
			continue
		}
		for mi := range 60 {
			if in.spec.Minute&(1<<uint(mi)) == 0 {
				continue
			}
			if plain {
				out = append(out, midnight.Add(time.Duration(h)*time.Hour+time.Duration(mi)*time.Minute))
				continue
			}
			t := first(time.Date(y, m, d, h, mi, 0, 0, loc))
			out = append(out, t)
			if again, twice := secondTime(t); in.hours && twice {
				out = append(out, again)
			}
		}
	}
	if !plain {
		slices.SortFunc(out, time.Time.Compare)
	}
	return out
}

// first returns the earlier of two instants with the same wall clock.
func first(t time.Time) time.Time {
	for _, gap := range []time.Duration{time.Hour, 30 * time.Minute} {
		if e := t.Add(-gap); sameClock(e, t) {
			return e
		}
	}
	return t
}

func secondTime(t time.Time) (time.Time, bool) {
	for _, gap := range []time.Duration{time.Hour, 30 * time.Minute} {
		if l := t.Add(gap); sameClock(l, t) {
			return l, true
		}
	}
	return t, false
}

func sameClock(a, b time.Time) bool {
	return a.Day() == b.Day() && a.Hour() == b.Hour() && a.Minute() == b.Minute()
}

// next returns the first instant at or after t.
func (in instants) next(loc *time.Location, t time.Time) (at time.Time, ok bool) {
	in.each(loc, t, func(x time.Time) bool {
		at, ok = x, true
		return false
	})
	return at, ok
}
