package phases

import (
	"errors"
	"strings"
	"testing"
	"time"

	"weir/phases/monitor"
	"weir/plans"
)

// Tests named after things that went wrong elsewhere; docs/reliability.md tells
// each of them.

// A few minutes of observation saw a tenth of what a week saw: an estimate of
// what was not seen holds the rollout back, and passes nothing by itself.
func TestStory02UnseenHoldsBack(t *testing.T) {
	planNamed("unseen", func(p *planT) { p.Monitor = plans.Monitor{Minimum: 7 * day, Unseen: 0.2} })
	s := newScript(t)
	pairs, unseen, observed := 5, 36.0, time.Hour
	s.f = func(w *world) Facts {
		f := facts(w)
		f.Observed = []monitor.Span{{From: w.now.Add(-observed), To: w.now}}
		f.Discovered = []monitor.Discovered{{Group: "desks", Pairs: pairs, Once: pairs, Unseen: unseen}}
		return f
	}
	s.run("apply:unseen drill req ok:ben arm yes")
	refused := func(gate string) {
		t.Helper()
		if err := s.do("req"); !errors.Is(err, ErrGate) || !strings.Contains(err.Error(), gate) {
			t.Errorf("%d pairs, %.0f unseen, %v observed: %v; want gate %s", pairs, unseen, observed, err, gate)
		}
	}
	refused("observed (fail)")
	observed = 8 * day
	refused("unseen (fail)")
	pairs, unseen, observed = 41, 0, time.Hour
	refused("observed (fail)") // a good estimate opens nothing
	observed = 8 * day
	s.run("req")
}

// The plan said weeks, somebody did it in two days everywhere: time between
// waves, and their order, are the machine's to keep.
func TestStory03SoakAndOrderAreEnforced(t *testing.T) {
	planNamed("soaking", func(p *planT) { p.Enforce.Soak = 7 * day })
	s := newScript(t)
	s.run("apply:soaking drill to:enforce/alert req:enforce/block:core=notnext req ok:ben ok:cleo arm yes")
	if s.m.State().Stable == "" || s.w.words(s.m) != "enforce/block:cameras" {
		t.Fatal(s.w.words(s.m))
	}
	s.run("req ok:ben ok:cleo arm=gate wait:47h arm=gate")
	s.run("req ok:ben ok:cleo wait:122h arm yes") // in all 7 days
	s.run("req ok:ben ok:cleo arm=gate")
}

// The yearly job: an event that the plan names must lie in observed time, and
// until then nobody is denied anything.
func TestStory22YearlyEvent(t *testing.T) {
	planNamed("yearly", func(p *planT) {
		p.Calendar = []plans.Event{{Name: "year-end", Window: plans.Window{Cron: "0 0 1 1 *", Before: 24 * time.Hour, After: 24 * time.Hour}}}
		p.Monitor.Covers = []string{"year-end"}
	})
	s := newScript(t)
	begin := s.w.now
	s.f = func(w *world) Facts {
		f := facts(w)
		f.Observed = []monitor.Span{{From: begin, To: w.now}}
		return f
	}
	s.run("apply:yearly drill req ok:ben arm yes")
	for s.w.now.Year() == begin.Year() {
		if err := s.do("req"); !errors.Is(err, ErrGate) || !strings.Contains(err.Error(), "year-end") {
			t.Fatalf("%s: %v", s.w.now, err)
		}
		s.run("open:cameras open:desks open:servers wait:720h")
	}
	for s.w.now.YearDay() < 3 {
		s.run("wait:24h")
	}
	s.run("req ok:ben arm yes")
}

// A plan that changed after it was approved, and an approval that is used
// twice.
func TestStory32ApprovalIsForOneStepOnce(t *testing.T) {
	planNamed("before", nil)
	planNamed("after", func(p *planT) { p.Enforce.Deny = "drop" })
	s := newScript(t)
	s.run("apply:before drill to:enforce/alert req ok:ben ok:cleo apply:after arm=replanned")
	s.run("req ok:ben ok:cleo arm yes back resume arm=used")
}
