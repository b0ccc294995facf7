package watch

import (
	"net/netip"
	"testing"
	"time"

	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
)

var t0 = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

func row(group, client, server, service string, first, last time.Duration) monitor.Row {
	s, err := flow.ParseService(service)
	if err != nil {
		panic(err)
	}
	return monitor.Row{Group: group, Client: netip.MustParseAddr(client), Server: netip.MustParseAddr(server), Service: s,
		First: t0.Add(first), Last: t0.Add(last), Connections: 2, Answered: true, Traced: true}
}

var pol = policy.Policy{Rules: []policy.Rule{
	{Group: "desks", Services: []flow.Service{flow.Single(flow.TCP, 443), flow.Single(flow.TCP, 993)}, Reason: policy.Observed},
	{Group: "desks", Services: []flow.Service{flow.Single(flow.TCP, 21)}, Reason: policy.Observed},
	{Group: "servers", To: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}, Services: []flow.Service{flow.Single(flow.TCP, 5432)},
		Reason: policy.DeclaredBy, Name: "failover"},
}}

const day = 24 * time.Hour

func TestDeviations(t *testing.T) {
	rows := []monitor.Row{
		row("desks", "10.0.0.1", "192.0.2.1", "tcp/443", 0, 9*day),
		row("desks", "10.0.0.2", "192.0.2.1", "tcp/443", 9*day, 9*day), // an old destination of another endpoint
		row("desks", "10.0.0.1", "192.0.2.2", "tcp/443", 8*day, 9*day),
		row("desks", "10.0.0.1", "192.0.2.3", "tcp/443", 8*day, 9*day),
		row("desks", "10.0.0.1", "192.0.2.4", "tcp/993", 8*day, 9*day),
		row("servers", "10.0.1.1", "192.0.2.5", "tcp/4444", 8*day, 9*day),
		row("servers", "10.0.1.1", "192.0.2.6", "tcp/4444", 0, 9*day),
	}
	blocked := row("servers", "10.0.1.2", "192.0.2.9", "tcp/22", 8*day, 8*day)
	blocked.Answered = false
	opening := row("servers", "10.0.1.2", "192.0.2.10", "tcp/22", 8*day, 8*day)
	opening.Opening = "unblock-1"
	var got []string
	for _, f := range Deviations(pol, append(rows, blocked, opening), t0.Add(7*day)) {
		if err := f.Check(); err != nil {
			t.Error(err)
		}
		got = append(got, string(f.Severity)+" "+f.Words)
	}
	want := []string{
		"warning no rule allows it, first seen now: servers -> 192.0.2.5 tcp/4444",
		"warning no rule allows it, first seen now: servers -> 192.0.2.9 tcp/22",
		"notice a service that the group had never used: desks -> outside tcp/993",
		"info 2 destinations that the group had never used: desks -> outside tcp/443",
	}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

// A connection that has been up for 120 days uses its rule, though it has begun
// long ago.
func TestUnused(t *testing.T) {
	rows := []monitor.Row{row("desks", "10.0.0.1", "192.0.2.1", "tcp/443", -120*day, 9*day), row("desks", "10.0.0.1", "192.0.2.1", "tcp/21", 0, day)}
	got := Unused(pol, rows, t0.Add(7*day))
	if len(got) != 2 {
		t.Fatalf("got %+v", got)
	}
	words := map[string]bool{}
	for _, f := range got {
		words[f.Words] = true
		if f.Kind != finding.UnusedRule || f.Check() != nil {
			t.Errorf("got %+v", f)
		}
	}
	for _, w := range []string{"not used since 2026-11-03: desks -> outside tcp/21",
		"never used: servers -> 198.51.100.7 tcp/5432, failover (declared: it may be waiting for its day)"} {
		if !words[w] {
			t.Errorf("missing %q in %v", w, words)
		}
	}
}
