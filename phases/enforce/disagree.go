package enforce

import (
	"time"

	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/plans"
)

// logMemory is how long the kernel does not log a flow again, and a minute.
const logMemory = time.Hour + time.Minute

// Beside says what a refactoring in its shadow makes of a group's flow that the
// rules in force do not: flow.Widens, flow.Narrows, or "".
type Beside func(group string, f flow.Flow) flow.Verdict

// Disagreements returns where a refactoring in its shadow and the rules in
// force differ, as the kernel logged it since the shadow began. What was logged
// shortly before counts if the two differ in it: the kernel does not say it
// again. odd is what was logged although they do not differ.
func Disagreements(judged []monitor.Judged, beside Beside, answers Answers, since, now time.Time) (differ, odd []Line) {
	here, strange := lines{}, lines{}
	for _, j := range judged {
		if !j.Verdict.Disagrees() || j.Last.Before(since.Add(-logMemory)) {
			continue
		}
		k := lineKey{finding.Kind(j.Verdict), j.Group, j.Service(), single(j.Server)}
		s := sighting{client: j.Client, first: j.First, last: j.Last, count: j.Count}
		switch {
		case beside(j.Group, j.Flow) == j.Verdict:
			here.add(k, s)
		case !j.Last.Before(since):
			strange.add(k, s)
		}
	}
	return here.list(answers, now), strange.list(answers, now)
}

// CensusBeside judges live connections by a refactoring in its shadow: those
// that it would cut although the rules in force let them pass. groupOf is as in
// Census.
func CensusBeside(p *plans.Plan, beside Beside, records []flow.Record, groupOf func(flow.Record) string, answers Answers, now time.Time) []Line {
	ls := lines{}
	life := lifelinesOf(p)
	for _, r := range records {
		if r.Closed {
			continue
		}
		r, judged := monitor.InScope(p.Scope, r)
		if !judged || r.Inbound {
			continue
		}
		group := groupOf(r)
		if group == "" || life.passes(group, r.Flow) || beside(group, r.Flow) != flow.Narrows {
			continue
		}
		ls.add(lineKey{finding.Narrows, group, r.Service(), single(r.Server)},
			sighting{client: r.Client, first: r.First, last: r.Last, count: 1, open: 1})
	}
	return ls.list(answers, now)
}

// Answered returns lines with the answers that hold at a moment.
func (as Answers) Answered(ls []Line, now time.Time) []Line {
	out := make([]Line, len(ls))
	for i, l := range ls {
		l.Answer = nil
		if a := as.forLine(l, now); a != nil {
			copied := *a
			l.Answer = &copied
		}
		out[i] = l
	}
	return out
}
