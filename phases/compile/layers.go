package compile

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"

	"weir/phases/flow"
)

// layers drops the boxes that another contains and colours the rest so that no
// two of one layer overlap: the kernel takes no overlapping elements in one
// set of ranges.
//
// Prefixes are nested or disjoint. In the order (server, client), wider first,
// every box that could contain a later one has come before it, and what
// overlaps it has a server prefix that is the same or wider.
func layers(boxes []box) [][]box {
	boxes = mergeServices(boxes)
	slices.SortFunc(boxes, compareBoxes)
	byDst := map[netip.Prefix]*column{}
	var dstBits []int // lengths of server prefixes seen so far, -1 for "any"
	var out [][]box
	for _, b := range boxes {
		var taken []bool
		contained := false
		for _, bits := range dstBits {
			if bits > b.dst.Bits() {
				continue
			}
			key := netip.Prefix{}
			if bits >= 0 {
				key = netip.PrefixFrom(b.dst.Addr(), bits).Masked()
			}
			col := byDst[key]
			if col == nil {
				continue
			}
			col.overlaps(b, func(o coloured) bool {
				if contains(o.box, b) {
					contained = true
					return false
				}
				for len(taken) <= o.layer {
					taken = append(taken, false)
				}
				taken[o.layer] = true
				return true
			})
			if contained {
				break
			}
		}
		if contained {
			continue
		}
		layer := slices.Index(taken, false)
		if layer < 0 {
			layer = len(taken)
		}
		for len(out) <= layer {
			out = append(out, nil)
		}
		out[layer] = append(out[layer], b)
		col := byDst[b.dst]
		if col == nil {
			col = &column{ranges: map[netip.Prefix][2]int{}}
			byDst[b.dst] = col
			if !slices.Contains(dstBits, b.dst.Bits()) {
				dstBits = append(dstBits, b.dst.Bits())
			}
		}
		col.add(coloured{b, layer})
	}
	return out
}

// coloured is a box with its layer.
type coloured struct {
	box
	layer int
}

// column holds the boxes of one server prefix in order of their clients.
type column struct {
	boxes  []coloured
	ranges map[netip.Prefix][2]int // client prefix → where its boxes stand
	bits   []int                   // lengths of client prefixes
}

func (c *column) add(b coloured) {
	r, ok := c.ranges[b.src]
	if !ok {
		r[0] = len(c.boxes)
		if !slices.Contains(c.bits, b.src.Bits()) {
			c.bits = append(c.bits, b.src.Bits())
		}
	}
	c.boxes = append(c.boxes, b)
	r[1] = len(c.boxes)
	c.ranges[b.src] = r
}

// overlaps calls f with each box that overlaps b until f returns false.
func (c *column) overlaps(b box, f func(coloured) bool) {
	visit := func(list []coloured) bool {
		for _, o := range list {
			if o.proto == b.proto && o.lo <= b.hi && b.lo <= o.hi && !f(o) {
				return false
			}
		}
		return true
	}
	for _, bits := range c.bits { // the same client prefix and wider ones
		if bits > b.src.Bits() {
			continue
		}
		key := netip.Prefix{}
		if bits >= 0 {
			key = netip.PrefixFrom(b.src.Addr(), bits).Masked()
		}
		if r, ok := c.ranges[key]; ok && !visit(c.boxes[r[0]:r[1]]) {
			return
		}
	}
	// narrower ones stand together: wider first, then by address
	if !b.src.IsValid() {
		for _, o := range c.boxes {
			if o.src.IsValid() && !visit([]coloured{o}) {
				return
			}
		}
		return
	}
	from := sort.Search(len(c.boxes), func(i int) bool { return comparePrefixes(c.boxes[i].src, b.src) > 0 })
	for _, o := range c.boxes[from:] {
		if !b.src.Contains(o.src.Addr()) {
			return
		}
		if !visit([]coloured{o}) {
			return
		}
	}
}

func contains(a, b box) bool {
	return a.proto == b.proto && a.lo <= b.lo && b.hi <= a.hi && covers(a.src, b.src) && covers(a.dst, b.dst)
}

func covers(a, b netip.Prefix) bool {
	return !a.IsValid() || b.IsValid() && a.Bits() <= b.Bits() && a.Contains(b.Addr())
}

func compareBoxes(a, b box) int {
	return cmp.Or(comparePrefixes(a.dst, b.dst), comparePrefixes(a.src, b.src),
		cmp.Compare(a.proto, b.proto), cmp.Compare(a.lo, b.lo), cmp.Compare(a.hi, b.hi))
}

// comparePrefixes orders by first address, wider first; "any" comes first.
func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// mergeServices joins the ports of boxes with the same addresses.
func mergeServices(boxes []box) []box {
	type pair struct{ src, dst netip.Prefix }
	m := map[pair][]flow.Service{}
	for _, b := range boxes {
		p := pair{b.src, b.dst}
		m[p] = append(m[p], flow.Service{Proto: b.proto, Lo: b.lo, Hi: b.hi})
	}
	out := make([]box, 0, len(boxes))
	for p, svcs := range m {
		for _, s := range flow.MergeServices(svcs) {
			out = append(out, box{p.src, p.dst, s.Proto, s.Lo, s.Hi})
		}
	}
	return out
}
