package phases

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/phases/enforce"
	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/plans"
)

// gateWorld is a state with cameras listed since day 0 and a plan that uses
// every gate; now is day 20, a Monday at noon.
func gateWorld() (plans.Plan, State, Facts, time.Time) {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	plan := planNamed("gates", func(p *planT) {
		p.Monitor = plans.Monitor{Minimum: 10 * day, Covers: []string{"month-end"}, Witnessed: 0.9, Unseen: 0.2}
		p.Calendar = []plans.Event{{Name: "month-end", Window: plans.Window{Cron: "0 0 1 * *", Before: 24 * time.Hour, After: 24 * time.Hour}}}
		p.Enforce.Alert = plans.Alert{Minimum: 14 * day, Maximum: 30 * day, Quiet: 72 * time.Hour}
		p.Enforce.Soak = 48 * time.Hour
		p.Enforce.Windows = []plans.Window{{Cron: "0 9 * * MON-THU", After: 6 * time.Hour}}
		p.Enforce.Freezes = []plans.Freeze{{Name: "year-end", From: time.Date(2026, 12, 15, 0, 0, 0, 0, time.UTC), To: time.Date(2027, 1, 8, 0, 0, 0, 0, time.UTC)}}
		p.Enforce.Waves[0].Brownouts = []time.Duration{2 * time.Minute}
	})
	var s State
	s.init()
	s.Plan = plan.Hash
	for _, g := range plan.Groups {
		s.Listed[g.Name] = now.Add(-20 * day)
	}
	s.Drill, s.DrillFor = now.Add(-day), time.Second
	s.Brown = []Brown{{Step: "enforce/block:cameras", Plan: plan.Hash, At: now.Add(-time.Hour), Lease: 2 * time.Minute}}
	w := 0.95
	return plan, s, Facts{
		Observed: []monitor.Span{{From: now.Add(-40 * day), To: now}}, Moved: map[string]time.Time{}, Census: now.Add(-time.Hour),
		Held: &enforce.Held{}, Unanswered: []monitor.Unanswered{{Group: "cameras", Flows: 100, Unanswered: 10, Share: 0.1}},
		Witnessed: &w, Heartbeat: now.Add(-time.Minute), Surroundings: []Surrounding{}, Discovered: []monitor.Discovered{{Group: "cameras", Pairs: 41, Days: 7}},
	}, now
}

const day = 24 * time.Hour

func wouldDeny(group string, first, last time.Time) enforce.Line {
	return enforce.Line{ID: "x", Kind: finding.WouldDeny, Group: group, Service: flow.Single(flow.TCP, 8883), First: first, Last: last, Count: 1}
}

