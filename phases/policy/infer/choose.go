package infer

import (
	"net/netip"

	"weir/phases/flow"
	"weir/phases/policy/diagram"
	"weir/phases/policy/rules"
)

// need and may are atoms of one dimension: what a rule must have there, and
// what it may have beyond without allowing more. choose picks the set between
// them that is the least to write.

// marks returns the atoms of classes.
func (g *grid) marks(d int, classes bitset) []bool {
	out := make([]bool, g.space.Dims[d].Atoms())
	classes.each(func(c uint32) bool {
		for _, a := range g.dims[d].classes[c] {
			out[a] = true
		}
		return true
	})
	return out
}

// full says whether a set has every atom that exists.
func (g *grid) full(d int, set []bool) bool {
	for a, e := range g.dims[d].exists {
		if e && !set[a] {
			return false
		}
	}
	return true
}

// not returns the atoms that exist outside a set.
func (g *grid) not(d int, set []bool) []bool {
	out := make([]bool, len(set))
	for a, e := range g.dims[d].exists {
		out[a] = e && !set[a]
	}
	return out
}

// fill returns need, and the gaps between its parts that lie within may.
func (g *grid) fill(d int, need, may []bool) []bool {
	out := append([]bool(nil), need...)
	last := -1
	for a := range need {
		if !need[a] {
			continue
		}
		ok := last >= 0 && a-last > 1
		for x := last + 1; ok && x < a; x++ {
			ok = may[x]
		}
		if ok && (g.space.Dims[d].Kind != diagram.Service || g.space.Services(uint32(last)).Lo.Proto() == g.space.Services(uint32(a)).Lo.Proto()) {
			for x := last + 1; x < a; x++ {
				out[x] = true
			}
		}
		last = a
	}
	return out
}

func (g *grid) addrs(d int, set []bool) (out []rules.AddrRange) {
	for a, in := range set {
		if !in {
			continue
		}
		r := g.space.Addrs(g.space.Dims[d].Kind, uint32(a))
		if n := len(out); n > 0 && out[n-1].Hi.Next() == r.Lo {
			out[n-1].Hi = r.Hi
			continue
		}
		out = append(out, r)
	}
	return out
}

// rounded widens each range to the smallest prefix around it, where may has
// all of that: it is easier to read.
func (g *grid) rounded(d int, set, may []bool) []bool {
	out := append([]bool(nil), set...)
	for _, r := range g.addrs(d, set) {
		bits := r.Lo.BitLen()
		p := rules.PrefixRange(netip.PrefixFrom(r.Lo, bits))
		for bits > 0 && !p.Contains(r.Hi) {
			bits--
			p = rules.PrefixRange(netip.PrefixFrom(r.Lo, bits))
		}
		var inside []int
		fits := p != r
		for a := range set {
			x := g.space.Addrs(g.space.Dims[d].Kind, uint32(a))
			if !p.Contains(x.Lo) && !p.Contains(x.Hi) && !x.Contains(p.Lo) {
				continue
			}
			inside = append(inside, a)
			fits = fits && may[a] && p.Contains(x.Lo) && p.Contains(x.Hi)
		}
		for _, a := range inside {
			out[a] = out[a] || fits
		}
	}
	return out
}

func (g *grid) chooseAddrs(d int, need, may []bool) []rules.Addrs {
	if g.full(d, may) {
		return nil
	}
	list := g.addrs(d, g.rounded(d, g.fill(d, need, may), may))
	if but := g.addrs(d, g.not(d, may)); len(but)+1 <= len(list) {
		return []rules.Addrs{{Ranges: but, Not: true}}
	}
	return []rules.Addrs{{Ranges: list}}
}

func (g *grid) services(set []bool) (out []rules.ServiceRange) {
	for a, in := range set {
		if in {
			out = append(out, g.space.Services(uint32(a)))
		}
	}
	return tidyServices(out)
}

func (g *grid) chooseServices(d int, need, may []bool) []rules.Services {
	if g.full(d, may) {
		return nil
	}
	best := g.services(g.fill(d, need, may))
	if w := g.services(g.fill(d, g.wholes(need, may), may)); serviceItems(w) < serviceItems(best) {
		best = w
	}
	if but := g.services(g.not(d, may)); serviceItems(but)+1 < serviceItems(best) {
		return []rules.Services{{Ranges: but, Not: true}}
	}
	return []rules.Services{{Ranges: best}}
}

