package enforce

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/plans"
)

func wouldDeny(client, server, service string, at time.Time) flow.Record {
	r := row("", client, server, service)
	return flow.Record{Flow: r.Flow(), First: at, Last: at, Verdict: flow.WouldDeny, Group: "workstations"}
}

// The same flow from ten thousand endpoints is one question, answered once; one
// that recurs each hour keeps the gate shut until then.
func TestStory31TenThousandEndpointsAreOneQuestion(t *testing.T) {
	p := office()
	e := monitor.New(nil)
	for i := range 10000 {
		e.Add(wouldDeny(fmt.Sprintf("10.20.%d.%d", 16+i/256%16, i%256), "198.51.100.7", "tcp/8443", t0.Add(time.Duration(i)*time.Second)))
	}
	now := t0.Add(4 * time.Hour)
	lines := Lines(p, e.Judged(), nil, now)
	if len(lines) != 1 || lines[0].Endpoints != 4096 || lines[0].Count != 10000 || len(lines[0].Examples) != maxExamples {
		t.Fatalf("got %+v", lines)
	}
	if got := NewAndUnanswered(lines, t0.Add(time.Hour)); len(got) != 1 {
		t.Errorf("new and unanswered: %+v", got)
	}
	if got := NewAndUnanswered(lines, now); len(got) != 0 {
		t.Errorf("quiet since then, but %+v", got)
	}
	answers := Answers{{Group: "workstations", Service: svc("tcp/8443")[0], Verdict: finding.NotNeeded, Who: "kim", At: t0}}
	if got := NewAndUnanswered(Lines(p, e.Judged(), answers, now), t0); len(got) != 0 {
		t.Errorf("answered, but %+v", got)
	}
}

// What the plan itself never allows needs no answer from anybody.
func TestNeverAnswersItself(t *testing.T) {
	e := monitor.New(nil)
	e.Add(wouldDeny("10.20.16.5", "198.51.100.7", "tcp/3389", t0))
	lines := Lines(office(), e.Judged(), nil, t0)
	if len(lines) != 1 || lines[0].Answer == nil || lines[0].Answer.Who != "plan" || len(NewAndUnanswered(lines, t0)) != 0 {
		t.Errorf("got %+v", lines)
	}
}

