package phases

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/phases/enforce"
	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/phases/refactor"
	"weir/plans"
)

func shadowed(name string, edit func(*planT)) plans.Plan {
	return planNamed(name, func(p *planT) {
		p.Refactor[0].Shadow = time.Hour
		p.Refactor = append(p.Refactor, plans.Refactor{Name: "core", Groups: []string{"servers"}, Shadow: time.Hour,
			Allow: []plans.AllowRule{{To: targetT{Outside: true}, Services: services("tcp/443", "udp/53")}}})
		if edit != nil {
			edit(p)
		}
	})
}

// watching makes the facts of a world in which the shadow in force was watched
// since a moment and disagreed with nothing.
func watching(s *script, edit func(*Shadow)) {
	s.f = func(w *world) Facts {
		f := facts(w)
		st := s.m.State()
		if h := st.Heads[st.Stable]; h.Step.Shadow != "" {
			at := st.StableAt
			f.Shadow = &Shadow{Digest: st.Stable, Since: at, Begin: at, Now: w.now}
			if edit != nil {
				edit(f.Shadow)
			}
		}
		return f
	}
}

// TestShadowComesBeforeItsSwap: one refactoring after another, each beside what
// is in force before it takes its place.
func TestShadowComesBeforeItsSwap(t *testing.T) {
	plan := shadowed("shadowed", nil)
	var names []string
	for _, st := range Expand(plan) {
		if st.Phase() == "refactor" {
			names = append(names, st.Name)
		}
	}
	if got := strings.Join(names, " "); got != "refactor/shadow:desks refactor/swap:desks refactor/shadow:core refactor/swap:core" {
		t.Fatal(got)
	}
	s := newScript(t)
	watching(s, nil)
	s.run("apply:shadowed drill to:enforce/block:core req:refactor/swap:desks=notnext")
	before := s.w.stable()
	s.run("to:refactor/shadow:desks")
	f, err := s.m.Frozen(s.m.State().Stable)
	if err != nil {
		t.Fatal(err)
	}
	if got := rulesOf(s, "desks"); got != "[tcp/443 udp/53]" || f.Input.Shadow == nil || f.Over != before {
		t.Fatalf("the rules in force are %s, beside them %+v", got, f.Input.Shadow)
	}
	if got := fmt.Sprint(f.Input.Shadow.Policy.Rules); !strings.Contains(got, "tcp/443") || strings.Contains(got, "udp/53") {
		t.Error("beside them:", got)
	}
	if f.Proof == nil || f.Proof.Widens.Boxes != 0 || f.Proof.Narrows.Boxes != 3 || f.Hashes["proof"] == "" {
		t.Errorf("the proof is %+v", f.Proof)
	}
	s.run("req=gate wait:30m req=gate wait:31m to:refactor/swap:desks")
	if got := rulesOf(s, "desks"); got != "[tcp/443]" {
		t.Error("after the swap:", got)
	}
	s.run("req:refactor/swap:core=notnext to:refactor/shadow:core wait:1h to:refactor/swap:core to:watch req=nonext back:refactor/shadow:desks")
	if got := rulesOf(s, "desks"); got != "[tcp/443 udp/53]" {
		t.Error("back in its shadow:", got)
	}
	s.run("resume req:refactor/swap:desks=gate")
}

// TestRolloutsOfAnOlderExpansion: a rollout that was begun when there were no
// shadows goes on where it stands, and what it swapped stays swapped.
func TestRolloutsOfAnOlderExpansion(t *testing.T) {
	older := func(name string) plans.Plan {
		return planNamed(name, func(p *planT) {
			p.Refactor = append(p.Refactor, plans.Refactor{Name: "core", Groups: []string{"servers"}, Allow: p.Refactor[0].Allow})
		})
	}
	for _, row := range []struct{ at, next string }{
		{"enforce/block:core", "refactor/shadow:desks"},
		{"refactor/swap:desks", "refactor/shadow:core"},
		{"refactor/swap:core", "watch"},
		{"watch", ""},
	} {
		plan := older("older")
		s := newScript(t)
		s.run("apply:older drill to:" + row.at)
		// The same plan, read by a weir that knows shadows.
		plan.Refactor = slices.Clone(plan.Refactor)
		for i := range plan.Refactor {
			plan.Refactor[i].Shadow = time.Hour
		}
		next, err := Next(plan, s.m.State())
		if next.Name != row.next || (err != nil) != (row.next == "") {
			t.Errorf("after %s comes %q, %v; want %q", row.at, next.Name, err, row.next)
		}
	}
	// A request that an older weir froze keeps the gates that it was approved with.
	s := newScript(t)
	older("older")
	s.run("apply:older drill to:enforce/block:core req ok:ben")
	s.m.plan.Refactor[0].Shadow = time.Hour
	s.run("arm yes")
	if got := rulesOf(s, "desks"); got != "[tcp/443]" {
		t.Error(got)
	}
}

