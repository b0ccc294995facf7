package infer

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/phases/flow"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/sample"
)

// kind makes many kinds of rulesets; the more seeds the more kinds.
func kind(seed uint64, r *rand.Rand) sample.Shape {
	s := sample.Shape{Rules: 4 + r.IntN(20), Chains: r.IntN(3), Hosts: 4 + r.IntN(6), Tests: seed%4 == 0, Devices: seed%3 == 0, Narrow: seed%5 == 1}
	if seed%3 == 1 {
		s.Families = []flow.Family{flow.IPv4}
	}
	return s
}

func text(r Result) string {
	var b strings.Builder
	_ = r.Text(&b)
	return b.String()
}

// TestPolicyIsTheRuleset infers policies from made-up rulesets and compares
// both, packet by packet, by the naive interpreter.
func TestPolicyIsTheRuleset(t *testing.T) {
	minimal := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 11))
		rs := sample.Ruleset(r, kind(seed, r))
		res, err := Infer(rs, "FORWARD")
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if res.After > res.Before {
			t.Errorf("seed %d: complexity %d is above the input's %d", seed, res.After, res.Before)
		}
		if res.Bound > len(res.Policy.Rules) {
			t.Errorf("seed %d: %d rules are below the bound %d", seed, len(res.Policy.Rules), res.Bound)
		}
		if res.Minimal {
			minimal++
		}
		got := res.Policy.Ruleset("p", "forward")
		packets := sample.NewPackets(r, rs)
		for range 4000 {
			p := packets.Next()
			v, err1 := rules.Decide(rs, "FORWARD", p)
			w, err2 := rules.Decide(got, "p", p)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if (v.Action == rules.Accept) != (w.Action == rules.Accept) {
				t.Fatalf("seed %d: %s %v: %s by %s, but the policy says %s\n%s", seed, p, p.Tests, v.Action, v.Rule.Where(), w.Action, text(res))
			}
			if res.Kept != nil {
				if k, err := rules.Decide(*res.Kept, "FORWARD", p); err != nil || (k.Action == rules.Accept) != (v.Action == rules.Accept) {
					t.Fatalf("seed %d: %s: %s, but without the rules that do nothing %s %v", seed, p, v.Action, k.Action, err)
				}
			}
			if w.Rule.Line > 0 && !from(res.Policy.Rules, p, v.Rule) && v.Rule.Action != "" {
				t.Fatalf("seed %d: %s is decided by %s, to which no rule of the policy leads back", seed, p, v.Rule.Where())
			}
		}
	}
	if minimal < 20 {
		t.Errorf("only %d of 60 were proven minimal", minimal)
	}
	t.Logf("%d of 60 proven minimal", minimal)
}

// from says whether every policy rule that has a packet names its origin.
func from(list []Rule, p rules.Packet, origin rules.Rule) bool {
	for _, r := range list {
		if !r.whole().Matches(p) {
			continue
		}
		found := false
		for _, x := range r.From {
			found = found || x.Line == origin.Line && x.File == origin.File
		}
		if !found {
			return false
		}
	}
	return true
}

// TestDeadRulesDoNothing takes out each rule that Inspect names.
func TestDeadRulesDoNothing(t *testing.T) {
	found := 0
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 12))
		s := kind(seed, r)
		s.Rules += 20
		rs := sample.Ruleset(r, s)
		dead, err := Inspect(rs, "FORWARD")
		if err != nil {
			t.Fatal(err)
		}
		gone := map[int]bool{}
		for _, list := range [][]rules.Rule{dead.Unmatched, dead.Shadowed, dead.Redundant} {
			for _, x := range list {
				gone[x.Line] = true
				found++
			}
		}
		less := rs
		less.Chains = nil
		for _, c := range rs.Chains {
			x := *c
			x.Rules = nil
			for _, y := range c.Rules {
				if !gone[y.Line] {
					x.Rules = append(x.Rules, y)
				}
			}
			less.Chains = append(less.Chains, &x)
		}
		if d, err := Compare(rs, less, "FORWARD", "FORWARD"); err != nil || !d.Equal() {
			t.Errorf("seed %d: without the dead rules it differs: %v %v", seed, d, err)
		}
		flat, _ := rules.Flatten(rs, "FORWARD")
		packets := sample.NewPackets(r, rs)
		for range 3000 {
			p := packets.Next()
			v, _ := rules.Decide(rs, "FORWARD", p)
			for _, x := range append(dead.Unmatched, dead.Shadowed...) {
				if v.Rule.Line == x.Line {
					t.Fatalf("seed %d: line %d decides %s, but is said to do nothing", seed, x.Line, p)
				}
			}
			for _, f := range flat {
				for _, x := range dead.Unmatched {
					if f.Rule.Line == x.Line && f.Applies(p) {
						t.Fatalf("seed %d: line %d matches %s", seed, x.Line, p)
					}
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d dead rules in all: the test tests nothing", found)
	}
}

// TestCompareIsExact compares rulesets with changed ones: boxes hold exactly
// the packets that differ, examples are correct, no box holds another.
func TestCompareIsExact(t *testing.T) {
	different := 0
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 13))
		k := kind(seed, r)
		k.Narrow = seed%2 == 1
		a := sample.Ruleset(r, k)
		b := mutate(r, mutate(r, a))
		d, err := Compare(a, b, "FORWARD", "FORWARD")
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !d.Equal() {
			different++
		}
		accepts := func(rs rules.Ruleset, p rules.Packet) bool {
			v, err := rules.Decide(rs, "FORWARD", p)
			if err != nil {
				t.Fatal(err)
			}
			return v.Action == rules.Accept
		}
		for i, list := range [][]Part{d.OnlyA, d.OnlyB} {
			for _, x := range list {
				if !x.whole().Matches(x.Example) || accepts(a, x.Example) != (i == 0) || accepts(b, x.Example) != (i == 1) {
					t.Errorf("seed %d: wrong example %s of %s", seed, x.Example, x.Rule)
				}
			}
		}
		in := func(list []Part, p rules.Packet) bool {
			for _, x := range list {
				if x.whole().Matches(p) {
					return true
				}
			}
			return false
		}
		packets := sample.NewPackets(r, a, b)
		for range 4000 {
			p := packets.Next()
			x, y := accepts(a, p), accepts(b, p)
			if in(d.OnlyA, p) != (x && !y) || in(d.OnlyB, p) != (y && !x) {
				t.Fatalf("seed %d: %s %v: a %t, b %t; only a %v, only b %v", seed, p, p.Tests, x, y, d.OnlyA, d.OnlyB)
			}
		}
	}
	if different < 15 {
		t.Errorf("only %d of 50 changes made a difference", different)
	}
}

