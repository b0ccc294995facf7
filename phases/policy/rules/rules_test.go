package rules

import (
	"net/netip"
	"strings"
	"testing"

	"weir/phases/flow"
)

// tiny is three chains with a jump, a goto and a return.
func tiny() Ruleset {
	src := func(p string) Match {
		return Match{Src: []Addrs{{Ranges: []AddrRange{PrefixRange(netip.MustParsePrefix(p))}}}}
	}
	tcp := Match{Services: []Services{{Ranges: []ServiceRange{Protocol(flow.TCP)}}}}
	return Ruleset{Chains: []*Chain{
		{Name: "FORWARD", Hook: "forward", Default: Drop, Rules: []Rule{
			{Line: 1, Action: Jump, Target: "users", Match: src("10.0.0.0/8")},
			{Line: 2, Action: Goto, Target: "open", Match: src("10.1.0.0/16")},
			{Line: 3, Action: Accept, Match: src("10.0.0.0/8")},
		}},
		{Name: "users", Rules: []Rule{
			{Line: 4, Action: Return, Match: src("10.1.1.0/24")},
			{Line: 5, Action: Reject, Match: src("10.1.0.0/23")},
		}},
		{Name: "open", Rules: []Rule{{Line: 6, Action: Accept, Match: tcp}}},
	}}
}

func TestDecideAndFlatten(t *testing.T) {
	rs := tiny()
	flat, err := Flatten(rs, "FORWARD")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		src  string
		p    flow.Proto
		want Action
		line int
	}{
		{"10.1.0.9", flow.TCP, Reject, 5},
		{"10.1.1.9", flow.TCP, Accept, 6},
		{"10.1.1.9", flow.UDP, Drop, 0}, // the end of the goto's target is the end of the chain
		{"10.2.0.1", flow.UDP, Accept, 3},
		{"11.0.0.1", flow.TCP, Drop, 0},
		{"fd00::1", flow.TCP, Drop, 0},
	} {
		p := Packet{Src: netip.MustParseAddr(c.src), Dst: netip.MustParseAddr("192.0.2.1"), Service: ServiceOf(c.p, 80), State: New}
		v, err := Decide(rs, "FORWARD", p)
		if err != nil || v.Action != c.want || v.Rule.Line != c.line {
			t.Errorf("%s: %+v %v, want %s by line %d", p, v, err, c.want, c.line)
		}
		for _, f := range flat {
			if !f.Applies(p) {
				continue
			}
			if f.Action != c.want || f.Rule.Line != c.line {
				t.Errorf("%s: flat rule of line %d says %s, want %s by line %d", p, f.Rule.Line, f.Action, c.want, c.line)
			}
			break
		}
	}
}

func TestLoopsAndGapsAreErrors(t *testing.T) {
	loop := Ruleset{Chains: []*Chain{
		{Name: "A", Hook: "input", Default: Accept, Rules: []Rule{{Action: Jump, Target: "B"}}},
		{Name: "B", Rules: []Rule{{Action: Jump, Target: "B"}}},
	}}
	gap := Ruleset{Chains: []*Chain{{Name: "A", Hook: "input", Default: Accept, Rules: []Rule{{Action: Jump, Target: "C"}}}}}
	for name, c := range map[string]struct {
		rs    Ruleset
		chain string
		want  string
	}{
		"loop":          {loop, "A", "jumps to itself"},
		"gap":           {gap, "A", "does not exist"},
		"no such chain": {gap, "Z", "there are [A]"},
		"not hooked":    {loop, "B", "there are [A]"},
	} {
		_, err1 := Decide(c.rs, c.chain, Packet{})
		_, err2 := Flatten(c.rs, c.chain)
		for _, err := range []error{err1, err2} {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
		}
	}
}

func TestMatchAnd(t *testing.T) {
	p := Packet{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), State: New, In: "eth0.7", Tests: map[string]bool{"uid 7": true}}
	for name, c := range map[string]struct {
		a, b Match
		want bool
	}{
		"both any":        {Match{}, Match{}, true},
		"other family":    {Match{Family: flow.IPv6}, Match{}, false},
		"two families":    {Match{Family: flow.IPv6}, Match{Family: flow.IPv4}, false},
		"states":          {Match{States: New | Related}, Match{States: New}, true},
		"states apart":    {Match{States: Established}, Match{States: New}, false},
		"wildcard":        {Match{In: []Interfaces{{Names: []string{"eth0.+"}}}}, Match{In: []Interfaces{{Names: []string{"eth0"}, Not: true}}}, true},
		"not the address": {Match{Dst: []Addrs{{Not: true}}}, Match{Src: []Addrs{{Ranges: []AddrRange{PrefixRange(netip.MustParsePrefix("10.0.0.0/31"))}, Not: true}}}, false},
		"tests":           {Match{Tests: []Test{{Text: "uid 7"}}}, Match{Tests: []Test{{Text: "uid 8", Not: true}}}, true},
	} {
		if got := c.a.And(c.b).Matches(p); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
		if got := c.a.Matches(p) && c.b.Matches(p); got != c.want {
			t.Errorf("%s: each alone: %t", name, got)
		}
	}
}

func TestMergeKeepsFamiliesApart(t *testing.T) {
	rule := func(a Action) Rule { return Rule{Action: a, Match: Match{States: New}} }
	v4 := Ruleset{Families: []flow.Family{flow.IPv4}, Chains: []*Chain{{Name: "FORWARD", Hook: "forward", Default: Drop, Rules: []Rule{rule(Accept)}}}}
	v6 := Ruleset{Families: []flow.Family{flow.IPv6}, Chains: []*Chain{{Name: "FORWARD", Hook: "forward", Default: Accept, Rules: []Rule{rule(Reject)}}}}
	both, err := Merge(v4, v6)
	if err != nil {
		t.Fatal(err)
	}
	for src, alone := range map[string]Ruleset{"10.0.0.1": v4, "fd00::1": v6} {
		for _, s := range []States{New, Invalid} {
			p := Packet{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(src), State: s}
			want, _ := Decide(alone, "FORWARD", p)
			if got, err := Decide(both, "FORWARD", p); err != nil || got.Action != want.Action {
				t.Errorf("%s: %v %v, want %v", p, got.Action, err, want.Action)
			}
		}
	}
	if _, err := Merge(v4, v4); err == nil {
		t.Error("two rulesets of one family were merged")
	}
}