// TestChangedRefactoringIsNoNarrowing: what a plan says of a refactoring that is
// not in force moves no group; its shadow runs again.
func TestChangedRefactoringIsNoNarrowing(t *testing.T) {
	shadowed("shadowed", nil)
	shadowed("mended", func(p *planT) { p.Refactor[0].Allow[0].Services = services("udp/53") })
	s := newScript(t)
	watching(s, nil)
	s.run("apply:shadowed drill to:refactor/shadow:desks wait:1h apply:mended")
	next, err := Next(s.m.Plan(), s.m.State())
	if err != nil || next.Name != "refactor/shadow:desks" || !next.Denies() {
		t.Fatalf("%+v %v", next, err)
	}
	s.run("to:refactor/shadow:desks")
	f, _ := s.m.Frozen(s.m.State().Stable)
	if got := fmt.Sprint(f.Input.Shadow.Policy.Rules); !strings.Contains(got, "udp/53") || strings.Contains(got, "tcp/443") {
		t.Error(got)
	}
	s.run("req=gate wait:1h to:refactor/swap:desks")
	if got := rulesOf(s, "desks"); got != "[udp/53]" {
		t.Error(got)
	}
}

// TestSwapIsWhatWasEvaluated: whatever evidence and answers came meanwhile, the
// swap puts in force what ran beside the rules, and its proof is the same.
func TestSwapIsWhatWasEvaluated(t *testing.T) {
	shadowed("shadowed", nil)
	s := newScript(t)
	watching(s, nil)
	s.run("apply:shadowed drill to:refactor/shadow:desks wait:2h")
	shadow, _ := s.m.Frozen(s.m.State().Stable)
	never := neverFrom("desks", "tcp/443")
	never.Name = "answer"
	s.w.now = s.w.now.Add(time.Second)
	mat := material(s.w)
	mat.Facts, mat.Never = s.f(s.w), []neverT{never}
	mat.Policy.Rules = append(mat.Policy.Rules, policy.Rule{Group: "desks", Services: services("tcp/993"), Reason: policy.DeclaredBy})
	head, _, err := s.m.Request(ctx, s.w.now, anna, "", mat)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := s.m.Frozen(head.Digest())
	if head.Proof.Digest != shadow.Proof.Digest {
		t.Errorf("the proofs differ: %+v %+v", shadow.Proof, head.Proof)
	}
	if !policy.Equal(f.Input.Policy, shadow.Input.Shadow.Policy, "desks") || len(f.Input.Never) != len(shadow.Input.Never)+len(shadow.Input.Shadow.Never) {
		t.Errorf("swapped %+v %+v, evaluated %+v", f.Input.Policy, f.Input.Never, shadow.Input.Shadow)
	}
}

// TestNeverAnsweredBeforeTheShadow: it is part of what is evaluated, and of the
// narrowing that is approved.
func TestNeverAnsweredBeforeTheShadow(t *testing.T) {
	shadowed("shadowed", nil)
	s := newScript(t)
	s.run("apply:shadowed drill to:enforce/block:core")
	n := neverFrom("desks", "tcp/443")
	n.To = targetT{Prefixes: prefixes("198.51.100.9/32")}
	s.w.now = s.w.now.Add(time.Second)
	mat := material(s.w)
	mat.Never = []neverT{n}
	head, _, err := s.m.Request(ctx, s.w.now, anna, "", mat)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := s.m.Frozen(head.Digest())
	if len(f.Input.Shadow.Never) != 1 || len(f.Input.Never) != 0 {
		t.Fatalf("%+v, in force %+v", f.Input.Shadow.Never, f.Input.Never)
	}
	_, narrows := Differences(f, nil)
	cut := flow.Flow{Client: netip.MustParseAddr("10.2.0.1"), Server: netip.MustParseAddr("198.51.100.9"), Proto: flow.TCP, Port: 443}
	if !slices.ContainsFunc(narrows, func(b policy.Box) bool { return b.Contains(cut) }) {
		t.Error(narrows)
	}
	beside := Beside(f)
	other := cut
	other.Server = netip.MustParseAddr("198.51.100.8")
	if beside("desks", cut) != flow.Narrows || beside("desks", other) != "" || beside("servers", cut) != "" {
		t.Error(beside("desks", cut), beside("desks", other), beside("servers", cut))
	}
	s.run("ok:ben arm yes")
	watching(s, nil)
	s.run("wait:2h req ok:ben arm yes")
	f, _ = s.m.Frozen(s.m.State().Stable)
	if len(f.Input.Never) != 1 {
		t.Errorf("after the swap: %+v", f.Input.Never)
	}
}

