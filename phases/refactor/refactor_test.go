package refactor

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/plans"
)

func services(s ...string) []flow.Service {
	var out []flow.Service
	for _, x := range s {
		v, err := flow.ParseService(x)
		if err != nil {
			panic(err)
		}
		out = append(out, v)
	}
	return out
}

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, x := range s {
		out = append(out, netip.MustParsePrefix(x))
	}
	return out
}

var plan = plans.Plan{Groups: []plans.Group{
	{Name: "desks", Members: prefixes("10.2.0.0/16", "fd00:2::/64"), Families: []flow.Family{flow.IPv4, flow.IPv6}, Owner: "desk@example.net"},
	{Name: "relays", Members: prefixes("10.1.0.25/32"), Families: []flow.Family{flow.IPv4}},
	{Name: "macs", MACs: []string{"02:00:5e:10:00:07"}, Families: []flow.Family{flow.IPv4}},
}}

func old() policy.Policy {
	return policy.Policy{Rules: []policy.Rule{
		{Group: "desks", Services: services("tcp/443", "udp/443"), Reason: policy.Observed},
		{Group: "desks", To: prefixes("198.51.100.7/32"), Services: services("tcp/22"), Families: []flow.Family{flow.IPv4}, Reason: policy.Observed},
		{Group: "relays", To: prefixes("192.0.2.25/32"), Services: services("tcp/25"), Families: []flow.Family{flow.IPv4}, Reason: policy.Observed},
	}}
}

func TestReplaceShowsWhatWidensAndNarrows(t *testing.T) {
	for _, row := range []struct {
		name            string
		refactor        plans.Refactor
		widens, narrows string
	}{
		{"the same rules", plans.Refactor{Groups: []string{"relays"}, Allow: []plans.AllowRule{{To: plans.Target{Prefixes: prefixes("192.0.2.25/32")}, Services: services("tcp/25")}}},
			"[]", "[]"},
		{"wider", plans.Refactor{Groups: []string{"relays"}, Allow: []plans.AllowRule{{To: plans.Target{Prefixes: prefixes("192.0.2.24/31")}, Services: services("tcp/25")}}},
			"[relays: 192.0.2.24 tcp/25]", "[]"},
		{"wider and narrower", plans.Refactor{Groups: []string{"desks"}, Allow: []plans.AllowRule{{To: plans.Target{Outside: true}, Services: services("tcp/443", "tcp/80")}}},
			"[desks ipv4 tcp/80 desks ipv6 tcp/80]", "[desks ipv4 udp/443 desks ipv4 198.51.100.7 tcp/22 desks ipv6 udp/443]"},
		{"nothing allowed", plans.Refactor{Groups: []string{"relays"}}, "[]", "[relays: 192.0.2.25 tcp/25]"},
	} {
		p, widens, narrows, err := Replace(old(), plan, row.refactor)
		if err != nil {
			t.Fatal(row.name, err)
		}
		got := [2]int{len(widens), len(narrows)}
		t.Log(row.name, widens, narrows)
		if (row.widens == "[]") != (got[0] == 0) || (row.narrows == "[]") != (got[1] == 0) {
			t.Errorf("%s: widens %v, narrows %v", row.name, widens, narrows)
		}
		for _, b := range widens {
			f := client(b.Example(), b.Group)
			if _, ok := policy.Allows(old(), b.Group, f); ok {
				t.Errorf("%s: %v was allowed before", row.name, f)
			}
			if _, ok := policy.Allows(p, b.Group, f); !ok {
				t.Errorf("%s: %v is not allowed after", row.name, f)
			}
		}
		for _, r := range p.Rules {
			for _, g := range row.refactor.Groups {
				if r.Group == g && r.Reason != policy.Refactored {
					t.Errorf("%s: kept %+v", row.name, r)
				}
			}
		}
	}
}

func client(f flow.Flow, group string) flow.Flow {
	for _, g := range plan.Groups {
		for _, m := range g.Members {
			if g.Name == group && flow.FamilyOf(m.Addr()) == f.Family() {
				f.Client = m.Addr()
				return f
			}
		}
	}
	return f
}

