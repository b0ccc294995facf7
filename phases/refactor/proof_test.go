package refactor

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir/phases/flow"
	"weir/phases/policy"
	"weir/plans"
)

func proveDesks(t testing.TB, seen []Seen, services_ ...string) Proof {
	t.Helper()
	after, err := Apply(old(), plan, plans.Refactor{Name: "desks", Groups: []string{"desks"},
		Allow: []plans.AllowRule{{To: plans.Target{Outside: true}, Services: services(services_...)}}})
	if err != nil {
		t.Fatal(err)
	}
	p, _, _ := Prove("desks", old(), after, []string{"desks"}, seen, plan)
	return p
}

func seen(group, client, server, svc string) Seen {
	s := services(svc)[0]
	return Seen{group, flow.Flow{Client: netip.MustParseAddr(client), Server: netip.MustParseAddr(server), Proto: s.Proto, Port: s.Lo}}
}

// TestProofInNumbers: addresses and services that are added, how much of it was
// ever seen, and a packet that shows it.
func TestProofInNumbers(t *testing.T) {
	p := proveDesks(t, []Seen{
		seen("desks", "10.2.0.1", "198.51.100.7", "tcp/22"),
		seen("desks", "10.2.0.2", "198.51.100.7", "tcp/22"),
		seen("desks", "10.2.0.2", "203.0.113.9", "tcp/443"), // allowed as before
		seen("relays", "10.1.0.25", "192.0.2.9", "tcp/80"),  // another group
		seen("desks", "10.2.0.2", "203.0.113.9", "tcp/80"),
	}, "tcp/443", "tcp/80-83", "udp/443")
	if w := p.Widens; w.Services != 4 || w.Addresses != 1<<32 || w.Networks != math.MaxUint64 || w.Seen != 1 || w.Reached != 1 || w.Example != "desks 10.2.0.2 -> 203.0.113.9 tcp/80" {
		t.Errorf("widens %+v", w)
	}
	if n := p.Narrows; n.Services != 1 || n.Addresses != 1 || n.Networks != 0 || n.Seen != 2 || n.Reached != 1 || n.Boxes != 1 || len(n.Examples) != 2 {
		t.Errorf("narrows %+v", n)
	}
	if got := p.Narrows.Summary(); got != "in all 1 service at 1 IPv4 addresses; seen in the evidence: 2 of its flows, to 1 of its destinations (100%)" {
		t.Error(got)
	}
	if got := proveDesks(t, nil, "tcp/443").Widens.Summary(); got != "nothing" {
		t.Error(got)
	}
	if got := proveDesks(t, nil, "tcp/80", "tcp/443", "udp/443").Widens; got.Example != "desks 10.2.0.10 -> 198.51.100.80 tcp/80" || !strings.HasSuffix(got.Summary(), "none of it was ever seen") {
		t.Errorf("%+v", got)
	}
}

func TestCount(t *testing.T) {
	for _, row := range []struct {
		list   string
		v4, v6 uint64
	}{
		{"", 0, 0},
		{"0.0.0.0/0", 1 << 32, 0},
		{"10.0.0.0/8 10.1.0.0/16 10.0.0.7/32", 1 << 24, 0},
		{"10.0.0.0/31 10.0.0.2/32 10.0.0.2/32", 3, 0},
		{"2001:db8::1/128 2001:db8::2/128", 0, 1},
		{"2001:db8::/48 2001:db8:0:1::7/128 2001:db9::/64", 0, 1<<16 + 1},
		{"::/1 8000::/1", 0, math.MaxUint64},
		{"::/0 192.0.2.0/24", 256, math.MaxUint64},
	} {
		v4, v6 := count(prefixes(strings.Fields(row.list)...))
		if v4 != row.v4 || v6 != row.v6 {
			t.Errorf("%s: %d and %d, want %d and %d", row.list, v4, v6, row.v4, row.v6)
		}
	}
}

// TestStory28Budget: beyond the budget a refactoring is refused with the number;
// nothing is cut off a list to make it fit.
func TestStory28Budget(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	p := proveDesks(t, nil, "tcp/443", "udp/443", "tcp/80-83")
	for _, row := range []struct {
		budget plans.Budget
		want   string
	}{
		{plans.Budget{}, ""},
		{plans.Budget{Services: n(4)}, ""},
		{plans.Budget{Services: n(3)}, "it widens by 4 services at 4294967296 IPv4 addresses and all IPv6 networks, the budget is 3 services; one packet of it is desks 10.2.0.10 -> 198.51.100.80 tcp/80"},
		{plans.Budget{Addresses: n(math.MaxUint64 - 1)}, "the budget is 18446744073709551614 addresses"},
		{plans.Budget{Addresses: n(math.MaxUint64)}, ""},
		{plans.Budget{Addresses: n(0)}, "the budget is 0 addresses"},
	} {
		if got := p.Exceeds(row.budget); (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
			t.Errorf("%+v: %q, want %q", row.budget, got, row.want)
		}
	}
	many := policy.Policy{}
	for i := range 1001 {
		many.Rules = append(many.Rules, policy.Rule{Group: "relays", Services: []flow.Service{flow.Single(flow.TCP, uint16(2*i+1))}, Families: []flow.Family{flow.IPv4}})
	}
	p, widens, _ := Prove("x", policy.Policy{}, many, []string{"relays"}, nil, plan)
	if len(p.Widens.Lines) != 1001 || len(widens) != 1001 || !strings.Contains(p.Exceeds(plans.Budget{}), "takes 1001 lines to say, more than the 1000") {
		t.Errorf("%d lines: %s", len(p.Widens.Lines), p.Exceeds(plans.Budget{}))
	}
}

