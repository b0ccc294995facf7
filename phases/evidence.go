package phases

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/phases/enforce"
	"weir/phases/finding"
	"weir/plans"
)

// Limits of the gates that judge evidence.
const (
	tooManyUnanswered = 0.5            // share of flows without an answer
	fewFlows          = 10             // fewer than these say nothing about a group
	censusAge         = 25 * time.Hour // a census is made daily
	heartbeatAge      = time.Hour
	logMemory         = time.Hour // a flow that recurs is logged again after this
)

// gateObserved: silence is no evidence, so only observed time counts.
func gateObserved(a asking) GateResult {
	if len(a.Observed) == 0 {
		return cannotTell("nothing was observed yet")
	}
	have, want := a.observed(a.Observed[0].From, a.now), a.plan.Monitor.Minimum
	if have < want {
		return refuse(a.now.Add(want-have), "%s of %s observed", text(have), text(want))
	}
	return pass("%s observed", text(have))
}

// gateCalendar: each event that the plan names lies in observed time.
func gateCalendar(a asking) GateResult {
	var missing []string
	var earliest time.Time
	for _, name := range a.plan.Monitor.Covers {
		e := a.plan.Event(name)
		if e == nil {
			return cannotTell("the plan has no event %s", name)
		}
		if len(a.Observed) > 0 && slices.ContainsFunc(plans.Spans(e.Window, a.plan.Timezone, a.Observed[0].From, a.now), func(s plans.Span) bool {
			return !s.To.After(a.now) && a.complete(s.From, s.To)
		}) {
			continue
		}
		end := nextEnd(a, e.Window)
		missing = append(missing, fmt.Sprintf("%s (the next ends %s)", name, date(a.plan, end)))
		if earliest.IsZero() || end.After(earliest) {
			earliest = end
		}
	}
	if len(missing) > 0 {
		return refuse(earliest, "not in observed time: %s", strings.Join(missing, ", "))
	}
	return pass("%d calendar events in observed time", len(a.plan.Monitor.Covers))
}

// nextEnd is when the first event ends that can still be observed as a whole.
func nextEnd(a asking, w plans.Window) time.Time {
	begin := a.now
	if n := len(a.Observed); n > 0 && a.now.Sub(a.Observed[n-1].To) < time.Minute {
		begin = a.Observed[n-1].From // an event that is going on counts if it was observed from its beginning
	}
	for _, years := range []int{1, 5} {
		for _, s := range plans.Spans(w, a.plan.Timezone, a.now, a.now.AddDate(years, 0, 0)) {
			if !s.From.Before(begin) {
				return s.To
			}
		}
	}
	return time.Time{}
}

func gateWitnessed(a asking) GateResult {
	const causes = "usual causes: flowtables or offload, a proxy or containers on this machine, tunnels, paths past it"
	switch {
	case a.Witnessed == nil:
		return cannotTell("the outside interfaces' counters were not compared yet")
	case *a.Witnessed < a.plan.Monitor.Witnessed:
		return refuse(time.Time{}, "flows explain %.0f%% of the bytes that left, the plan wants %.0f%%; %s", 100**a.Witnessed, 100*a.plan.Monitor.Witnessed, causes)
	}
	return pass("flows explain %.0f%% of the bytes that left", 100**a.Witnessed)
}

// groups are those that the step narrows, or all.
func (a asking) groups() []string {
	if len(a.step.Narrows) > 0 {
		return a.step.Narrows
	}
	var out []string
	for _, g := range a.plan.Groups {
		out = append(out, g.Name)
	}
	return out
}

// gateUnseen: a group whose destinations are still being discovered has needs
// that nobody has seen. The estimate is a lower bound: it can hold a rollout
// back, and says nothing where it does not.
func gateUnseen(a asking) GateResult {
	if a.Discovered == nil {
		return cannotTell("it was not estimated how much was not seen")
	}
	var bad []string
	for _, d := range a.Discovered {
		g, ok := groupOf(a.plan, d.Group)
		if !ok || g.Allow != "observed" || !slices.Contains(a.groups(), d.Group) {
			continue
		}
		if share := d.Unseen / (d.Unseen + float64(d.Pairs)); share > a.plan.Monitor.Unseen {
			bad = append(bad, fmt.Sprintf("%s %.0f%% (%d seen, at least %.0f not; %d on one day only)", d.Group, 100*share, d.Pairs, d.Unseen, d.Once))
		}
	}
	if len(bad) > 0 {
		return refuse(time.Time{}, "new destinations keep coming, the plan wants no more than %.0f%% unseen: %s; observe for longer, or declare what is known", 100*a.plan.Monitor.Unseen, strings.Join(bad, ", "))
	}
	return pass("the estimate of what was not seen is below %.0f%%, which proves nothing about rare events", 100*a.plan.Monitor.Unseen)
}

func gateUnanswered(a asking) GateResult {
	if a.Facts.Unanswered == nil {
		return cannotTell("it is not known how many flows were answered")
	}
	var bad []string
	for _, u := range a.Facts.Unanswered {
		if slices.Contains(a.groups(), u.Group) && u.Flows >= fewFlows && u.Share > tooManyUnanswered {
			bad = append(bad, fmt.Sprintf("%s %.0f%%", u.Group, 100*u.Share))
		}
	}
	if len(bad) > 0 {
		return cannotTell("many flows saw no answer, replies may take another way: %s", strings.Join(bad, ", "))
	}
	return pass("flows are answered")
}

