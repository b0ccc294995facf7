package infer

import (
	"math/bits"
	"strconv"

	"weir/phases/policy/rules"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Complexity is how much a person has to read, after LISA '07: for each rule
// one and the items that it lists (a wildcard is none, a range one, a
// complement of n items 1 + n, a named class one), for each named class one and
// its items.
func (p Policy) Complexity() int {
	c := 0
	for _, r := range p.Rules {
		m := r.Match
		n := 1 + len(r.If) + matchItems(m)
		if r.Src != "" {
			n -= addrItems(m.Src) - 1
		}
		if r.Dst != "" {
			n -= addrItems(m.Dst) - 1
		}
		c += n
	}
	for _, x := range p.Classes {
		c += 1 + addrItems([]rules.Addrs{x.Addrs})
	}
	return c
}

// matchItems counts a match whose services are written in groups.
func matchItems(m rules.Match) int {
	n := addrItems(m.Src) + addrItems(m.Dst) + otherItems(m)
	for _, s := range m.Services {
		n += serviceItems(s.Ranges)
		if s.Not {
			n++
		}
	}
	if m.Family != "" {
		n++
	}
	return n
}

func addrItems(list []rules.Addrs) (n int) {
	for _, a := range list {
		if a.Set != "" {
			n++
		} else {
			n += len(a.Ranges)
		}
		if a.Not {
			n++
		}
	}
	return n
}

func otherItems(m rules.Match) int {
	n := len(m.Tests) + stateItems(m.States)
	for _, s := range m.SrcPorts {
		n += len(s.Ranges)
		if s.Not {
			n++
		}
	}
	for _, list := range [][]rules.Interfaces{m.In, m.Out} {
		for _, x := range list {
			n += len(x.Names)
			if x.Not {
				n++
			}
		}
	}
	return n
}

// stateItems counts states, or 1 + those left out where that is less.
func stateItems(s rules.States) int {
	if s == 0 {
		return 0
	}
	n := bits.OnesCount8(uint8(s))
	return min(n, 1+5-n)
}

// ComplexityOf counts the rules of a chain and of all that it jumps to, as they
// are written. Rules that decide nothing (logging, counting) do not count, nor
// do the rules' families.
func ComplexityOf(rs rules.Ruleset, chain string) int {
	total, seen := 0, map[string]bool{}
	var walk func(string)
	walk = func(name string) {
		c := rs.Chain(name)
		if c == nil || seen[name] {
			return
		}
		seen[name] = true
		for _, r := range c.Rules {
			if r.Action == rules.Continue {
				continue
			}
			n := 1 + addrItems(r.Match.Src) + addrItems(r.Match.Dst) + otherItems(r.Match)
			for _, s := range r.Match.Services {
				n += len(s.Ranges)
				if s.Not {
					n++
				}
			}
			total += n
			if r.Action == rules.Jump || r.Action == rules.Goto {
				walk(r.Target)
			}
		}
	}
	walk(chain)
	return total
}