// TestProofIsOfTheSetOfPackets: whatever the order of rules and however they are
// cut, the same differences have the same digest; one packet more has another.
func TestProofIsOfTheSetOfPackets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(label string) policy.Policy {
			var p policy.Policy
			for range rapid.IntRange(0, 4).Draw(rt, label) {
				r := policy.Rule{Group: "desks", Services: rapid.SliceOfN(rapid.SampledFrom(services("tcp/443", "tcp/80-90", "tcp/85-100", "tcp", "udp/53", "icmp/8", "icmpv6/128", "esp")), 1, 3).Draw(rt, "services")}
				r.To = rapid.SliceOfN(rapid.SampledFrom(prefixes("198.51.100.0/24", "198.51.100.0/25", "198.51.100.7/32", "198.51.100.128/25", "2001:db8::/32", "2001:db8::7/128", "0.0.0.0/0")), 0, 3).Draw(rt, "to")
				r.Endpoints = rapid.SliceOfN(rapid.SampledFrom(prefixes("10.2.0.0/24", "10.2.0.0/25", "10.2.0.128/25", "10.2.0.9/32", "fd00:2::/64")), 0, 2).Draw(rt, "from")
				p.Rules = append(p.Rules, r)
			}
			return p
		}
		before, after := draw("before"), draw("after")
		p, widens, narrows := Prove("x", before, after, []string{"desks"}, nil, plan)
		shuffled := policy.Policy{Rules: rapid.Permutation(after.Rules).Draw(rt, "order")}
		var cut policy.Policy
		for _, r := range before.Rules {
			for _, s := range r.Services {
				one := r
				one.Services = []flow.Service{s}
				cut.Rules = append(cut.Rules, one)
			}
		}
		if q, _, _ := Prove("x", cut, shuffled, []string{"desks"}, nil, plan); q.Digest != p.Digest {
			rt.Fatalf("the digests differ: %v %v", before, after)
		}
		for range 3 { // maps have no order
			if q, _, _ := Prove("x", before, after, []string{"desks"}, nil, plan); q.Digest != p.Digest {
				rt.Fatal("the digest differs from run to run")
			}
		}
		if len(widens)+len(narrows) == 0 {
			return
		}
		less := after
		less.Rules = append(slices.Clone(after.Rules), policy.Rule{Group: "desks", Services: services("tcp/9"), To: prefixes("192.0.2.1/32"), Families: []flow.Family{flow.IPv4}})
		if q, _, _ := Prove("x", before, less, []string{"desks"}, nil, plan); !policy.Equal(less, after) && q.Digest == p.Digest {
			rt.Fatal("one packet more, and the digest is the same")
		}
	})
}

// TestWithout: what nevers deny is not reached.
func TestWithout(t *testing.T) {
	p := policy.Policy{Rules: []policy.Rule{{Group: "desks", Services: services("tcp/1-100")}}}
	got := Without(p, []policy.Rule{{Group: "desks", To: prefixes("198.51.100.0/24"), Services: services("tcp/50")}}, "desks")
	for _, row := range []struct {
		server, svc string
		want        bool
	}{{"198.51.100.9", "tcp/50", false}, {"198.51.100.9", "tcp/51", true}, {"198.51.101.9", "tcp/50", true}, {"198.51.101.9", "tcp/101", false}} {
		f := seen("desks", "10.2.0.1", row.server, row.svc)
		if _, ok := policy.Allows(got, "desks", f.Flow); ok != row.want {
			t.Errorf("%s %s: %v", row.server, row.svc, ok)
		}
	}
	if fmt.Sprint(Without(p, nil, "desks")) != fmt.Sprint(p) {
		t.Error("without nevers the policy is itself")
	}
}

// TestDeclaredRulesStay: a refactoring replaces what was observed and answered,
// never what the plan declares.
func TestDeclaredRulesStay(t *testing.T) {
	p := old()
	p.Rules = append(p.Rules, policy.Rule{Group: "desks", Services: services("tcp/5432"), Reason: policy.DeclaredBy, Name: "failover"})
	after, err := Apply(p, plan, plans.Refactor{Name: "desks", Groups: []string{"desks"}, Allow: []plans.AllowRule{{To: plans.Target{Outside: true}, Services: services("tcp/443")}}})
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := policy.Allows(after, "desks", seen("desks", "10.2.0.1", "198.51.100.7", "tcp/5432").Flow); !ok || r.Name != "failover" {
		t.Error("the declared flow is gone")
	}
}
