package infer

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"weir/phases/flow"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/sample"
)

// edit returns the ruleset with each rule of every chain replaced by others.
func edit(rs rules.Ruleset, change func(rules.Rule) []rules.Rule) rules.Ruleset {
	out := rs
	out.Chains = nil
	for _, c := range rs.Chains {
		x := *c
		x.Rules = nil
		for _, r := range c.Rules {
			x.Rules = append(x.Rules, change(r)...)
		}
		out.Chains = append(out.Chains, &x)
	}
	return out
}

// sides changes the ranges of both sides of a match.
func sides(m rules.Match, change func(rules.AddrRange) []rules.AddrRange) rules.Match {
	for _, side := range []*[]rules.Addrs{&m.Src, &m.Dst} {
		*side = slices.Clone(*side)
		for i, a := range *side {
			var ranges []rules.AddrRange
			for _, r := range a.Ranges {
				ranges = append(ranges, change(r)...)
			}
			(*side)[i].Ranges = ranges
		}
	}
	return m
}

// four makes up a ruleset for IPv4 alone.
func four(seed uint64) rules.Ruleset {
	r := rand.New(rand.NewPCG(seed, 21))
	return sample.Ruleset(r, sample.Shape{Rules: 6 + r.IntN(20), Chains: r.IntN(2), Hosts: 6, Narrow: seed%2 == 0, Families: []flow.Family{flow.IPv4}})
}

// moved adds an amount to the second byte of an address.
func moved(a netip.Addr, by byte) netip.Addr {
	b := a.As4()
	b[1] += by
	return netip.AddrFrom4(b)
}

// inSix is the address fd20::a.b.c.d.
func inSix(a netip.Addr) netip.Addr {
	b := [16]byte{0: 0xfd, 1: 0x20}
	x := a.As4()
	copy(b[12:], x[:])
	return netip.AddrFrom16(b)
}

