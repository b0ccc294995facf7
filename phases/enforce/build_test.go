package enforce

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/plans"
)

var t0 = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

func pf(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func svc(texts ...string) []flow.Service {
	var out []flow.Service
	for _, s := range texts {
		v, err := flow.ParseService(s)
		if err != nil {
			panic(err)
		}
		out = append(out, v)
	}
	return out
}

var both = []flow.Family{flow.IPv4, flow.IPv6}

func office() *plans.Plan {
	return &plans.Plan{Timezone: time.UTC,
		Scope: plans.Scope{Hooks: []string{"forward"}, Inside: pf("10.20.0.0/16", "fd20::/48")},
		Groups: []plans.Group{
			{Name: "cameras", Members: pf("10.20.40.0/24"), Allow: "declared", Families: both, Owner: "facilities"},
			{Name: "doorbell", MACs: []string{"02:00:5e:10:00:07"}, Allow: "declared", Extends: "cameras", Families: both},
			{Name: "exact", Members: pf("10.20.2.0/24"), Allow: "observed", RulesBy: []string{"endpoint", "destination", "service"}, Families: both},
			{Name: "servers", Members: pf("10.20.1.0/24", "fd20:0:0:1::/64"), Allow: "observed", RulesBy: []string{"group", "destination", "service"}, Families: both},
			{Name: "unassigned", Families: both},
			{Name: "workstations", Members: pf("10.20.16.0/20", "fd20:0:0:16::/64"), Allow: "observed", Families: both, Owner: "desktop"},
		},
		Never:   []plans.Never{{Name: "no-rdp", From: plans.Target{Any: true}, To: plans.Target{Outside: true}, Services: svc("tcp/3389"), Deny: "honeypot", Reason: "no"}},
		Enforce: plans.Enforce{RulesBy: []string{"group", "service"}},
	}
}

func row(group, client, server, service string) monitor.Row {
	r := monitor.Row{Group: group, Client: netip.MustParseAddr(client), Server: netip.MustParseAddr(server),
		Service: svc(service)[0], First: t0, Last: t0.Add(time.Hour), Connections: 1, Answered: true, Traced: true}
	r.Days.Add(monitor.DayOf(t0, time.UTC))
	return r
}

func with(r monitor.Row, change func(*monitor.Row)) monitor.Row {
	change(&r)
	return r
}

func text(p policy.Policy) []string {
	var out []string
	for _, r := range p.Rules {
		out = append(out, fmt.Sprintf("%s %v -> %v %v %s", r.Group, r.Endpoints, r.To, r.Services, r.Reason))
	}
	return out
}

func wantRules(t *testing.T, p policy.Policy, want ...string) {
	t.Helper()
	got := text(p)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got rules\n%q\nwant\n%q", got, want)
	}
}

func heldAs(h Held, k finding.Kind) (out []Line) {
	for _, l := range h.Lines {
		if l.Kind == k {
			out = append(out, l)
		}
	}
	return out
}

func TestGranularity(t *testing.T) {
	p := office()
	pol, held, origins := BuildWithOrigins(p, []monitor.Row{
		row("workstations", "10.20.16.5", "198.51.100.7", "tcp/443"),
		row("workstations", "10.20.16.6", "203.0.113.9", "tcp/443"),
		row("workstations", "10.20.16.6", "203.0.113.9", "tcp/80"),
		row("servers", "10.20.1.5", "198.51.100.7", "tcp/443"),
		row("servers", "10.20.1.6", "203.0.113.9", "tcp/443"),
		row("servers", "10.20.1.6", "203.0.113.10", "udp/123"),
		row("exact", "10.20.2.5", "198.51.100.7", "tcp/443"),
		row("exact", "10.20.2.6", "198.51.100.7", "tcp/443"),
		row("exact", "10.20.2.6", "198.51.100.8", "esp"),
	}, nil, t0.Add(24*time.Hour))
	wantRules(t, pol,
		"exact [10.20.2.5/32 10.20.2.6/32] -> [198.51.100.7/32] [tcp/443] observed",
		"exact [10.20.2.6/32] -> [198.51.100.8/32] [esp] observed",
		"servers [] -> [198.51.100.7/32 203.0.113.9/32] [tcp/443] observed",
		"servers [] -> [203.0.113.10/32] [udp/123] observed",
		"workstations [] -> [] [tcp/80 tcp/443] observed")
	if len(held.Lines) != 0 {
		t.Errorf("held %+v", held.Lines)
	}
	if n := len(origins[4].Flows); n != 3 {
		t.Errorf("the rule of the workstations comes from %d flows, want 3", n)
	}
}

