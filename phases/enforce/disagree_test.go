package enforce

import (
	"fmt"
	"testing"
	"time"

	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/plans"
)

// besideOf says what a made-up refactoring would cut (tcp/25) and let pass
// (tcp/80).
func besideOf(group string, f flow.Flow) flow.Verdict {
	if group != "workstations" || f.Proto != flow.TCP {
		return ""
	}
	return map[uint16]flow.Verdict{25: flow.Narrows, 80: flow.Widens}[f.Port]
}

func short(ls []Line) (out []string) {
	for _, l := range ls {
		out = append(out, fmt.Sprint(l.Kind, " ", l.Group, " ", l.Destination.Addr(), " ", l.Service, " ", l.Endpoints, " ", l.Open, " ", l.Answer != nil))
	}
	return out
}

// TestDisagreements: what was logged since the shadow began, or shortly before
// where the two still differ; what they do not differ in is odd.
func TestDisagreements(t *testing.T) {
	e := monitor.New(nil)
	add := func(v flow.Verdict, client, server, service string, at time.Time) {
		r := wouldDeny(client, server, service, at)
		r.Verdict = v
		e.Add(r)
	}
	since := t0.Add(5 * time.Hour)
	add(flow.Narrows, "10.20.16.5", "198.51.100.7", "tcp/25", since.Add(time.Minute))
	add(flow.Narrows, "10.20.16.6", "198.51.100.7", "tcp/25", since.Add(-time.Hour)) // the kernel does not say it again
	add(flow.Narrows, "10.20.16.7", "198.51.100.7", "tcp/25", since.Add(-2*time.Hour))
	add(flow.Narrows, "10.20.16.5", "198.51.100.7", "tcp/587", since.Add(-time.Minute)) // of an earlier draft
	add(flow.Widens, "fd20:0:0:16::5", "2001:db8::7", "tcp/80", since.Add(time.Minute))
	add(flow.Widens, "10.20.16.5", "198.51.100.7", "tcp/25", since.Add(time.Minute)) // the other way round
	add(flow.Narrows, "10.20.16.5", "198.51.100.7", "tcp/81", since)
	add(flow.WouldDeny, "10.20.16.5", "198.51.100.7", "tcp/25", since.Add(time.Minute))
	answers := Answers{{Group: "workstations", Service: svc("tcp/25")[0], Verdict: finding.NotNeeded, Who: "kim", At: t0}}
	differ, odd := Disagreements(e.Judged(), besideOf, answers, since, since.Add(time.Hour))
	if got, want := fmt.Sprint(short(differ)), "[narrows workstations 198.51.100.7 tcp/25 2 0 true widens workstations 2001:db8::7 tcp/80 1 0 false]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(short(odd)), "[widens workstations 198.51.100.7 tcp/25 1 0 true narrows workstations 198.51.100.7 tcp/81 1 0 false]"; got != want {
		t.Errorf("odd: got %s, want %s", got, want)
	}
	// No question of an alert, and no count of what is denied.
	for _, l := range Lines(office(), e.Judged(), nil, since) {
		if l.Kind != finding.WouldDeny {
			t.Errorf("%+v", l)
		}
	}
}

// TestCensusBeside: open connections that the refactoring would cut, and no
// others.
func TestCensusBeside(t *testing.T) {
	p := office()
	p.Lifelines = []plans.Lifeline{{Name: "mail", From: plans.Target{Any: true}, To: plans.Target{Prefixes: pf("198.51.100.53/32")}, Services: svc("tcp/25"), Families: both}}
	c, e := plans.NewClassifier(p), monitor.New(nil)
	open := func(client, server, service string, closed bool) flow.Record {
		return flow.Record{Flow: row("", client, server, service).Flow(), First: t0, Last: t0, Answered: true, Closed: closed}
	}
	lines := CensusBeside(p, besideOf, []flow.Record{
		open("10.20.16.5", "198.51.100.7", "tcp/25", false),
		open("10.20.16.6", "198.51.100.7", "tcp/25", false),
		open("fd20:0:0:16::5", "2001:db8::7", "tcp/25", false),
		open("10.20.16.5", "198.51.100.9", "tcp/25", true),   // over
		open("10.20.16.5", "198.51.100.7", "tcp/80", false),  // it would let it pass
		open("10.20.16.5", "198.51.100.7", "tcp/443", false), // they agree
		open("10.20.1.5", "198.51.100.7", "tcp/25", false),   // another group
		open("10.20.16.5", "198.51.100.53", "tcp/25", false), // lifeline
		open("198.51.100.7", "10.20.16.5", "tcp/25", false),  // opened from outside
	}, func(r flow.Record) string { return e.GroupOf(c, r) }, nil, t0)
	if got, want := fmt.Sprint(short(lines)), "[narrows workstations 198.51.100.7 tcp/25 2 2 false narrows workstations 2001:db8::7 tcp/25 1 1 false]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	answers := Answers{{Group: "workstations", Service: svc("tcp/25")[0], Verdict: finding.Never, Who: "kim", At: t0}}
	if got := answers.Answered(lines, t0); got[0].Answer == nil || lines[0].Answer != nil {
		t.Error("an answer given later is not seen")
	}
}