func TestGates(t *testing.T) {
	needed := &enforce.Answer{Verdict: finding.Needed}
	block, alert := "enforce/block:cameras", StepAlert
	type edit func(p *plans.Plan, s *State, f *Facts, now *time.Time)
	for _, row := range []struct {
		name     string
		step     string
		edit     edit
		gate     string // which one answers so, then the others that do not pass; "" all pass
		want     Verdict
		words    string
		earliest time.Duration // after now; 0: not looked at
	}{
		{"all is well", block, nil, "", "", "", 0},
		{"all is well for alert", alert, nil, "", "", "", 0},
		{"nothing observed", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Observed = nil }, GateObserved + " calendar loss", CannotTell, "", 0},
		{"too little", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { p.Monitor.Minimum = 45 * day }, GateObserved, Fail, "40d of 45d", 5 * day},
		{"silence of the capture is no observation", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Observed = []monitor.Span{{From: n.Add(-40 * day), To: n.Add(-35 * day)}, {From: n.Add(-3 * day), To: *n}}
		}, GateObserved, Fail, "8d of 10d", 2 * day},
		{"a gap is no observation", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Gaps = []monitor.Gap{{Span: monitor.Span{From: n.Add(-39 * day), To: n.Add(-8 * day)}}}
		}, GateObserved + " loss", Fail, "9d of 10d", day},
		{"an event that was not whole", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Observed = []monitor.Span{{From: n.Add(-28 * day), To: n.Add(-36 * time.Hour)}, {From: n.Add(-30 * time.Hour), To: *n}}
		}, GateCalendar, Fail, "month-end (the next ends 2026-04-02", 30*day + 12*time.Hour},
		{"an event that goes on", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			*n = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			f.Observed = []monitor.Span{{From: n.Add(-20 * day), To: *n}}
			p.Monitor.Minimum = day
		}, GateCalendar, Fail, "2026-03-02", 12 * time.Hour},
		{"witnessed not known", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Witnessed = nil }, GateWitnessed, CannotTell, "", 0},
		{"witnessed too little", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { w := 0.5; f.Witnessed = &w }, GateWitnessed, Fail, "flowtables", 0},
		{"unseen not known", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Discovered = nil }, GateUnseen, CannotTell, "", 0},
		{"few of a declared group were seen", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Discovered[0] = monitor.Discovered{Group: "cameras", Pairs: 5, Once: 5, Unseen: 36}
		}, "", "", "", 0},
		{"story 2: most was not seen", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Discovered = append(f.Discovered, monitor.Discovered{Group: "desks", Pairs: 5, Days: 1, Once: 5, Unseen: 36})
		}, GateUnseen, Fail, "desks 88% (5 seen, at least 36 not", 0},
		{"replies another way", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Unanswered[0].Share = 0.8 }, GateUnanswered, CannotTell, "cameras 80%", 0},
		{"answers not known", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Unanswered = nil }, GateUnanswered, CannotTell, "", 0},
		{"lost in the quiet time", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Gaps = []monitor.Gap{{Span: monitor.Span{From: n.Add(-5 * time.Hour), To: n.Add(-3 * time.Hour)}, Cause: "buffer full", Lost: 7}}
		}, GateLoss + " quiet", CannotTell, "buffer full", 0},

		{"too short in alert", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { s.Listed["cameras"] = n.Add(-13 * day) }, GateAlert, Fail, "13d of 14d", day},
		{"alert that was not observed", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Observed[0].From = n.Add(-12 * day) }, GateAlert, Fail, "12d of 14d", 2 * day},
		{"not in alert", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { delete(s.Listed, "cameras") }, GateAlert + " quiet", Fail, "not in alert", 0},
		{"a flow that recurs each hour", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Lines = []enforce.Line{wouldDeny("cameras", n.Add(-19*day), n.Add(-time.Hour))}
		}, GateQuiet, Fail, "1 unanswered", 71 * time.Hour},
		{"once answered it no longer counts", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			l := wouldDeny("cameras", n.Add(-19*day), n.Add(-time.Hour))
			l.Answer = needed
			f.Lines, f.Moved["cameras"] = []enforce.Line{l}, *n
		}, "", "", "", 0},
		{"an old one that came no more", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Lines = []enforce.Line{wouldDeny("cameras", n.Add(-19*day), n.Add(-73*time.Hour))}
		}, "", "", "", 0},
		{"another group's", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Lines = []enforce.Line{wouldDeny("desks", n.Add(-19*day), *n)}
		}, "", "", "", 0},
		{"quiet that was not watched", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Observed = []monitor.Span{{From: n.Add(-40 * day), To: n.Add(-60 * time.Hour)}, {From: n.Add(-50 * time.Hour), To: *n}}
		}, GateQuiet, CannotTell, "", 0},
		{"counted, not logged", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Moved["cameras"] = n.Add(-time.Hour) }, GateQuiet, CannotTell, "no log line explains", 0},
		{"counters not read", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Moved = nil }, GateQuiet, CannotTell, "", 0},
		{"no census", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Census = time.Time{} }, GateCensus, CannotTell, "", 0},
		{"an old census", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Census = n.Add(-26 * time.Hour) }, GateCensus, CannotTell, "", 0},
		{"a question waits", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Held.Lines = []enforce.Line{{Group: "cameras"}, {Group: "desks"}}
		}, GateQuestions, Fail, "1 rare", 0},
		{"questions not known", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Held = nil }, GateQuestions, CannotTell, "", 0},
		{"another gateway", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Surroundings = []Surrounding{{Name: "keepalived", Words: "keepalived runs here", Holds: CannotTell}}
		}, GateSurroundings, CannotTell, "keepalived runs here; say that you know and why the evidence holds: weir doctor --accept keepalived", 0},
		{"whose evidence was imported", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Surroundings = []Surrounding{{Name: "keepalived", Words: "keepalived runs here", Holds: CannotTell}}
			s.Accepted = map[string]Accepted{"keepalived": {By: anna, Why: "imported"}}
		}, "", "", "", 0},
		{"a full connection table, whatever anybody says", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Surroundings = []Surrounding{{Name: "conntrack", Words: "the connection table is full", Holds: Fail}}
			s.Accepted = map[string]Accepted{"conntrack": {By: anna, Why: "no"}}
		}, GateSurroundings, Fail, "the connection table is full", 0},
		{"what is only told", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Surroundings = []Surrounding{{Name: "bridge:br0", Words: "a bridge", Holds: Pass}}
		}, "", "", "", 0},
		{"another gateway, in alert", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			f.Surroundings = []Surrounding{{Name: "keepalived", Words: "keepalived runs here", Holds: CannotTell}}
		}, "", "", "", 0},
		{"nobody looked around", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Surroundings = nil }, GateSurroundings, CannotTell, "weir doctor", 0},
		{"no heartbeat", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Heartbeat = time.Time{} }, GateHeartbeat, CannotTell, "", 0},
		{"an old heartbeat", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { f.Heartbeat = n.Add(-2 * time.Hour) }, GateHeartbeat, CannotTell, "", 0},
		{"soak", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			s.Stack = []Confirmed{{Step: "enforce/block:core", At: n.Add(-40 * time.Hour)}}
		}, GateSoak, Fail, "soaks until", 8 * time.Hour},
		{"no drill", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { s.Drill = time.Time{} }, GateDrill, Fail, "weir unblock --drill", 0},
		{"no brownout", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { s.Brown = nil }, GateBrownouts, Fail, "weir advance --brownout 2m", 0},
		{"a brownout under another plan", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { s.Brown[0].Plan = "old" }, GateBrownouts, Fail, "", 0},
		{"a brownout that goes on", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { s.Brown[0].At = n.Add(-time.Minute) }, GateBrownouts, Fail, "", 0},
		{"after hours", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { forward(n, s, f, 4*time.Hour) }, GateWindow, Fail, "the next opens 2026-03-03 09:00", 17 * time.Hour},
		{"on Friday", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { forward(n, s, f, 4*day) }, GateWindow, Fail, "2026-03-09 09:00", 2*day + 21*time.Hour},
		{"observing steps have no window", alert, func(p *plans.Plan, s *State, f *Facts, n *time.Time) { forward(n, s, f, 4*day) }, "", "", "", 0},
		{"freeze", block, func(p *plans.Plan, s *State, f *Facts, n *time.Time) {
			forward(n, s, f, time.Date(2026, 12, 15, 12, 0, 0, 0, time.UTC).Sub(*n))
		}, GateFreeze, Fail, "year-end", 27*day - 3*time.Hour}, // the 8th is a Friday
	} {
		t.Run(row.name, func(t *testing.T) {
			plan, s, f, now := gateWorld()
			if row.edit != nil {
				row.edit(&plan, &s, &f, &now)
			}
			step, ok := find(Expand(plan), row.step)
			if !ok {
				t.Fatal("no step", row.step)
			}
			var refused []string
			for _, g := range Gates(plan, step, f, s, now) {
				if g.Words == "" {
					t.Errorf("%s says nothing", g.Gate)
				}
				if g.Verdict == Pass {
					continue
				}
				refused = append(refused, g.Gate)
				if primary, _, _ := strings.Cut(row.gate, " "); g.Gate != primary {
					continue
				}
				if g.Verdict != row.want || !strings.Contains(g.Words, row.words) {
					t.Errorf("%s: %s: %q; want %s with %q", g.Gate, g.Verdict, g.Words, row.want, row.words)
				}
				if row.earliest != 0 && !g.Earliest.Equal(now.Add(row.earliest)) {
					t.Errorf("%s: earliest %s, want %s", g.Gate, g.Earliest, now.Add(row.earliest))
				}
			}
			want := strings.Fields(row.gate)
			slices.Sort(want)
			slices.Sort(refused)
			if got := strings.Join(refused, " "); got != strings.Join(want, " ") {
				t.Errorf("refused by %q, want %q", got, row.gate)
			}
		})
	}
}