func TestWhatIsHeld(t *testing.T) {
	ws := func(service string, change func(*monitor.Row)) monitor.Row {
		r := row("workstations", "10.20.16.5", "198.51.100.7", service)
		if change != nil {
			change(&r)
		}
		return r
	}
	for _, c := range []struct {
		name  string
		rows  []monitor.Row
		kind  finding.Kind // "": nothing held
		rules []string
	}{
		{"active", []monitor.Row{ws("tcp/443", nil)}, "", []string{"workstations [] -> [] [tcp/443] observed"}},
		{"guessed", []monitor.Row{ws("tcp/443", func(r *monitor.Row) { r.Guessed = true })}, finding.Guessed, nil},
		{"never, though seen", []monitor.Row{ws("tcp/3389", nil)}, finding.NeverSeen, nil},
		{"one-way syslog is allowed to its destination alone, and asked about",
			[]monitor.Row{ws("udp/514", func(r *monitor.Row) { r.Answered, r.OneWay = false, true })}, finding.OneWay,
			[]string{"workstations [] -> [198.51.100.7/32] [udp/514] one-way"}},
		{"nobody answered", []monitor.Row{ws("tcp/443", func(r *monitor.Row) { r.Answered = false })}, "", nil},
		{"only its first packet was seen", []monitor.Row{ws("tcp/443", func(r *monitor.Row) { r.Answered, r.Traced = false, false })}, "", nil},
		{"seen while a gate stood open", []monitor.Row{ws("tcp/443", func(r *monitor.Row) { r.Opening = "rollback-1" })}, "", nil},
		{"taken out", []monitor.Row{ws("tcp/443", func(r *monitor.Row) { r.Excluded = "x1" })}, "", nil},
		{"opened from outside", []monitor.Row{ws("tcp/443", func(r *monitor.Row) { r.Inbound = true })}, "", nil},
		{"after the moment", []monitor.Row{ws("tcp/443", func(r *monitor.Row) { r.First = t0.Add(99 * time.Hour) })}, "", nil},
		{"undeclared camera", []monitor.Row{row("cameras", "10.20.40.3", "203.0.113.66", "tcp/443")}, finding.Undeclared, nil},
		{"nobody's endpoint", []monitor.Row{row("unassigned", "10.20.99.3", "203.0.113.66", "tcp/443")}, finding.NotAssigned, nil},
		{"a group that the plan no longer has", []monitor.Row{row("gone", "10.20.99.3", "203.0.113.66", "tcp/443")}, finding.NotAssigned, nil},
	} {
		pol, held := Build(office(), c.rows, nil, t0.Add(24*time.Hour))
		if fmt.Sprint(text(pol)) != fmt.Sprint(c.rules) {
			t.Errorf("%s: rules %q, want %q", c.name, text(pol), c.rules)
		}
		switch {
		case c.kind == "" && len(held.Lines) > 0:
			t.Errorf("%s: held %+v", c.name, held.Lines)
		case c.kind != "" && (len(held.Lines) != 1 || held.Lines[0].Kind != c.kind):
			t.Errorf("%s: held %+v, want one %s", c.name, held.Lines, c.kind)
		}
		if open := held.Open(); c.kind == finding.NeverSeen && len(open) != 0 {
			t.Errorf("%s: the plan has answered, but %+v waits", c.name, open)
		}
		if n := accounted(pol, held); n != 1 && c.name != "after the moment" {
			t.Errorf("%s: the flow is in %d places, want 1: nothing may be dropped silently", c.name, n)
		}
	}
}

func accounted(pol policy.Policy, h Held) int {
	n := len(pol.Rules)
	for _, l := range h.Lines {
		if l.Kind != finding.OneWay {
			n++
		}
	}
	for _, m := range []map[string]int{h.Attempts, h.Openings, h.Excluded, h.Untraced, h.Inbound, h.Lifeline} {
		for _, c := range m {
			n += c
		}
	}
	return n
}

