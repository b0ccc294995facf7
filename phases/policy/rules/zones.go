package rules

import (
	"slices"
	"strings"
)

// Zones says which sources packets of an interface have: what anti-spoofing
// makes certain. A name stands for itself alone, not for a wildcard.
type Zones map[string][]AddrRange

// Sources returns the ruleset with each question about the incoming interface
// put as one about the source, where all interfaces that it names are in the
// zones; a wildcard is all zones that it has. Others are left as they are.
func (z Zones) Sources(rs Ruleset) Ruleset {
	out := rs
	out.Chains = nil
	for _, c := range rs.Chains {
		x := *c
		x.Rules = slices.Clone(c.Rules)
		for i := range x.Rules {
			m := &x.Rules[i].Match
			in := m.In
			m.In, m.Src = nil, slices.Clone(m.Src)
			for _, q := range in {
				if ranges, ok := z.of(q); ok {
					m.Src = append(m.Src, Addrs{Ranges: ranges, Not: q.Not})
				} else {
					m.In = append(m.In, q)
				}
			}
		}
		out.Chains = append(out.Chains, &x)
	}
	return out
}

func (z Zones) of(q Interfaces) (out []AddrRange, ok bool) {
	for _, n := range q.Names {
		found := false
		p, wild := strings.CutSuffix(n, "+")
		for name, ranges := range z {
			if name == n || wild && strings.HasPrefix(name, p) {
				out, found = append(out, ranges...), true
			}
		}
		if !found {
			return nil, false
		}
	}
	return out, true
}