func line(kind finding.Kind, first, last time.Time, verdict finding.Verdict) enforce.Line {
	l := enforce.Line{ID: "x", Kind: kind, Group: "desks", Service: services("udp/53")[0], Destination: netip.MustParsePrefix("192.0.2.53/32"),
		First: first, Last: last, Examples: []netip.Addr{netip.MustParseAddr("10.2.0.7")}}
	if verdict != "" {
		l.Answer = &enforce.Answer{Verdict: verdict, Who: "ben"}
	}
	return l
}

// TestGatesOfASwap: what lets a swap through, what does not, and what cannot be
// told.
func TestGatesOfASwap(t *testing.T) {
	shadowed("shadowed", nil)
	moved := func(s *Shadow, at time.Time) {
		s.Packets = map[string]Disagreed{"desks": {Narrows: 3, Moved: []monitor.Span{{From: at.Add(-time.Second), To: at}}}}
	}
	for _, row := range []struct {
		name  string
		after time.Duration
		edit  func(s *Shadow, now time.Time)
		gate  string
		want  Verdict
		words string
	}{
		{"quiet for an hour", time.Hour, nil, GateShadow, Pass, "side by side for 1h"},
		{"quiet for less", 59 * time.Minute, nil, GateShadow, Fail, "of 1h"},
		{"of another step", time.Hour, func(s *Shadow, _ time.Time) { s.Digest = "sha256:x" }, GateShadow, CannotTell, "not watched"},
		{"not begun", time.Hour, func(s *Shadow, _ time.Time) { s.Since = time.Time{} }, GateShadow, CannotTell, "not watched"},
		{"it would cut a flow", 2 * time.Hour, func(s *Shadow, now time.Time) {
			s.Lines = []enforce.Line{line(finding.Narrows, now.Add(-90*time.Minute), now.Add(-90*time.Minute), "")}
		}, GateShadow, Fail, "desks 10.2.0.7 -> 192.0.2.53 udp/53 passes, and the refactoring would deny it"},
		{"a flow that is needed", 2 * time.Hour, func(s *Shadow, now time.Time) {
			s.Lines = []enforce.Line{line(finding.Narrows, now, now, finding.Needed)}
		}, GateShadow, Fail, "ben answered that it is needed"},
		{"a flow that was given up", 2 * time.Hour, func(s *Shadow, now time.Time) {
			s.Lines = []enforce.Line{line(finding.Narrows, now, now, finding.NotNeeded)}
			moved(s, now)
		}, GateShadow, Pass, "3 in the narrowing"},
		{"the approved widening in use", 2 * time.Hour, func(s *Shadow, now time.Time) {
			s.Lines = []enforce.Line{line(finding.Widens, now, now, "")}
			s.Packets = map[string]Disagreed{"desks": {Widens: 7}}
		}, GateShadow, Pass, "7 packets lie in the widening"},
		{"packets without a line", 2 * time.Hour, func(s *Shadow, now time.Time) { moved(s, now.Add(-time.Minute)) }, GateShadow, CannotTell, "no log line"},
		{"packets long after their line", 5 * time.Hour, func(s *Shadow, now time.Time) {
			s.Lines = []enforce.Line{line(finding.Narrows, now.Add(-4*time.Hour), now.Add(-4*time.Hour), finding.Never)}
			moved(s, now.Add(-time.Minute))
		}, GateShadow, CannotTell, "no log line"},
		{"packets before the last hour", 5 * time.Hour, func(s *Shadow, now time.Time) { moved(s, now.Add(-2*time.Hour)) }, GateShadow, Pass, ""},
		{"what the proof does not have", 2 * time.Hour, func(s *Shadow, now time.Time) { s.Odd = []enforce.Line{line(finding.Widens, now, now, "")} }, GateShadow, CannotTell, "the proof knows nothing of"},
		{"counters set back", 5 * time.Hour, func(s *Shadow, now time.Time) { s.Broken, s.Why = now.Add(-time.Minute), "the counters were set back" }, GateShadow, CannotTell, "set back"},
		{"set back long ago", 5 * time.Hour, func(s *Shadow, now time.Time) { s.Broken = now.Add(-time.Hour) }, GateShadow, Pass, ""},
		{"both censuses", time.Hour, nil, GateOpen, Pass, ""},
		{"no census at the beginning", time.Hour, func(s *Shadow, _ time.Time) { s.Begin = time.Time{} }, GateOpen, CannotTell, "begin it again"},
		{"no census at the end", 26 * time.Hour, func(s *Shadow, now time.Time) { s.Now = s.Begin }, GateOpen, CannotTell, "the last census"},
		{"an open connection", time.Hour, func(s *Shadow, now time.Time) { s.Open = []enforce.Line{line(finding.Narrows, now, now, "")} }, GateOpen, Fail, "open connections: desks 10.2.0.7"},
		{"one that was given up", time.Hour, func(s *Shadow, now time.Time) {
			s.Open = []enforce.Line{line(finding.Narrows, now, now, finding.NotNeeded)}
		}, GateOpen, Pass, ""},
	} {
		s := newScript(t)
		s.run("apply:shadowed drill to:refactor/shadow:desks")
		s.w.now = s.m.State().StableAt.Add(row.after)
		watching(s, func(sh *Shadow) {
			if row.edit != nil {
				row.edit(sh, s.w.now)
			}
		})
		next, err := Next(s.m.Plan(), s.m.State())
		if err != nil || next.Name != "refactor/swap:desks" {
			t.Fatal(next.Name, err)
		}
		gates := Gates(s.m.Plan(), next, s.f(s.w), s.m.State(), s.w.now)
		i := slices.IndexFunc(gates, func(g GateResult) bool { return g.Gate == row.gate })
		if got := gates[i]; got.Verdict != row.want || !strings.Contains(got.Words, row.words) {
			t.Errorf("%s: %s: %s; want %s with %q", row.name, got.Verdict, got.Words, row.want, row.words)
		}
	}
}

