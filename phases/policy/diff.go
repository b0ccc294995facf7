package policy

import (
	"net/netip"
	"slices"

	"weir/phases/flow"
)

// Equal says whether two policies allow the same flows, in the named groups or
// in all.
func Equal(a, b Policy, groups ...string) bool {
	return Within(a, b, groups...) && Within(b, a, groups...)
}

// Within says whether everything that a allows b allows too, in the named
// groups or in all. It ends at the first flow that it finds.
func Within(a, b Policy, groups ...string) bool {
	want := func(box Box) bool { return len(groups) == 0 || slices.Contains(groups, box.Group) }
	x, y := split(a, want), split(b, want)
	for s, cells := range x {
		all := everywhere[s.fam]
		if exceeds(cell{all, all, 0, s.proto.Max()}, without(cells, y[s]), y[s]) {
			return false
		}
	}
	return true
}

// Diff returns the flows that only one of two policies allows, in the named
// groups or in all: exact, sorted, in few boxes, of which some may overlap.
//
// It is plain box subtraction: the space is halved along the server, then the
// client, then the service until one policy covers all of a part or has
// nothing in it.
func Diff(a, b Policy, groups ...string) (onlyA, onlyB []Box) {
	want := func(box Box) bool { return len(groups) == 0 || slices.Contains(groups, box.Group) }
	x, y := split(a, want), split(b, want)
	return minus(x, y), minus(y, x)
}

// space is what boxes must share to be comparable.
type space struct {
	group string
	fam   flow.Family
	proto flow.Proto
}

// cell is a box without what its space says.
type cell struct {
	client, server netip.Prefix
	lo, hi         uint16
}

func split(p Policy, want func(Box) bool) map[space][]cell {
	type pair struct {
		space
		client, server netip.Prefix
	}
	merged := map[pair][]flow.Service{}
	for _, r := range p.Rules {
		eachBox(r, func(b Box) {
			if want(b) {
				k := pair{space{b.Group, b.Family, b.Service.Proto}, b.Client, b.Server}
				merged[k] = append(merged[k], b.Service)
			}
		})
	}
	out := map[space][]cell{}
	for k, svcs := range merged {
		for _, s := range flow.MergeServices(svcs) {
			out[k.space] = append(out[k.space], cell{k.client, k.server, s.Lo, s.Hi})
		}
	}
	return out
}

func minus(a, b map[space][]cell) []Box {
	var out []Box
	for s, cells := range a {
		all := everywhere[s.fam]
		var parts []cell
		parts = append(parts, subtract(cell{all, all, 0, s.proto.Max()}, without(cells, b[s]), b[s], &parts)...)
		for _, c := range parts {
			out = append(out, Box{s.group, s.fam, c.client, c.server, flow.Service{Proto: s.proto, Lo: c.lo, Hi: c.hi}})
		}
	}
	slices.SortFunc(out, CompareBoxes)
	return slices.Compact(out)
}

// without returns the cells that are not in b as they are.
func without(a, b []cell) []cell {
	same := make(map[cell]bool, len(b))
	for _, c := range b {
		same[c] = true
	}
	var rest []cell
	for _, c := range a {
		if !same[c] {
			rest = append(rest, c)
		}
	}
	return rest
}

// exceeds says whether subtract would find anything.
func exceeds(region cell, a, b []cell) bool {
	a = clip(region, a)
	if len(a) == 0 {
		return false
	}
	region = bound(a)
	b = clip(region, b)
	if len(b) == 0 {
		return true
	}
	left, right := region, region
	for _, c := range b {
		if c == region {
			return false
		}
	}
	for _, c := range b {
		switch {
		case c.server != region.server:
			left.server, right.server = halves(region.server)
		case c.client != region.client:
			left.client, right.client = halves(region.client)
		default:
			continue
		}
		return exceeds(left, a, b) || exceeds(right, a, b)
	}
	for _, c := range a {
		parts := []cell{c}
		for _, d := range b {
			var next []cell
			for _, p := range parts {
				next = append(next, cutService(p, d)...)
			}
			parts = next
		}
		if len(parts) > 0 {
			return true
		}
	}
	return false
}

