package phases

import (
	"slices"
	"strings"
	"time"

	"weir/plans"
)

// lastBlocking returns the newest confirm of a block or swap step that is in
// force.
func (s State) lastBlocking() (Confirmed, bool) {
	for i := len(s.Stack) - 1; i >= 0; i-- {
		if (Step{Name: s.Stack[i].Step}).Blocks() {
			return s.Stack[i], true
		}
	}
	return Confirmed{}, false
}

func gateSoak(a asking) GateResult {
	last, ok := a.lastBlocking()
	if !ok {
		return pass("no wave before this one")
	}
	if end := last.At.Add(a.plan.Enforce.Soak); a.now.Before(end) {
		return refuse(end, "%s soaks until %s", last.Step, date(a.plan, end))
	}
	return pass("%s was confirmed %s ago", last.Step, text(a.now.Sub(last.At)))
}

func gateDrill(a asking) GateResult {
	if a.Drill.IsZero() {
		return refuse(time.Time{}, "the unblock procedure was never exercised on this machine: weir unblock --drill")
	}
	return pass("unblock was exercised at %s and took %s", date(a.plan, a.Drill), a.DrillFor.Round(time.Millisecond))
}

func gateBrownouts(a asking) GateResult {
	for _, want := range a.step.Brownouts {
		if !slices.ContainsFunc(a.Brown, func(b Brown) bool {
			return b.Step == a.step.Name && b.Plan == a.plan.Hash && b.Lease >= want && !a.now.Before(b.At.Add(b.Lease))
		}) {
			return refuse(time.Time{}, "the brownout of %s has not run: weir advance --brownout %s", text(want), text(want))
		}
	}
	return pass("%d brownouts have run", len(a.step.Brownouts))
}

func gateWindow(a asking) GateResult {
	if !plans.Inside(a.plan.Enforce.Windows, a.plan.Timezone, a.now) {
		next := a.plan.NextBlocking(a.now)
		return refuse(next, "outside the change windows; the next opens %s", date(a.plan, next))
	}
	if end, ok := plans.End(a.plan.Enforce.Windows, a.plan.Timezone, a.now); ok {
		return pass("the window is open until %s", date(a.plan, end))
	}
	return pass("no change windows limit it")
}

func gateFreeze(a asking) GateResult {
	if f := a.plan.Frozen(a.now); f != nil {
		return refuse(a.plan.NextBlocking(f.To), "the freeze %s lasts until %s", f.Name, date(a.plan, f.To))
	}
	return pass("no freeze")
}

// Expected is when a step can be reached at the earliest.
type Expected struct {
	Step string    `json:"step"`
	At   time.Time `json:"at"`
	Why  string    `json:"why"` // what takes longest
}

// Expect lists for every step that is still to come the earliest date at which
// it can be armed, if everything goes well: nothing lapses, every question is
// answered at once, and each step is confirmed at once.
func Expect(plan plans.Plan, f Facts, s State, now time.Time) []Expected {
	steps := Expand(plan)
	name, _, _, _ := s.Current()
	var out []Expected
	t, alert, done := now, now, true
	if last, ok := s.lastBlocking(); ok {
		t = later(t, last.At.Add(plan.Enforce.Soak))
	}
	for _, l := range s.Listed {
		alert = earlier(alert, l)
	}
	blocked := false
	for _, st := range steps[1:] {
		if s.Stable != "" && done {
			done = st.Name != name
			continue
		}
		why := "at once"
		put := func(at time.Time, because string) {
			if at.After(t) {
				t, why = at, because
			}
		}
		switch {
		case st.Name == StepAlert:
			a := asking{plan, st, f, s, now}
			if r := gateObserved(a); r.Verdict == Fail {
				put(r.Earliest, text(plan.Monitor.Minimum)+" of observation")
			} else if r.Verdict == CannotTell {
				put(t.Add(plan.Monitor.Minimum), text(plan.Monitor.Minimum)+" of observation")
			}
			if r := gateCalendar(a); r.Verdict == Fail {
				put(r.Earliest, strings.Join(plan.Monitor.Covers, ", ")+" observed")
			}
			alert = t
		case st.Blocks():
			if blocked {
				put(t.Add(plan.Enforce.Soak), text(plan.Enforce.Soak)+" of soak")
			}
			if plan.Environment != "new" && st.Phase() == "enforce" {
				put(alert.Add(max(plan.Enforce.Alert.Minimum, plan.Enforce.Alert.Quiet)), text(plan.Enforce.Alert.Minimum)+" of alert")
			}
			for _, b := range st.Brownouts {
				put(plan.NextBlocking(t).Add(b), "brownouts")
			}
			if r, ok := refactorOf(plan, st.Wave()); ok && st.Phase() == "refactor" && r.Shadow > 0 {
				since := t
				if f.Shadow != nil && f.Shadow.Digest == s.Stable && name == shadowPrefix+r.Name {
					since = f.Shadow.Since
				}
				put(since.Add(r.Shadow), text(r.Shadow)+" side by side")
			}
			if next := plan.NextBlocking(t); !next.IsZero() {
				put(next, "the change window")
			}
			blocked = true
		case st.Name == StepWatch && blocked:
			put(t.Add(plan.Enforce.Soak), text(plan.Enforce.Soak)+" of soak")
		}
		out = append(out, Expected{st.Name, t, why})
	}
	return out
}

// Overdue is a group that has been in alert for longer than the plan allows.
type Overdue struct {
	Group string    `json:"group"`
	Owner string    `json:"owner"`
	Since time.Time `json:"since"`
}

// OverdueGroups lists them. Groups that the plan leaves open are not overdue.
func OverdueGroups(plan plans.Plan, s State, now time.Time) []Overdue {
	var out []Overdue
	if plan.Enforce.Alert.Maximum <= 0 {
		return nil
	}
	for _, t := range s.effective() {
		since := s.Listed[t.Group]
		if t.Treatment.Denies() || since.IsZero() || slices.Contains(plan.Enforce.LeaveOpen, t.Group) || now.Sub(since) <= plan.Enforce.Alert.Maximum {
			continue
		}
		g, _ := groupOf(plan, t.Group)
		out = append(out, Overdue{t.Group, g.Owner, since})
	}
	return out
}
