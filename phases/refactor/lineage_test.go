package refactor

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"weir/phases/policy"
)

func TestLineage(t *testing.T) {
	before := policy.Policy{Rules: []policy.Rule{
		{Group: "desks", Services: services("tcp/443"), To: prefixes("198.51.100.7/32")},
		{Group: "desks", Services: services("tcp/443"), To: prefixes("198.51.100.8/32")},
		{Group: "desks", Services: services("tcp/80"), To: prefixes("198.51.100.0/23")},
		{Group: "desks", Services: services("tcp/22"), To: prefixes("198.51.100.7/32")},
		{Group: "relays", Services: services("tcp/443")},
	}}
	after := policy.Policy{Rules: []policy.Rule{
		{Group: "desks", Services: services("tcp/80", "tcp/443"), To: prefixes("198.51.100.0/24")},
		{Group: "desks", Services: services("udp/53")},
		{Group: "relays", Services: services("tcp/443")},
	}}
	all := []Seen{
		seen("desks", "10.2.0.1", "198.51.100.7", "tcp/443"), seen("desks", "10.2.0.2", "198.51.100.8", "tcp/443"),
		seen("desks", "10.2.0.1", "198.51.101.9", "tcp/80"), seen("desks", "10.2.0.3", "198.51.100.7", "tcp/22"), seen("relays", "10.1.0.25", "198.51.100.7", "tcp/443"),
	}
	was, is := Lineage(before, after, []string{"desks"}, all)
	short := func(list []Descent) (out []string) {
		for _, d := range list {
			out = append(out, fmt.Sprint(d.Whole, d.Part, d.Beyond, d.Flows, d.Lost, d.Examples))
		}
		return out
	}
	for i, want := range []string{
		"[0] [] false 1 0 [10.2.0.1 -> 198.51.100.7 tcp/443]",
		"[0] [] false 1 0 [10.2.0.2 -> 198.51.100.8 tcp/443]",
		"[] [0] true 1 1 [10.2.0.1 -> 198.51.101.9 tcp/80]",
		"[] [] true 1 1 [10.2.0.3 -> 198.51.100.7 tcp/22]",
	} {
		if got := short(was); len(got) != 4 || got[i] != want {
			t.Errorf("old rule %d: %s, want %s", i, got[i], want)
		}
	}
	for i, want := range []string{
		"[0 1] [2] true 2 0 [10.2.0.1 -> 198.51.100.7 tcp/443 10.2.0.2 -> 198.51.100.8 tcp/443]",
		"[] [] true 0 0 []",
	} {
		if got := short(is); len(got) != 2 || got[i] != want {
			t.Errorf("new rule %d: %s, want %s", i, got[i], want)
		}
	}
}

// TestLineageLosesNothing: what links two rules links them both ways, and a rule
// that takes over all of another one allows each of its flows.
func TestLineageLosesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(label string) (p policy.Policy) {
			for range rapid.IntRange(0, 5).Draw(rt, label) {
				p.Rules = append(p.Rules, policy.Rule{Group: "desks",
					Services: rapid.SliceOfN(rapid.SampledFrom(services("tcp/443", "tcp/80-90", "tcp", "udp/53")), 1, 2).Draw(rt, "services"),
					To:       rapid.SliceOfN(rapid.SampledFrom(prefixes("198.51.100.0/24", "198.51.100.7/32", "198.51.100.128/25", "2001:db8::/32")), 0, 2).Draw(rt, "to")})
			}
			return p
		}
		before, after := draw("before"), draw("after")
		was, is := Lineage(before, after, []string{"desks"}, nil)
		for i, d := range was {
			for _, j := range d.Whole {
				if !has(is[j].Whole, i) || !policy.Within(policy.Policy{Rules: []policy.Rule{d.Rule}}, policy.Policy{Rules: []policy.Rule{is[j].Rule}}) {
					rt.Fatalf("%d in %d", i, j)
				}
			}
			for _, j := range d.Part {
				if !has(is[j].Part, i) {
					rt.Fatalf("%d in part in %d", i, j)
				}
			}
			if d.Beyond == policy.Within(policy.Policy{Rules: []policy.Rule{d.Rule}}, after) {
				rt.Fatalf("%+v: beyond %v", d.Rule, d.Beyond)
			}
			if !d.Beyond && len(d.Whole)+len(d.Part) == 0 {
				rt.Fatalf("%+v comes from nowhere", d.Rule)
			}
		}
	})
}

func has(list []int, v int) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}