// subtract finds the part of region that a covers and b does not. Cells whose
// server is all of region's are returned, as they may join with a neighbour's;
// the others go to out.
func subtract(region cell, a, b []cell, out *[]cell) []cell {
	a = clip(region, a)
	if len(a) == 0 {
		return nil
	}
	region = bound(a)
	b = clip(region, b)
	if len(b) == 0 {
		return maximal(a)
	}
	narrowServer, narrowClient := false, false
	for _, c := range b {
		if c == region {
			return nil
		}
		narrowServer = narrowServer || c.server != region.server
		narrowClient = narrowClient || c.client != region.client
	}
	switch {
	case narrowServer:
		left, right := region, region
		left.server, right.server = halves(region.server)
		joined, alone := join(subtract(left, a, b, out), subtract(right, a, b, out),
			left.server, right.server, region.server, func(c *cell) *netip.Prefix { return &c.server })
		*out = append(*out, alone...)
		return joined
	case narrowClient:
		left, right := region, region
		left.client, right.client = halves(region.client)
		joined, alone := join(subtract(left, a, b, out), subtract(right, a, b, out),
			left.client, right.client, region.client, func(c *cell) *netip.Prefix { return &c.client })
		return append(joined, alone...)
	}
	// every b spans all servers and clients of the region: only services remain
	var rest []cell
	for _, c := range maximal(a) {
		parts := []cell{c}
		for _, d := range b {
			var next []cell
			for _, p := range parts {
				next = append(next, cutService(p, d)...)
			}
			parts = next
		}
		rest = append(rest, parts...)
	}
	return rest
}

// cutService takes the ports of d out of p.
func cutService(p, d cell) []cell {
	if d.hi < p.lo || p.hi < d.lo {
		return []cell{p}
	}
	var out []cell
	if p.lo < d.lo {
		q := p
		q.hi = d.lo - 1
		out = append(out, q)
	}
	if d.hi < p.hi {
		q := p
		q.lo = d.hi + 1
		out = append(out, q)
	}
	return out
}

// clip returns the parts of cells that are in the region.
func clip(region cell, in []cell) []cell {
	out := make([]cell, 0, min(len(in), 64))
	for _, c := range in {
		if !region.client.Overlaps(c.client) || !region.server.Overlaps(c.server) || c.hi < region.lo || region.hi < c.lo {
			continue
		}
		c.client, c.server = narrower(c.client, region.client), narrower(c.server, region.server)
		c.lo, c.hi = max(c.lo, region.lo), min(c.hi, region.hi)
		out = append(out, c)
	}
	return out
}

func narrower(a, b netip.Prefix) netip.Prefix {
	if a.Bits() >= b.Bits() {
		return a
	}
	return b
}

// bound returns the smallest cell around cells.
func bound(in []cell) cell {
	out := in[0]
	for _, c := range in[1:] {
		out.client, out.server = around(out.client, c.client), around(out.server, c.server)
		out.lo, out.hi = min(out.lo, c.lo), max(out.hi, c.hi)
	}
	return out
}

// around returns the longest prefix that contains both.
func around(a, b netip.Prefix) netip.Prefix {
	if a.Bits() > b.Bits() {
		a, b = b, a
	}
	for !a.Contains(b.Addr()) {
		a = netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked()
	}
	return a
}

func halves(p netip.Prefix) (netip.Prefix, netip.Prefix) {
	b := p.Addr().AsSlice()
	b[p.Bits()/8] |= 1 << (7 - p.Bits()%8)
	upper, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(upper, p.Bits()+1)
}

// join puts two halves together: what is in both becomes one, the rest stands
// alone.
func join(left, right []cell, l, r, whole netip.Prefix, of func(*cell) *netip.Prefix) (joined, alone []cell) {
	if len(left) == 0 || len(right) == 0 {
		return nil, append(left, right...)
	}
	twins := make(map[cell]bool, len(right))
	for _, c := range right {
		if *of(&c) == r {
			twins[c] = false
		}
	}
	for _, c := range left {
		t := c
		*of(&t) = r
		if _, ok := twins[t]; ok && *of(&c) == l {
			twins[t] = true
			*of(&c) = whole
			joined = append(joined, c)
			continue
		}
		alone = append(alone, c)
	}
	for _, c := range right {
		if !twins[c] {
			alone = append(alone, c)
		}
	}
	return joined, alone
}

// pairwise is the number of cells up to which all pairs are compared.
const pairwise = 256

// maximal drops cells that another contains.
func maximal(in []cell) []cell {
	if len(in) > pairwise {
		seen := make(map[cell]bool, len(in))
		return slices.DeleteFunc(in, func(c cell) bool {
			dup := seen[c]
			seen[c] = true
			return dup
		})
	}
	var out []cell
	for i, c := range in {
		covered := false
		for j, d := range in {
			if i != j && covers(d, c) && (c != d || j < i) {
				covered = true
				break
			}
		}
		if !covered {
			out = append(out, c)
		}
	}
	return out
}

func covers(a, b cell) bool {
	return a.lo <= b.lo && b.hi <= a.hi &&
		a.client.Bits() <= b.client.Bits() && a.client.Contains(b.client.Addr()) &&
		a.server.Bits() <= b.server.Bits() && a.server.Contains(b.server.Addr())
}