// Three minutes of observing saw 5 flows, seven days 41: what was seen on fewer
// days than the plan asks for waits, and says into which calendar event it fell.
func TestRareFlowsWait(t *testing.T) {
	p := office()
	p.Monitor.MinDays = 3
	p.Calendar = []plans.Event{{Name: "quarter-end", Window: plans.Window{Cron: "0 0 1 1,4,7,10 *", Before: 72 * time.Hour, After: 72 * time.Hour}},
		{Name: "month-begin", Window: plans.Window{Cron: "0 0 1 * *", After: 72 * time.Hour}}}
	on := func(r monitor.Row, days ...int) monitor.Row {
		r.Days = monitor.Days{}
		for _, d := range days {
			r.Days.Add(monitor.DayOf(t0, time.UTC) + int32(d))
		}
		return r
	}
	rows := []monitor.Row{
		on(row("workstations", "10.20.16.5", "198.51.100.7", "tcp/443"), 0, 1),
		on(row("workstations", "10.20.16.6", "203.0.113.9", "tcp/443"), 1, 5), // together three days
		on(row("workstations", "10.20.16.6", "203.0.113.9", "tcp/5222"), 0, 1),
		on(row("servers", "10.20.1.5", "198.51.100.7", "tcp/5432"), 0, 1),
		on(row("servers", "10.20.1.5", "198.51.100.8", "tcp/5432"), 2),
	}
	pol, held := Build(p, rows, nil, t0.Add(240*time.Hour))
	wantRules(t, pol, "workstations [] -> [] [tcp/443] observed")
	rare := heldAs(held, finding.Rare)
	if len(rare) != 3 || len(held.Lines) != 3 {
		t.Fatalf("held %+v", held.Lines)
	}
	if e := rare[0].Events; len(e) != 1 || e[0] != "month-begin" {
		t.Errorf("the flow of the second of November fell into %q", e)
	}
	if len(rare[1].Events) != 0 && rare[1].Destination == pf("198.51.100.8/32")[0] {
		t.Errorf("the flow of the fourth fell into %q", rare[1].Events)
	}
	needed := Answer{Group: "servers", Service: svc("tcp/5432")[0], Destination: rare[0].Destination, Verdict: finding.Needed, Who: "dba", At: t0}
	if needed.ID() != rare[0].ID {
		t.Errorf("the answer %s is not to the question %s", needed.ID(), rare[0].ID)
	}
	pol, held = Build(p, rows, Answers{needed}, t0.Add(240*time.Hour))
	wantRules(t, pol, "servers [] -> [198.51.100.7/32] [tcp/5432] answered", "workstations [] -> [] [tcp/443] observed")
	if len(heldAs(held, finding.Rare)) != 2 {
		t.Errorf("after the answer held %+v", held.Lines)
	}
}

// The wrong initiator, or ports that a protocol negotiates: thousands of rules
// of one high port each must become one question.
func TestStory20ManyHighPortsAreOneQuestion(t *testing.T) {
	var rows []monitor.Row
	for i := range 3000 {
		rows = append(rows, row("servers", "10.20.1.5", "198.51.100.7", fmt.Sprintf("tcp/%d", 32768+i)))
		rows = append(rows, row("workstations", "10.20.16.9", fmt.Sprintf("203.0.%d.%d", i/200, i%200), fmt.Sprintf("udp/%d", 20000+i)))
	}
	for i := range MaxPortsPerPeer {
		rows = append(rows, row("servers", "10.20.1.6", "198.51.100.9", fmt.Sprintf("tcp/%d", 8000+i)))
	}
	pol, held := Build(office(), rows, nil, t0.Add(24*time.Hour))
	wantRules(t, pol, "servers [] -> [198.51.100.9/32] [tcp/8000-8007] observed")
	lines := heldAs(held, finding.HighPorts)
	if len(lines) != 2 || lines[0].Service != svc("tcp/32768-35767")[0] || lines[1].Service != svc("udp/20000-22999")[0] {
		t.Fatalf("held %+v", lines)
	}
	a := Answer{Group: "servers", Service: lines[0].Service, Destination: lines[0].Destination, Verdict: finding.Needed, At: t0}
	pol, _ = Build(office(), rows, Answers{a}, t0.Add(24*time.Hour))
	wantRules(t, pol, "servers [] -> [198.51.100.7/32] [tcp/32768-35767] answered",
		"servers [] -> [198.51.100.9/32] [tcp/8000-8007] observed")
}