// forward lets time pass in which everything was seen.
func forward(now *time.Time, s *State, f *Facts, d time.Duration) {
	*now = now.Add(d)
	f.Observed[0].To, f.Census, f.Heartbeat = *now, *now, *now
}

func TestExpand(t *testing.T) {
	names := func(p plans.Plan) string {
		var out []string
		for _, s := range Expand(p) {
			out = append(out, s.Name)
		}
		return strings.Join(out, " ")
	}
	waves := "enforce/block:cameras enforce/block:pilot enforce/block:desks enforce/block:core refactor/swap:desks watch"
	if got := names(testPlans["p"]); got != "off monitor enforce/alert "+waves {
		t.Error(got)
	}
	if got := names(testPlans["new"]); got != "off "+waves {
		t.Error(got)
	}
	for _, want := range []string{
		"off: cameras open, desks open, servers open, unassigned open; narrows []; observes true",
		"monitor: cameras open, desks open, servers open, unassigned open; narrows []; observes true",
		"enforce/alert: cameras alert, desks alert, servers alert, unassigned alert; narrows []; observes true",
		"enforce/block:cameras: cameras drop, desks alert, servers alert, unassigned alert; narrows [cameras]; observes false",
		"enforce/block:pilot: cameras drop, desks reject 5%, servers alert, unassigned alert; narrows [desks]; observes false",
		"enforce/block:desks: cameras drop, desks reject, servers alert, unassigned alert; narrows [desks]; observes false",
		"enforce/block:core: cameras drop, desks reject, servers reject, unassigned alert; narrows [servers]; observes false",
		"refactor/swap:desks: cameras drop, desks reject, servers reject, unassigned alert; narrows [desks]; observes false",
		"watch: cameras drop, desks reject, servers reject, unassigned alert; narrows []; observes true",
	} {
		name, _, _ := strings.Cut(want, ": ")
		s, _ := find(Expand(testPlans["p"]), name)
		var targets []string
		for _, x := range s.Targets {
			targets = append(targets, x.String())
		}
		if got := fmt.Sprintf("%s: %s; narrows %v; observes %v", s.Name, strings.Join(targets, ", "), s.Narrows, s.Observes); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestApprovalRules(t *testing.T) {
	for pattern, names := range map[string][2]string{
		"enforce/block:*": {"enforce/block:cameras", "enforce/alert"},
		"*":               {"enforce/block:cameras", ""},
		"*:desks":         {"refactor/swap:desks", "enforce/block:core"},
		"monitor":         {"monitor", "monitoring"},
		"e*/b*:c*":        {"enforce/block:core", "enforce/alert"},
	} {
		if !matchGlob(pattern, names[0]) || names[1] != "" && matchGlob(pattern, names[1]) {
			t.Error(pattern, names)
		}
	}
	if r := approvalFor(testPlans["p"], "enforce/block:core"); r.Quorum != 2 || r.SelfApproval {
		t.Error(r)
	}
	if r := approvalFor(testPlans["lax"], "enforce/block:core"); r.Quorum != 1 || !r.SelfApproval {
		t.Error("without a rule one yes is needed:", r)
	}
}

// TestExpected: the dates of a rollout in which nothing goes wrong.
func TestExpected(t *testing.T) {
	plan, _, _, now := gateWorld()
	var s State
	s.init()
	var got []string
	for _, e := range Expect(plan, Facts{}, s, now) {
		got = append(got, e.Step+" "+e.At.Format("Mon 2006-01-02 15:04")+" "+e.Why)
	}
	want := []string{
		"monitor Mon 2026-03-02 12:00 at once",
		"enforce/alert Thu 2026-04-02 00:00 month-end observed",
		"enforce/block:cameras Thu 2026-04-16 09:02 brownouts",
		"enforce/block:pilot Mon 2026-04-20 09:00 the change window",
		"enforce/block:desks Wed 2026-04-22 09:00 2d of soak",
		"enforce/block:core Mon 2026-04-27 09:00 the change window",
		"refactor/swap:desks Wed 2026-04-29 09:00 2d of soak",
		"watch Fri 2026-05-01 09:00 2d of soak",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOverdue(t *testing.T) {
	s := newScript(t)
	planNamed("slow", func(p *planT) {
		p.Enforce.Alert.Maximum = 30 * day
		p.Groups[1].Owner = "desks@example.net"
	})
	s.run("apply:slow drill to:enforce/block:cameras")
	if got := OverdueGroups(s.m.Plan(), s.m.State(), s.w.now.Add(29*day)); len(got) != 0 {
		t.Error(got)
	}
	got := OverdueGroups(s.m.Plan(), s.m.State(), s.w.now.Add(31*day))
	if len(got) != 2 || got[0].Group != "desks" || got[0].Owner != "desks@example.net" || got[1].Group != "servers" {
		t.Error(got)
	}
}

// TestGatesAreAskedTwice: those of the evidence when a step is frozen and again
// when it is armed, those of the moment only then; neither a failure nor
// "cannot tell" lets through, and nothing is written.
func TestGatesAreAskedTwice(t *testing.T) {
	noCensus := func(w *world) Facts { f := facts(w); f.Census = time.Time{}; return f }
	question := func(w *world) Facts {
		f := facts(w)
		f.Held = &enforce.Held{Lines: []enforce.Line{{Group: "cameras"}}}
		return f
	}
	noHeartbeat := func(w *world) Facts { f := facts(w); f.Heartbeat = time.Time{}; return f }
	lifeline := func(w *world) Facts { f := facts(w); f.Missing = []string{"resolver 192.0.2.53"}; return f }
	for _, row := range []struct {
		name, words string
		f           func(*world) Facts
	}{
		{"cannot tell, when frozen", "req=gate", noCensus},
		{"fails, when frozen", "req=gate", question},
		{"cannot tell, when armed", "arm=gate", noCensus},
		{"fails, when armed", "arm=gate", question},
		{"of the moment, when frozen", "req", noHeartbeat},
		{"of the moment, when armed", "arm=gate", noHeartbeat},
		{"a lifeline is missing", "arm=lifeline", lifeline},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScript(t)
			s.run("apply:p drill to:enforce/alert")
			if strings.HasPrefix(row.words, "arm") {
				s.run("req ok:ben ok:cleo")
			}
			s.f = row.f
			writes := s.w.writes
			s.run(row.words)
			if s.w.writes != writes {
				t.Error("wrote to the kernel")
			}
			s.f = facts
			s.run("req ok:ben ok:cleo arm yes")
		})
	}
}