// TestReplaceIsExact: a flow is allowed differently if and only if a box of the
// right list holds it, and no other group changes.
func TestReplaceIsExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		svc := rapid.SampledFrom(services("tcp/443", "tcp/80", "tcp/1-1000", "udp/443", "udp", "esp", "icmp/8"))
		to := rapid.SampledFrom([]plans.Target{{Outside: true}, {Prefixes: prefixes("198.51.100.0/24")}, {Prefixes: prefixes("198.51.100.7/32", "2001:db8::/32")}, {Groups: []string{"relays"}}})
		r := plans.Refactor{Name: "x", Groups: rapid.SampledFrom([][]string{{"desks"}, {"relays"}, {"desks", "relays"}}).Draw(rt, "groups")}
		for range rapid.IntRange(0, 3).Draw(rt, "rules") {
			r.Allow = append(r.Allow, plans.AllowRule{To: to.Draw(rt, "to"), Services: rapid.SliceOfN(svc, 1, 3).Draw(rt, "services")})
		}
		p, widens, narrows, err := Replace(old(), plan, r)
		if err != nil {
			rt.Fatal(err)
		}
		for range 50 {
			f := flow.Flow{
				Client: netip.MustParseAddr(rapid.SampledFrom([]string{"10.2.0.1", "fd00:2::1", "10.1.0.25"}).Draw(rt, "client")),
				Proto:  rapid.SampledFrom([]flow.Proto{flow.TCP, flow.UDP, flow.ESP}).Draw(rt, "proto"),
			}
			if f.Proto.HasPorts() {
				f.Port = rapid.SampledFrom([]uint16{22, 25, 80, 443, 1000, 1001}).Draw(rt, "port")
			}
			v4 := []string{"198.51.100.7", "198.51.100.8", "192.0.2.25", "10.1.0.25", "203.0.113.1"}
			v6 := []string{"2001:db8::1", "2001:db9::1"}
			group := "desks"
			if f.Client.Is6() {
				f.Server = netip.MustParseAddr(rapid.SampledFrom(v6).Draw(rt, "server"))
			} else {
				f.Server = netip.MustParseAddr(rapid.SampledFrom(v4).Draw(rt, "server"))
			}
			if f.Client.String() == "10.1.0.25" {
				group = "relays"
			}
			_, before := policy.Allows(old(), group, f)
			_, after := policy.Allows(p, group, f)
			in := func(boxes []policy.Box) bool {
				for _, b := range boxes {
					if b.Group == group && b.Contains(f) {
						return true
					}
				}
				return false
			}
			if in(widens) != (after && !before) || in(narrows) != (before && !after) {
				rt.Fatalf("%s %v: before %v, after %v, widens %v, narrows %v", group, f, before, after, widens, narrows)
			}
		}
	})
}

func TestFlowsOfTheEvidence(t *testing.T) {
	row := func(group, client, server, svc string, answered bool) monitor.Row {
		s := services(svc)[0]
		var r monitor.Row
		r.Group, r.Answered = group, answered
		r.Client, r.Server, r.Service = netip.MustParseAddr(client), netip.MustParseAddr(server), s
		return r
	}
	_, widens, narrows, err := Replace(old(), plan, plans.Refactor{Name: "desks", Groups: []string{"desks"},
		Allow: []plans.AllowRule{{To: plans.Target{Outside: true}, Services: services("tcp/443")}}})
	if err != nil || len(widens) != 0 {
		t.Fatal(widens, err)
	}
	rows := []monitor.Row{
		row("desks", "10.2.0.1", "198.51.100.7", "tcp/22", true),
		row("desks", "10.2.0.1", "198.51.100.7", "tcp/22", true), // twice
		row("desks", "10.2.0.2", "198.51.100.7", "tcp/22", false),
		row("desks", "10.2.0.2", "203.0.113.9", "tcp/443", true),
		row("desks", "fd00:2::9", "2001:db8::1", "udp/443", true),
		row("relays", "10.1.0.25", "198.51.100.7", "tcp/22", true),
	}
	if got := fmt.Sprint(Flows(rows, narrows)); got != "[10.2.0.1 -> 198.51.100.7 tcp/22 fd00:2::9 -> 2001:db8::1 udp/443]" {
		t.Error(got)
	}
}

// TestDestinationsWithoutAddresses: no addresses would mean everywhere.
func TestDestinationsWithoutAddresses(t *testing.T) {
	for _, to := range []plans.Target{{}, {Groups: []string{"macs"}}, {Groups: []string{"nobody"}}} {
		if p, err := Apply(old(), plan, plans.Refactor{Name: "x", Groups: []string{"desks"}, Allow: []plans.AllowRule{{To: to, Services: services("tcp/443")}}}); err == nil {
			t.Errorf("%+v gives %+v", to, p.Rules)
		}
	}
	if _, err := Apply(old(), plan, plans.Refactor{Groups: []string{"nobody"}}); err == nil {
		t.Error("refactored a group that is not there")
	}
}