func TestCensus(t *testing.T) {
	p := office()
	p.Lifelines = []plans.Lifeline{{Name: "dns", From: plans.Target{Any: true}, To: plans.Target{Prefixes: pf("198.51.100.53/32")}, Services: svc("udp/53"), Families: both}}
	pol := policy.Policy{Rules: []policy.Rule{
		{Group: "servers", To: pf("198.51.100.7/32"), Services: svc("tcp/443")},
		{Group: "workstations", Services: svc("tcp/443", "tcp/3389")},
		{Group: "servers", To: pf("198.51.100.99/32"), Services: svc("tcp/1"), Expires: t0},
	}}
	c := plans.NewClassifier(p)
	e := monitor.New(nil)
	open := func(client, server, service string, change func(*flow.Record)) flow.Record {
		r := flow.Record{Flow: row("", client, server, service).Flow(), First: t0.Add(-2000 * time.Hour), Last: t0, Answered: true}
		if change != nil {
			change(&r)
		}
		return r
	}
	records := []flow.Record{
		open("10.20.1.5", "198.51.100.7", "tcp/443", nil),                                             // allowed
		open("10.20.1.5", "198.51.100.8", "tcp/443", nil),                                             // not
		open("10.20.1.6", "198.51.100.8", "tcp/443", nil),                                             // the same question
		open("10.20.16.5", "198.51.100.8", "tcp/443", nil),                                            // allowed
		open("10.20.16.5", "198.51.100.8", "tcp/3389", nil),                                           // allowed by a rule, but never
		open("10.20.1.5", "198.51.100.99", "tcp/1", nil),                                              // the rule has expired
		open("10.20.1.5", "198.51.100.53", "udp/53", nil),                                             // lifeline
		open("10.20.1.5", "10.20.16.5", "tcp/22", nil),                                                // inside
		open("198.51.100.8", "10.20.1.5", "tcp/22", nil),                                              // opened from outside
		open("10.20.1.5", "198.51.100.8", "tcp/25", func(r *flow.Record) { r.Closed = true }),         // over
		open("10.20.77.1", "198.51.100.8", "esp", nil),                                                // unassigned
		open("10.20.1.5", "224.0.0.251", "udp/5353", nil),                                             // multicast
		open("fd20:0:0:1::5", "2001:db8::8", "tcp/443", nil),                                          // the other family
		open("10.20.1.5", "198.51.100.8", "tcp/443", func(r *flow.Record) { r.Answered = false }),     // half open: the same line
		open("10.20.1.5", "198.51.100.8", "tcp/4443", func(r *flow.Record) { r.Verdict = flow.Seen }), // whatever saw it
	}
	lines := Census(p, pol, records, func(r flow.Record) string { return e.GroupOf(c, r) }, nil, t0)
	var got []string
	for _, l := range lines {
		got = append(got, fmt.Sprintf("%s %s %s %d %v", l.Group, l.Destination.Addr(), l.Service, l.Open, l.Answer != nil))
	}
	want := []string{
		"servers 198.51.100.99 tcp/1 1 false", "servers 198.51.100.8 tcp/443 3 false", "servers 2001:db8::8 tcp/443 1 false",
		"servers 198.51.100.8 tcp/4443 1 false", "unassigned 198.51.100.8 esp 1 false", "workstations 198.51.100.8 tcp/3389 1 true"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestJoinOfLogAndCensus(t *testing.T) {
	e := monitor.New(nil)
	e.Add(wouldDeny("10.20.16.5", "198.51.100.7", "tcp/8443", t0))
	log := Lines(office(), e.Judged(), nil, t0)
	census := []Line{log[0]}
	census[0].First, census[0].Last, census[0].Open, census[0].Endpoints = t0.Add(-time.Hour), t0.Add(time.Hour), 4, 3
	got := Join(log, census)
	if len(got) != 1 || got[0].Open != 4 || got[0].Endpoints != 3 || !got[0].First.Equal(t0.Add(-time.Hour)) || !got[0].Last.Equal(t0.Add(time.Hour)) {
		t.Errorf("got %+v", got)
	}
}

// Every row is allowed by the policy or is in a list, whatever the rows; the
// policy allows nothing that no row, answer or declaration stands for; and the
// order of the rows does not matter.
func TestBuildAccountsForEveryRow(t *testing.T) {
	clients := map[string]string{"10.20.1.5": "servers", "10.20.1.6": "servers", "10.20.16.5": "workstations", "10.20.40.3": "cameras",
		"10.20.2.5": "exact", "10.20.99.1": "unassigned"}
	names := []string{"10.20.1.5", "10.20.1.6", "10.20.16.5", "10.20.40.3", "10.20.2.5", "10.20.99.1"}
	rapid.Check(t, func(t *rapid.T) {
		p := office()
		p.Monitor.MinDays = rapid.IntRange(0, 2).Draw(t, "minDays")
		var rows []monitor.Row
		seen := map[flow.Flow]bool{}
		for range rapid.IntRange(0, 40).Draw(t, "rows") {
			client := rapid.SampledFrom(names).Draw(t, "client")
			server := rapid.SampledFrom([]string{"198.51.100.7", "198.51.100.8"}).Draw(t, "server")
			service := rapid.SampledFrom([]string{"tcp/443", "tcp/3389", "udp/514", "esp", "icmp/8", "tcp/5001", "tcp/5002"}).Draw(t, "service")
			r := row(clients[client], client, server, service)
			r.Answered, r.Guessed = rapid.Bool().Draw(t, "answered"), rapid.Bool().Draw(t, "guessed")
			r.OneWay = !r.Answered && (service == "udp/514" || service == "esp")
			if rapid.Bool().Draw(t, "two days") {
				r.Days.Add(monitor.DayOf(t0, time.UTC) + 1)
			}
			if seen[r.Flow()] {
				continue
			}
			seen[r.Flow()] = true
			rows = append(rows, r)
		}
		pol, held, origins := BuildWithOrigins(p, rows, nil, t0.Add(100*time.Hour))
		index := policy.NewIndex(pol)
		attempts := 0
		for _, r := range rows {
			_, allowed := index.Allows(r.Group, r.Flow())
			listed := false
			for _, l := range held.Lines {
				listed = listed || l.Group == r.Group && l.Service.Contains(r.Service) && (!l.Destination.IsValid() || l.Destination.Contains(r.Server))
			}
			if r.State() == "attempted" && !listed && !allowed {
				attempts++
				continue
			}
			if !allowed && !listed {
				t.Fatalf("%+v is neither allowed nor listed", r)
			}
			if r.Service == svc("tcp/3389")[0] && allowed {
				t.Fatalf("%+v is allowed", r)
			}
		}
		listedAttempts := 0
		for _, n := range held.Attempts {
			listedAttempts += n
		}
		if attempts > listedAttempts {
			t.Fatalf("%d attempts, %d counted", attempts, listedAttempts)
		}
		for i, rule := range pol.Rules {
			if len(origins[i].Flows) == 0 {
				t.Fatalf("rule %+v comes from nothing", rule)
			}
			for _, f := range origins[i].Flows {
				if !rule.Matches(f) {
					t.Fatalf("rule %+v does not allow %s that it comes from", rule, f)
				}
			}
		}
		shuffled := make([]monitor.Row, len(rows))
		for i, j := range rapid.Permutation(indices(len(rows))).Draw(t, "order") {
			shuffled[i] = rows[j]
		}
		again, heldAgain := Build(p, shuffled, nil, t0.Add(100*time.Hour))
		if asJSON(t, again) != asJSON(t, pol) || asJSON(t, heldAgain) != asJSON(t, held) {
			t.Fatalf("another order gives another policy")
		}
	})
}

func asJSON(t interface{ Fatal(...any) }, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// A scanner inside the baseline: what it alone made allowed falls, what others
// use or what it did before stays.
func TestStory30Excision(t *testing.T) {
	x := monitor.Excision{ID: "x1", Clients: pf("10.20.1.66/32")[0], Since: t0.Add(-time.Hour), Who: "kim", Reason: "scanner"}
	rows := []monitor.Row{
		row("servers", "10.20.1.5", "198.51.100.7", "tcp/443"),
		row("servers", "10.20.1.66", "198.51.100.7", "tcp/443"),
		row("servers", "10.20.1.66", "203.0.113.1", "tcp/22"),
		row("servers", "10.20.1.66", "203.0.113.2", "tcp/22"),
		with(row("servers", "10.20.1.66", "203.0.113.3", "tcp/25"), func(r *monitor.Row) { r.First = t0.Add(-99 * time.Hour) }),
	}
	got := Excise(office(), rows, x, nil, t0.Add(time.Hour))
	if len(got.Rules) != 2 || len(got.Flows) != 3 || len(got.Hurt) != 0 {
		t.Errorf("got %+v", got)
	}
	e := monitor.New(nil)
	for _, r := range rows {
		e.Add(flow.Record{Flow: r.Flow(), First: r.First, Last: r.Last, Answered: true, Source: "import", New: true})
	}
	e.Exclude(x)
	pol, held := Build(office(), e.Rows(plans.NewClassifier(office())), nil, t0.Add(time.Hour))
	wantRules(t, pol, "servers [] -> [198.51.100.7/32] [tcp/443] observed", "servers [] -> [203.0.113.3/32] [tcp/25] observed")
	if held.Excluded["servers"] != 3 {
		t.Errorf("excluded %+v", held.Excluded)
	}
	p := office()
	p.Monitor.MinDays = 2
	others := []monitor.Row{row("workstations", "10.20.16.5", "203.0.113.1", "tcp/22"), with(row("workstations", "10.20.16.66", "203.0.113.2", "tcp/22"),
		func(r *monitor.Row) { r.Days.Add(monitor.DayOf(t0, time.UTC) + 1) })}
	x.Clients = pf("10.20.16.66/32")[0]
	if got := Excise(p, others, x, nil, t0.Add(99*time.Hour)); len(got.Hurt) != 1 || got.Hurt[0].Client != others[0].Client {
		t.Errorf("who else is hurt: %+v", got)
	}
}