// TestProofGate: a budget of the plan, and what was approved with the shadow.
func TestProofGate(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	for _, row := range []struct {
		name   string
		budget plans.Budget
		allow  string
		want   string
	}{
		{"no budget", plans.Budget{}, "tcp/1-1000", ""},
		{"within", plans.Budget{Services: n(999)}, "tcp/1-1000", ""},
		{"one beyond", plans.Budget{Services: n(998)}, "tcp/1-1000", "it widens by 999 services at 4294967296 IPv4 addresses, the budget is 998 services; one packet of it is desks 10.2.0.10 -> 198.51.100.80 tcp/80"},
		{"nothing may be widened", plans.Budget{Services: n(0)}, "tcp/443", ""},
		{"nothing, and one service", plans.Budget{Services: n(0)}, "tcp/80", "the budget is 0 services"},
		{"addresses", plans.Budget{Addresses: n(1 << 31)}, "tcp/80", "the budget is 2147483648 addresses"},
	} {
		shadowed("budget", func(p *planT) {
			p.Refactor[0].Allow[0].Services, p.Refactor[0].Budget = services(row.allow), row.budget
		})
		s := newScript(t)
		s.run("apply:budget drill to:enforce/block:core")
		mat := material(s.w)
		_, gates, err := s.m.Request(ctx, s.w.now, anna, "", mat)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) || len(gates) != 1 || gates[0].Gate != GateProof {
			t.Errorf("%s: %v, %+v", row.name, err, gates)
		}
	}
	// A swap whose difference is not the one that was approved.
	shadowed("shadowed", nil)
	s := newScript(t)
	watching(s, nil)
	s.run("apply:shadowed drill to:refactor/shadow:desks")
	next, _ := Next(s.m.Plan(), s.m.State())
	for _, p := range []*refactor.Proof{nil, {Digest: "sha256:other", Narrows: refactor.Difference{Example: "desks 10.2.0.10 -> 192.0.2.1 tcp/9"}}} {
		f := s.f(s.w)
		f.Proof = p
		got := Gates(s.m.Plan(), next, f, s.m.State(), s.w.now)[0]
		if got.Verdict == Pass || p != nil && !strings.Contains(got.Words, "not what was approved with refactor/shadow:desks, now for example desks 10.2.0.10 -> 192.0.2.1 tcp/9") {
			t.Errorf("%+v: %+v", p, got)
		}
	}
}

// TestShadowIsNoTreatment: no group's place moves, and going back from a shadow
// puts nobody into alert.
func TestShadowIsNoTreatment(t *testing.T) {
	plan := shadowed("shadowed", nil)
	before, _ := find(Expand(plan), "enforce/block:core")
	during, _ := find(Expand(plan), "refactor/shadow:desks")
	if !equalTargets(before.Targets, during.Targets) || len(during.Narrows) > 0 || during.Blocks() || !during.Observes {
		t.Errorf("%+v", during)
	}
	s := newScript(t)
	watching(s, nil)
	s.run("apply:shadowed drill to:refactor/shadow:desks back")
	if got := s.m.back(); len(got) > 0 {
		t.Error("back in alert:", got)
	}
	if f, _ := s.m.Frozen(s.m.State().Stable); f.Input.Shadow != nil || f.Step.Name != "enforce/block:core" {
		t.Errorf("%+v", f.Step)
	}
}