// The yearly job was not seen, but declared: it is allowed, and goes when its
// declaration ends. A window is a rule only while it is open.
func TestDeclared(t *testing.T) {
	p := office()
	p.Declared = []plans.Declared{
		{Name: "failover", From: plans.Target{Prefixes: pf("10.20.1.31/32")}, To: plans.Target{Prefixes: pf("198.51.100.7/32")},
			Services: svc("tcp/5432"), Families: []flow.Family{flow.IPv4}, Owner: "dba", Expires: t0.Add(48 * time.Hour)},
		{Name: "firmware", From: plans.Target{Groups: []string{"cameras"}}, To: plans.Target{Prefixes: pf("203.0.113.0/28")},
			Services: svc("tcp/443"), Families: both, Window: &plans.Window{Cron: "0 8 * * *", After: 2 * time.Hour}},
		{Name: "nobody", From: plans.Target{Self: true}, To: plans.Target{Outside: true}, Services: svc("tcp/1"), Families: both},
	}
	pol, held := Build(p, nil, nil, t0)
	wantRules(t, pol,
		"cameras [] -> [203.0.113.0/28] [tcp/443] declared",
		"doorbell [10.20.1.31/32] -> [198.51.100.7/32] [tcp/5432] declared", // a device known by its MAC may have the address
		"doorbell [] -> [203.0.113.0/28] [tcp/443] declared",
		"servers [10.20.1.31/32] -> [198.51.100.7/32] [tcp/5432] declared")
	if got := pol.Rules[0].Expires; !got.Equal(time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("the window's rule expires at %s", got)
	}
	if fmt.Sprint(held.NoMembers) != "[nobody]" {
		t.Errorf("without members: %q", held.NoMembers)
	}
	pol, held = Build(p, []monitor.Row{row("cameras", "10.20.40.3", "203.0.113.3", "tcp/443")}, nil, t0.Add(50*time.Hour+2*time.Hour))
	wantRules(t, pol)
	if fmt.Sprint(held.Expired, held.Windowed) != "[failover] [firmware]" || len(heldAs(held, finding.Undeclared)) != 1 {
		t.Errorf("expired %q, windowed %q, lines %+v", held.Expired, held.Windowed, held.Lines)
	}
}

func TestAnswers(t *testing.T) {
	p := office()
	rows := []monitor.Row{row("servers", "10.20.1.5", "198.51.100.7", "tcp/443"), row("servers", "10.20.1.5", "198.51.100.8", "tcp/443")}
	say := func(v finding.Verdict, dest string, at time.Duration) Answer {
		a := Answer{Group: "servers", Service: svc("tcp/443")[0], Verdict: v, Who: "kim", At: t0.Add(at)}
		if dest != "" {
			a.Destination = pf(dest)[0]
		}
		return a
	}
	for _, c := range []struct {
		name    string
		answers Answers
		rules   []string
		held    []finding.Kind
	}{
		{"never takes an observed flow out", Answers{say(finding.Never, "198.51.100.7/32", 0)},
			[]string{"servers [] -> [198.51.100.8/32] [tcp/443] observed"}, []finding.Kind{finding.NeverSeen}},
		{"not needed too", Answers{say(finding.NotNeeded, "198.51.100.7/32", 0)},
			[]string{"servers [] -> [198.51.100.8/32] [tcp/443] observed"}, []finding.Kind{finding.Refused}},
		{"the latest counts", Answers{say(finding.Never, "198.51.100.7/32", 0), say(finding.Needed, "198.51.100.7/32", time.Hour)},
			[]string{"servers [] -> [198.51.100.7/32] [tcp/443] answered", "servers [] -> [198.51.100.8/32] [tcp/443] observed"}, nil},
		{"of two at once the stricter", Answers{say(finding.Never, "198.51.100.7/32", 0), say(finding.Needed, "198.51.100.7/32", 0)},
			[]string{"servers [] -> [198.51.100.8/32] [tcp/443] observed"}, []finding.Kind{finding.NeverSeen}},
		{"anywhere covers both", Answers{say(finding.NotNeeded, "", 0)}, nil, []finding.Kind{finding.Refused, finding.Refused}},
	} {
		pol, held := Build(p, rows, c.answers, t0.Add(24*time.Hour))
		if fmt.Sprint(text(pol)) != fmt.Sprint(c.rules) {
			t.Errorf("%s: rules %q, want %q", c.name, text(pol), c.rules)
		}
		var kinds []finding.Kind
		for _, l := range held.Lines {
			kinds = append(kinds, l.Kind)
			if l.Answer == nil {
				t.Errorf("%s: line %+v has no answer", c.name, l)
			}
		}
		if fmt.Sprint(kinds) != fmt.Sprint(c.held) {
			t.Errorf("%s: held %q, want %q", c.name, kinds, c.held)
		}
	}
	ns := Nevers(Answers{say(finding.Never, "198.51.100.7/32", 0), say(finding.Never, "", 0), say(finding.Needed, "", time.Hour)}, "drop", t0.Add(2*time.Hour))
	if len(ns) != 1 || ns[0].To.Prefixes[0] != pf("198.51.100.7/32")[0] || ns[0].Deny != "drop" {
		t.Errorf("nevers %+v", ns)
	}
}