// wholes widens protocols of need to all their ports where may has them.
func (g *grid) wholes(need, may []bool) []bool {
	out := append([]bool(nil), need...)
	lacks := map[flow.Proto]bool{}
	wants := map[flow.Proto]bool{}
	for a := range need {
		r := g.space.Services(uint32(a))
		for p := r.Lo.Proto(); ; p++ {
			wants[p] = wants[p] || need[a]
			lacks[p] = lacks[p] || !may[a]
			if p == r.Hi.Proto() {
				break
			}
		}
	}
	for a := range need {
		if r := g.space.Services(uint32(a)); r.Lo.Proto() == r.Hi.Proto() && wants[r.Lo.Proto()] && !lacks[r.Lo.Proto()] {
			out[a] = true
		}
	}
	return out
}

func (g *grid) choosePorts(d int, need, may []bool) []rules.Ports {
	if g.full(d, may) {
		return nil
	}
	of := func(set []bool) (out []rules.PortRange) {
		for a, in := range set {
			if in {
				out = append(out, g.space.SrcPorts(uint32(a)))
			}
		}
		return tidyPorts(out)
	}
	list := of(g.fill(d, need, may))
	if but := of(g.not(d, may)); len(but)+1 <= len(list) {
		return []rules.Ports{{Ranges: but, Not: true}}
	}
	return []rules.Ports{{Ranges: list}}
}

func (g *grid) chooseStates(d int, need, may []bool) (s rules.States) {
	if g.full(d, may) {
		return 0
	}
	for a, in := range need {
		if in {
			s |= 1 << a
		}
	}
	return s
}

// chooseInterfaces returns the pieces that a set of interfaces is: each one a
// conjunction. nil is one piece of all.
func (g *grid) chooseInterfaces(d int, need, may []bool) [][]rules.Interfaces {
	if g.full(d, may) {
		return [][]rules.Interfaces{nil}
	}
	a, b := g.pieces(d, need), g.pieces(d, may)
	if weight(b) < weight(a) {
		return b
	}
	return a
}

func weight(pieces [][]rules.Interfaces) (n int) {
	for _, p := range pieces {
		n += 10
		for _, x := range p {
			n += len(x.Names)
			if x.Not {
				n++
			}
		}
	}
	return n
}

// pieces writes a set of atoms by the names and wildcards of the rules: plain
// names in one piece, and a piece for each wildcard with exceptions.
func (g *grid) pieces(d int, set []bool) (out [][]rules.Interfaces) {
	kind := g.space.Dims[d].Kind
	names := append([]string{"+"}, g.space.Names(kind)...)
	// inner[i] is the names within name i; own says whether its own part is in the set
	within := func(i, j int) bool {
		a, b := g.space.Named(kind, names[i]), g.space.Named(kind, names[j])
		return i != j && b.Lo <= a.Lo && a.Hi <= b.Hi && (a != b || i > j)
	}
	own := make([]bool, len(names))
	for j := range names {
		s := g.space.Named(kind, names[j])
		for a := s.Lo; a <= s.Hi; a++ {
			inner := false
			for i := range names {
				if within(i, j) {
					x := g.space.Named(kind, names[i])
					inner = inner || x.Lo <= a && a <= x.Hi
				}
			}
			if !inner {
				own[j] = set[a]
				break
			}
		}
	}
	parent := func(i int) int {
		best := -1
		for j := range names {
			if within(i, j) && (best < 0 || within(j, best)) {
				best = j
			}
		}
		return best
	}
	var plain []string
	for i := range names {
		if p := parent(i); !own[i] || p >= 0 && own[p] {
			continue
		}
		var but []string
		for j := range names {
			if p := parent(j); within(j, i) && !own[j] && own[p] && connected(j, i, own, parent) {
				but = append(but, names[j])
			}
		}
		switch {
		case len(but) == 0:
			plain = append(plain, names[i])
		case names[i] == "+":
			out = append(out, []rules.Interfaces{{Names: but, Not: true}})
		default:
			out = append(out, []rules.Interfaces{{Names: names[i : i+1]}, {Names: but, Not: true}})
		}
	}
	if plain != nil {
		out = append(out, []rules.Interfaces{{Names: plain}})
	}
	return out
}

// connected says whether every name between j and i is in the set.
func connected(j, i int, own []bool, parent func(int) int) bool {
	for p := parent(j); p != i; p = parent(p) {
		if p < 0 || !own[p] {
			return false
		}
	}
	return true
}