// mutate drops, swaps or changes one rule.
func mutate(r *rand.Rand, rs rules.Ruleset) rules.Ruleset {
	out := rs
	out.Chains = nil
	for _, c := range rs.Chains {
		x := *c
		x.Rules = append([]rules.Rule(nil), c.Rules...)
		out.Chains = append(out.Chains, &x)
	}
	c := out.Chains[0]
	if len(c.Rules) < 2 {
		return out
	}
	i := r.IntN(len(c.Rules) - 1)
	switch r.IntN(3) {
	case 0:
		c.Rules = append(c.Rules[:i], c.Rules[i+1:]...)
	case 1:
		c.Rules[i], c.Rules[i+1] = c.Rules[i+1], c.Rules[i]
	default:
		m := &c.Rules[i].Match
		for k := range m.Dst {
			ranges := append([]rules.AddrRange(nil), m.Dst[k].Ranges...)
			for j := range ranges { // shifted by one
				if n := ranges[j].Hi.Next(); n.IsValid() {
					ranges[j] = rules.AddrRange{Lo: ranges[j].Lo.Next(), Hi: n}
				}
			}
			m.Dst = append([]rules.Addrs(nil), m.Dst...)
			m.Dst[k] = rules.Addrs{Ranges: ranges, Not: m.Dst[k].Not}
		}
	}
	return out
}

func TestQueryIsExact(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 14))
		rs := sample.Ruleset(r, kind(seed, r))
		other := sample.Ruleset(r, sample.Shape{Rules: 1, Hosts: 3, Families: rs.Families})
		q := other.Chains[0].Rules[0].Match
		a, err := Query(rs, "FORWARD", q)
		if err != nil {
			t.Fatal(err)
		}
		packets := sample.NewPackets(r, rs, other)
		for range 3000 {
			p := packets.Next()
			v, _ := rules.Decide(rs, "FORWARD", p)
			want := q.Matches(p) && v.Action == rules.Accept
			got := false
			for _, x := range a.Parts {
				got = got || x.whole().Matches(p)
			}
			if got != want {
				t.Fatalf("seed %d: %s: in the answer %t, want %t", seed, p, got, want)
			}
			if q.Matches(p) && (a.All && v.Action != rules.Accept || a.None && v.Action == rules.Accept) {
				t.Fatalf("seed %d: %s is %s, but all %t, none %t", seed, p, v.Action, a.All, a.None)
			}
		}
		if a.Denied != nil {
			if v, _ := rules.Decide(rs, "FORWARD", *a.Denied); v.Action == rules.Accept || !q.Matches(*a.Denied) {
				t.Errorf("seed %d: %s is no denied packet of the question", seed, a.Denied)
			}
		}
	}
}

// TestMatrixIsWhoReachesWhom asks the interpreter for pairs of addresses.
func TestMatrixIsWhoReachesWhom(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 15))
		rs := sample.Ruleset(r, sample.Shape{Rules: 40, Chains: 2, Hosts: 6, Narrow: true})
		svc := flow.Single(flow.TCP, 443)
		for _, fam := range rs.Families {
			m, err := MatrixOf(rs, "FORWARD", svc, fam)
			if err != nil {
				t.Fatal(err)
			}
			of := func(a netip.Addr) int {
				return slices.IndexFunc(m.Classes, func(c []rules.AddrRange) bool {
					return slices.ContainsFunc(c, func(x rules.AddrRange) bool { return x.Contains(a) })
				})
			}
			packets := sample.NewPackets(r, rs)
			for range 2000 {
				p := packets.Next()
				if flow.FamilyOf(p.Src) != fam {
					continue
				}
				p.Service, p.State = rules.ServiceOf(flow.TCP, 443), rules.New
				v, _ := rules.Decide(rs, "FORWARD", p)
				if i, j := of(p.Src), of(p.Dst); m.Reaches(i, j) != (v.Action == rules.Accept) {
					t.Fatalf("seed %d: %s is %s, but the matrix says %t", seed, p, v.Action, m.Reaches(i, j))
				}
			}
		}
	}
}