// gateLoss: what was missed in the time that the other gates look at makes
// them blind.
func gateLoss(a asking) GateResult {
	if len(a.Observed) == 0 {
		return cannotTell("nothing was observed yet")
	}
	from := a.Observed[0].From
	if a.step.Blocks() {
		from = a.now.Add(-a.plan.Enforce.Alert.Quiet)
	} else if a.plan.Monitor.Minimum > 0 {
		from = later(from, a.now.Add(-a.plan.Monitor.Minimum))
	}
	var lost uint64
	var missed time.Duration
	var causes []string
	for _, g := range a.Gaps {
		if d := overlap(g.Span, from, a.now); d > 0 || g.Lost > 0 && !g.To.Before(from) {
			lost, missed = lost+g.Lost, missed+d
			if !slices.Contains(causes, g.Cause) {
				causes = append(causes, g.Cause)
			}
		}
	}
	if missed > a.now.Sub(from)/100 {
		return cannotTell("%s with %d records lost since %s: %s", text(missed), lost, date(a.plan, from), strings.Join(causes, ", "))
	}
	return pass("%d records lost since %s", lost, date(a.plan, from))
}

// gateAlert: every group of the wave was listed for the minimum, observed.
func gateAlert(a asking) GateResult {
	want := a.plan.Enforce.Alert.Minimum
	least := time.Duration(-1)
	for _, g := range a.groups() {
		since, ok := a.Listed[g]
		if !ok {
			return refuse(time.Time{}, "group %s is not in alert", g)
		}
		if have := a.observed(since, a.now); least < 0 || have < least {
			least = have
		}
	}
	if least < want {
		return refuse(a.now.Add(want-least), "%s of %s in alert and observed", text(least), text(want))
	}
	return pass("%s in alert", text(least))
}

// gateQuiet: nothing new and unanswered would have been denied for as long as
// the plan says. An answered line no longer counts, however often it comes; one
// that recurs keeps the gate shut until it is answered.
func gateQuiet(a asking) GateResult {
	quiet := a.plan.Enforce.Alert.Quiet
	from := a.now.Add(-quiet)
	for _, g := range a.groups() {
		since, ok := a.Listed[g]
		if !ok || since.After(from) {
			return refuse(since.Add(quiet), "group %s has been in alert for %s, quiet is %s", g, text(a.now.Sub(since)), text(quiet))
		}
	}
	open := slices.DeleteFunc(enforce.NewAndUnanswered(a.Lines, from), func(l enforce.Line) bool { return !slices.Contains(a.groups(), l.Group) })
	if len(open) > 0 {
		last := open[0]
		for _, l := range open {
			if l.Last.After(last.Last) {
				last = l
			}
		}
		return refuse(last.Last.Add(quiet), "%d unanswered would-be-denied flows in the last %s, the last %s %s at %s; answer them: weir findings",
			len(open), text(quiet), last.Group, last.Service, date(a.plan, last.Last))
	}
	if quiet > 0 && !a.complete(from, a.now) {
		return cannotTell("the last %s were not observed without gaps", text(quiet))
	}
	if a.Moved == nil {
		return cannotTell("the counters of would-be-denied packets were not read")
	}
	for _, g := range a.groups() {
		moved := a.Moved[g]
		if moved.IsZero() || moved.Before(from) {
			continue
		}
		// A line is logged once in logMemory, however often it comes.
		recent := slices.DeleteFunc(slices.Clone(a.Lines), func(l enforce.Line) bool {
			return l.Group != g || l.Kind != finding.WouldDeny || l.Last.Before(moved.Add(-logMemory-time.Minute))
		})
		if len(recent) == 0 {
			return cannotTell("group %s: packets were counted at %s that no log line explains", g, date(a.plan, moved))
		}
		recent = slices.DeleteFunc(recent, func(l enforce.Line) bool { return l.Answer != nil })
		if len(recent) > 0 {
			return cannotTell("group %s: packets were counted at %s; %d unanswered would-be-denied flows may have sent them, %s is one; answer them: weir findings",
				g, date(a.plan, moved), len(recent), recent[0].Service)
		}
	}
	return pass("nothing new and unanswered for %s", text(quiet))
}

func gateCensus(a asking) GateResult {
	switch {
	case a.Census.IsZero():
		return cannotTell("the live connections were not judged yet")
	case a.now.Sub(a.Census) > censusAge:
		return cannotTell("the last census of the live connections is of %s", date(a.plan, a.Census))
	}
	for _, g := range a.groups() {
		if a.Census.Before(a.Listed[g]) {
			return cannotTell("no census of the live connections since group %s is in alert", g)
		}
	}
	return pass("live connections judged at %s", date(a.plan, a.Census))
}

func gateQuestions(a asking) GateResult {
	if a.Held == nil {
		return cannotTell("the list of rare and one-way flows was not made")
	}
	n := 0
	for _, l := range a.Held.Open() {
		if slices.Contains(a.groups(), l.Group) {
			n++
		}
	}
	if n > 0 {
		return refuse(time.Time{}, "%d rare or one-way flows wait for an answer: weir findings", n)
	}
	return pass("no rare or one-way flow waits for an answer")
}

func gateHeartbeat(a asking) GateResult {
	switch {
	case a.Heartbeat.IsZero():
		return cannotTell("no test packet has shown up in the log")
	case a.now.Sub(a.Heartbeat) > heartbeatAge:
		return cannotTell("the last test packet showed up at %s", date(a.plan, a.Heartbeat))
	}
	return pass("a test packet showed up at %s", date(a.plan, a.Heartbeat))
}

func text(d time.Duration) string { return plans.FormatDuration(d.Round(time.Second)) }

func date(plan plans.Plan, t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	if plan.Timezone != nil {
		t = t.In(plan.Timezone)
	}
	return t.Format("2006-01-02 15:04")
}
