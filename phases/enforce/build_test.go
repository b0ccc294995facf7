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