// TestSameAnswers changes rulesets in ways that must not change what comes out.
func TestSameAnswers(t *testing.T) {
	one := func(r rules.Rule, m rules.Match) []rules.Rule { r.Match = m; return []rules.Rule{r} }
	for name, c := range map[string]struct {
		change func(*rand.Rand, rules.Ruleset) rules.Ruleset
		same   bool // the very same packets
	}{
		"renumbered": {change: func(_ *rand.Rand, rs rules.Ruleset) rules.Ruleset {
			return edit(rs, func(r rules.Rule) []rules.Rule {
				return one(r, sides(r.Match, func(x rules.AddrRange) []rules.AddrRange {
					return []rules.AddrRange{{Lo: moved(x.Lo, 100), Hi: moved(x.Hi, 100)}}
				}))
			})
		}},
		"prefixes split": {same: true, change: func(_ *rand.Rand, rs rules.Ruleset) rules.Ruleset {
			return edit(rs, func(r rules.Rule) []rules.Rule {
				return one(r, sides(r.Match, func(x rules.AddrRange) []rules.AddrRange {
					if x.Lo == x.Hi {
						return []rules.AddrRange{x}
					}
					return []rules.AddrRange{{Lo: x.Lo, Hi: x.Lo}, {Lo: x.Lo.Next(), Hi: x.Hi}}
				}))
			})
		}},
		"rules split in two": {same: true, change: func(_ *rand.Rand, rs rules.Ruleset) rules.Ruleset {
			return edit(rs, func(r rules.Rule) []rules.Rule {
				if !r.Action.Final() || len(r.Match.Src) == 0 || r.Match.Src[0].Not {
					return []rules.Rule{r}
				}
				var out []rules.Rule
				for _, x := range r.Match.Src[0].Ranges {
					m := r.Match
					m.Src = slices.Concat([]rules.Addrs{{Ranges: []rules.AddrRange{x}}}, m.Src[1:])
					out = append(out, one(r, m)...)
				}
				return out
			})
		}},
		"commuting rules permuted": {same: true, change: func(r *rand.Rand, rs rules.Ruleset) rules.Ruleset {
			out := edit(rs, func(x rules.Rule) []rules.Rule { return []rules.Rule{x} })
			for _, c := range out.Chains {
				for range 50 { // neighbours with the same verdict commute
					if len(c.Rules) < 2 {
						break
					}
					i := r.IntN(len(c.Rules) - 1)
					if a, b := &c.Rules[i], &c.Rules[i+1]; a.Action == b.Action && a.Action.Final() {
						*a, *b = *b, *a
					}
				}
			}
			return out
		}},
		"unreachable rules": {same: true, change: func(r *rand.Rand, rs rules.Ruleset) rules.Ruleset {
			return edit(rs, func(x rules.Rule) []rules.Rule {
				if !x.Action.Final() {
					return []rules.Rule{x}
				}
				y := x
				y.Action, y.Line = rules.Accept, x.Line+1000
				return []rules.Rule{x, y}
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(25) {
				r := rand.New(rand.NewPCG(seed, 22))
				a := four(seed)
				b := c.change(r, a)
				x, err1 := Infer(a, "FORWARD")
				y, err2 := Infer(b, "FORWARD")
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				if len(x.Policy.Rules) != len(y.Policy.Rules) || x.Bound != y.Bound || x.Policy.Complexity() != y.Policy.Complexity() {
					t.Errorf("seed %d: %d rules, at least %d, complexity %d; changed %d, %d, %d\n%s\n%s", seed, len(x.Policy.Rules), x.Bound, x.Policy.Complexity(),
						len(y.Policy.Rules), y.Bound, y.Policy.Complexity(), text(x), text(y))
				}
				if d, err := Compare(a, b, "FORWARD", "FORWARD"); c.same && (err != nil || !d.Equal()) {
					t.Errorf("seed %d: not the same packets: %v %v", seed, d, err)
				}
			}
		})
	}
}

// TestBothFamiliesAreNoMoreRules doubles a ruleset in IPv6: the policy has as
// many rules, each with the addresses of both.
func TestBothFamiliesAreNoMoreRules(t *testing.T) {
	for seed := range uint64(25) {
		a := four(seed)
		six := edit(a, func(r rules.Rule) []rules.Rule {
			m := sides(r.Match, func(x rules.AddrRange) []rules.AddrRange {
				return []rules.AddrRange{{Lo: inSix(x.Lo), Hi: inSix(x.Hi)}}
			})
			m.Family = ""
			m.Services = slices.Clone(m.Services)
			for i, s := range m.Services {
				m.Services[i].Ranges = nil
				for _, x := range s.Ranges {
					m.Services[i].Ranges = append(m.Services[i].Ranges, rules.ServiceRange{Lo: swapped(x.Lo), Hi: swapped(x.Hi)})
				}
			}
			r.Match = m
			return []rules.Rule{r}
		})
		six.Families = []flow.Family{flow.IPv6}
		both, err := rules.Merge(a, six)
		if err != nil {
			t.Fatal(err)
		}
		x, err1 := Infer(a, "FORWARD")
		y, err2 := Infer(both, "FORWARD")
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if len(x.Policy.Rules) != len(y.Policy.Rules) || x.Minimal != y.Minimal {
			t.Errorf("seed %d: %d rules, minimal %t; with IPv6 %d, %t\n%s\n%s", seed, len(x.Policy.Rules), x.Minimal, len(y.Policy.Rules), y.Minimal, text(x), text(y))
		}
		m, err1 := MatrixOf(both, "FORWARD", flow.Single(flow.TCP, 443), flow.IPv4)
		n, err2 := MatrixOf(both, "FORWARD", flow.Single(flow.TCP, 443), flow.IPv6)
		if err1 != nil || err2 != nil || len(m.Edges) > len(n.Edges) {
			t.Errorf("seed %d: %v %v: %d edges in IPv4, %d in IPv6", seed, err1, err2, len(m.Edges), len(n.Edges))
		}
	}
}

// swapped is a service with ICMP and ICMPv6 exchanged.
func swapped(s rules.Service) rules.Service {
	switch s.Proto() {
	case flow.ICMP:
		return rules.ServiceOf(flow.ICMPv6, s.Port())
	case flow.ICMPv6:
		return rules.ServiceOf(flow.ICMP, s.Port())
	}
	return s
}
