package expect_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/phases/compile"
	"weir/phases/expect"
	"weir/phases/flow"
	"weir/phases/policy"
	"weir/plans"
)

const head = `apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: t, owner: a@b}
scope: {hooks: [forward], inside: {prefixes: [10.20.0.0/16, "fd20::/48"]}}
groups:
  desks:   {members: [10.20.16.0/24, "fd20:0:0:16::/64"], allow: observed}
  servers: {members: [10.20.1.0/24, "fd20:0:0:1::/64"], allow: observed}
  relays:  {members: [10.20.1.10, "fd20:0:0:1::25"], allow: declared}
  cameras: {members: [10.20.40.0/24], families: [ipv4], allow: declared}
  bells:   {macs: ["02:00:5e:10:00:07"], allow: declared}
lifelines:
  - {name: names, from: [inside], to: [192.0.2.53], services: [udp/53], families: [ipv4]}
declared:
  - {name: mail, from: [relays], to: [outside], services: [tcp/25]}
  - {name: firmware, from: [cameras], to: [203.0.113.0/28], services: [tcp/443], window: {cron: "0 3 1 * *", after: 2h}}
  - {name: gone, from: [cameras], to: [203.0.113.0/28], services: [tcp/80], expires: 2026-01-01}
  - {name: rings, from: [bells], to: [203.0.113.9], services: [tcp/443]}
  - {name: high, from: [relays], to: [240.0.0.0/4], services: [tcp/99]}
never:
  - {name: no-telnet, services: [tcp/23]}
enforce:
  waves: [{name: all, groups: [desks, servers, relays, cameras, bells]}]
  leaveOpen: [unassigned]
refactor: {steps: [{name: narrow, groups: [desks], allow: [{services: [tcp/443]}]}]}
tests:
`

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func read(t *testing.T, tests string) *plans.Plan {
	t.Helper()
	p, err := plans.Parse("plan.yaml", []byte(head+tests))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPlan asks what the plan itself decides: each test is a line, and what
// must be said of it.
func TestPlan(t *testing.T) {
	for _, c := range []struct{ test, want string }{
		{"from: [relays], services: [tcp/25], expect: allowed", "holds"},
		{"from: [10.20.1.10], services: [tcp/25], expect: allowed", "holds"},
		{"from: [\"fd20:0:0:1::25\"], services: [tcp/25], expect: allowed", "holds"},
		{"from: [relays], services: [tcp/25, tcp/26], expect: allowed", "expected allowed, but 10.20.1.10 -> 198.51.100.80 tcp/26 (relays) is denied: no rule of the group relays allows it (plan.yaml:8)"},
		{"from: [relays], to: [192.0.2.0/24], services: [tcp/25], expect: denied", "expected denied, but 10.20.1.10 -> 192.0.2.10 tcp/25 (relays) is allowed: declared mail (plan.yaml:14)"},
		{"from: [relays], to: [\"2001:db8::/32\"], services: [tcp/25], expect: denied", "expected denied, but fd20:0:0:1::25 -> 2001:db8:100::80 tcp/25 (relays) is allowed: declared mail (plan.yaml:14)"},
		// an address is the group's whose prefix is the longest
		{"from: [10.20.1.0/24], services: [tcp/25], expect: denied", "expected denied, but 10.20.1.10 -> 198.51.100.80 tcp/25 (relays) is allowed: declared mail (plan.yaml:14)"},
		{"from: [10.20.1.11], services: [tcp/25], expect: denied", "depends on evidence: servers may do what was observed"},
		{"from: [servers], services: [tcp/23], expect: denied", "holds"},
		{"from: [servers], services: [tcp/23], expect: allowed", "expected allowed, but 10.20.1.1 -> 198.51.100.80 tcp/23 (servers) is denied: never no-telnet (plan.yaml:20)"},
		{"from: [servers], services: [tcp/22-23], expect: denied", "depends on evidence: servers may do what was observed"},
		// a refactored group may do what its step says, and nothing that was observed
		{"from: [desks], services: [tcp/443], expect: allowed", "holds"},
		{"from: [desks], services: [tcp/25], expect: denied", "holds"},
		{"from: [desks], services: [udp/443], expect: allowed", "expected allowed, but 10.20.16.10 -> 198.51.100.80 udp/443 (desks) is denied: no rule of the group desks allows it (plan.yaml:6)"},
		{"from: [desks], services: [tcp/443], families: [ipv6], expect: denied", "expected denied, but fd20:0:0:16::a -> 2001:db8:100::80 tcp/443 (desks) is allowed: refactor step narrow (plan.yaml:24)"},
		// a window opens sometimes: neither always allowed nor always denied
		{"from: [cameras], to: [203.0.113.5], services: [tcp/443], expect: allowed", "expected allowed, but 10.20.40.10 -> 203.0.113.5 tcp/443 (cameras) is denied: no rule of the group cameras allows it (plan.yaml:9)"},
		{"from: [cameras], to: [203.0.113.5], services: [tcp/443], expect: denied", "expected denied, but 10.20.40.10 -> 203.0.113.5 tcp/443 (cameras) is allowed: declared firmware, in its window (plan.yaml:15)"},
		{"from: [cameras], services: [tcp/80], expect: denied", "holds"},
		// lifelines pass before everything
		{"from: [cameras], services: [udp/53], expect: denied", "expected denied, but 10.20.40.10 -> 192.0.2.53 udp/53 (cameras) is allowed: the lifeline names (plan.yaml:12)"},
		{"from: [cameras], to: [192.0.2.53], services: [udp/53], expect: allowed", "holds"},
		// what is known by link address is tested by name
		{"from: [bells], to: [203.0.113.9], services: [tcp/443], expect: denied", "expected denied, but an endpoint -> 203.0.113.9 tcp/443 (bells) is allowed: declared rings (plan.yaml:17)"},
		{"from: [10.20.40.7], to: [203.0.113.9], services: [tcp/444], expect: denied", "holds"},
		// multicast is not outside: nobody judges it
		{"from: [relays], to: [224.0.0.0/3], services: [tcp/99], expect: allowed", "holds"},
		// what nothing blocks passes
		{"from: [unassigned], services: [tcp/25], expect: denied", "expected denied, but an endpoint -> 198.51.100.80 tcp/25 (unassigned) is allowed: no wave blocks the group unassigned"},
		{"from: [unassigned], services: [tcp/25], expect: allowed", "holds"},
		{"from: [any], services: [tcp/23], expect: denied", "expected denied, but an endpoint -> 198.51.100.80 tcp/23 (unassigned) is allowed: no wave blocks the group unassigned"},
	} {
		p := read(t, "  - {"+c.test+"}\n")
		got, err := expect.Plan(p, now)
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: %v %v", c.test, got, err)
		}
		if got[0].String() != c.want {
			t.Errorf("%s\n got  %s\n want %s", c.test, got[0], c.want)
		}
	}
}

func services(t *testing.T, list ...string) (out []flow.Service) {
	for _, s := range list {
		v, err := flow.ParseService(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// TestFrozen asks the rules of a step: what was observed decides too, and so do
// answers and the machine's lifelines. Groups that no wave blocks are not asked.
func TestFrozen(t *testing.T) {
	p := read(t, `  - {from: [servers], to: [198.51.100.7], services: [tcp/443], expect: allowed}
  - {from: [servers], services: [udp/123], expect: denied}
  - {from: [servers], services: [tcp/25], expect: denied}
  - {from: [unassigned], services: [tcp/25], expect: denied}
  - {from: [desks], services: [tcp/80], expect: denied}
  - {from: [desks], services: [tcp/5432], expect: allowed}
`)
	in := compile.Input{
		Policy: policy.Policy{Rules: []policy.Rule{
			{Group: "servers", To: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}, Services: services(t, "tcp/443"), Reason: policy.Observed},
			{Group: "servers", Endpoints: []netip.Prefix{netip.MustParsePrefix("10.20.1.77/32")}, Services: services(t, "tcp/25"), Reason: policy.Observed},
			{Group: "desks", Services: services(t, "tcp/80"), Reason: policy.Answered},
			{Group: "desks", Services: services(t, "tcp/5432"), Reason: policy.Answered},
		}},
		Lifelines: []compile.Lifeline{{Name: "ntp", To: []netip.Prefix{netip.MustParsePrefix("192.0.2.123/32")}, Services: services(t, "udp/123")},
			{Name: "session", Reply: true, To: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")}, Services: services(t, "tcp/25")}},
		Never: []compile.Never{{Name: "no-pg", Group: "desks", To: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Services: services(t, "tcp/5432")}},
	}
	var got []string
	for _, r := range expect.Frozen(p, in) {
		got = append(got, fmt.Sprintf("%d: %s", r.Test.Pos.Line-25, r))
	}
	want := []string{
		"1: holds",
		"2: expected denied, but 10.20.1.1 -> 192.0.2.123 udp/123 (servers) is allowed: the lifeline ntp",
		"3: expected denied, but 10.20.1.77 -> 198.51.100.80 tcp/25 (servers) is allowed: observed",
		"5: expected denied, but 10.20.16.10 -> 198.51.100.80 tcp/80 (desks) is allowed: a person answered that it is needed",
		"6: expected allowed, but 10.20.16.10 -> 192.0.2.10 tcp/5432 (desks) is denied: never no-pg",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
