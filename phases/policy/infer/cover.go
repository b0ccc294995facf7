package infer

import (
	"errors"
	"math/rand/v2"
	"slices"

	"weir/phases/policy/diagram"
)

// most is how many cells one search looks at. Beyond it the cover is still
// exact, but it may not be proven minimal.
const most = 1 << 18

// errTooMany is returned by cover when there are more boxes than are worth
// while.
var errTooMany = errors.New("more boxes than the limit")

// pin keeps a node that a caller holds across tidy; the function returned ends
// that.
func (g *grid) pin(n *diagram.Node) func() {
	g.pins = append(g.pins, n)
	return func() { g.pins = g.pins[:len(g.pins)-1] }
}

// tidy frees what no pinned node needs, where that is much.
func (g *grid) tidy() {
	if _, edges := g.f.Size(); edges < 4<<20 {
		return
	}
	var keep []diagram.Node
	for _, n := range g.pins {
		keep = append(keep, *n)
	}
	for i, n := range g.f.Keep(keep...) {
		*g.pins[i] = n
	}
}

// cover finds few boxes whose union is the grid's set, and a bound below which
// no number of boxes can be.
//
// Forced boxes come first: for a cell x, all boxes that contain x lie in the
// product of the lines through x. Where the bounding box of all uncovered
// cells of that product is allowed, some best cover has it. The cells x so
// found share no box with one another, so they are as many as the bound.
//
// limit is the number of boxes above which it gives up with errTooMany; 0 is
// none.
func (g *grid) cover(limit int) (boxes []box, bound int, err error) {
	left := g.root
	defer g.pin(&left)()
	if boxes, err = g.forced(&left, limit); err != nil {
		return nil, 0, err
	}
	bound = len(boxes)
	if left == diagram.None {
		return boxes, bound, nil
	}
	bound += g.apart(left)
	forced := len(boxes)
	var rest []box
	r := rand.New(rand.NewPCG(1, 1))
	for try := range rounds {
		list, err := g.greedy(left, r, try, limit)
		if err != nil {
			return nil, 0, err
		}
		if list, err = g.shake(&left, list, r); err != nil {
			return nil, 0, err
		}
		if rest == nil || len(list) < len(rest) {
			rest = list
		}
		if forced+len(rest) == bound || try >= tries(len(rest)) {
			break
		}
	}
	return append(boxes, rest...), bound, nil
}

// rounds is how often the search begins anew, at most; tries is how often for a
// number of boxes, so that the work is bounded.
const rounds = 6

func tries(boxes int) int { return rounds * 20 / (boxes + 20) }

// lines returns the product of the lines through a cell: for each dimension the
// classes that x may take there without leaving the set.
func (g *grid) lines(x []uint32) box {
	b := g.empty()
	y := slices.Clone(x)
	for d, n := range g.atoms {
		if n == 1 {
			b[d].add(0)
			continue
		}
		for c := range n {
			if y[d] = uint32(c); g.has(y) {
				b[d].add(y[d])
			}
		}
		y[d] = x[d]
	}
	return b
}

func (b box) key() string {
	var k []byte
	for _, s := range b {
		for _, w := range s {
			k = append(k, byte(w), byte(w>>8), byte(w>>16), byte(w>>24), byte(w>>32), byte(w>>40), byte(w>>48), byte(w>>56))
		}
	}
	return string(k)
}

// forced takes forced boxes out of left until there are none.
func (g *grid) forced(left *diagram.Node, limit int) (boxes []box, err error) {
	without := func(b box) error {
		n, err := g.node(b)
		if err != nil {
			return err
		}
		if boxes = append(boxes, b); limit > 0 && len(boxes) > limit {
			return errTooMany
		}
		*left, err = g.f.Without(*left, n)
		g.tidy()
		return err
	}
	failed := map[string]bool{}
	for progress := true; progress && *left != diagram.None; {
		progress = false
		var sample [][]uint32
		g.cells(*left, func(x []uint32) bool {
			sample = append(sample, slices.Clone(x))
			return len(sample) < most
		})
		// whole products of lines first: the cheap test
		for _, x := range sample {
			if g.at(*left, x) == 0 {
				continue
			}
			b := g.lines(x)
			k := b.key()
			if failed[k] {
				continue
			}
			if !g.within(b) {
				failed[k] = true
				continue
			}
			if err := without(b); err != nil {
				return nil, err
			}
			progress = true
		}
		if *left == diagram.None {
			break
		}
		// then the uncovered part of the product
		tried := map[string]bool{}
		for _, x := range sample {
			if g.at(*left, x) == 0 {
				continue
			}
			b := g.lines(x)
			if k := b.key(); tried[k] {
				continue
			} else {
				tried[k] = true
			}
			n, err := g.node(b)
			if err != nil {
				return nil, err
			}
			if n, err = g.f.Within(*left, n); err != nil {
				return nil, err
			}
			h := g.hull(n)
			if !g.within(h) {
				if h = g.partners(x, n); h == nil {
					continue
				}
			}
			if err := without(g.prime(h, nil)); err != nil {
				return nil, err
			}
			clear(tried)
			progress = true
		}
	}
	return boxes, nil
}

// partners returns the bounding box of the cells of n that share a box with x,
// looked at one by one, or nil where it is not allowed or there are too many.
func (g *grid) partners(x []uint32, n diagram.Node) box {
	if g.count(n) > 2000 {
		return nil
	}
	h := g.empty()
	for d := range x {
		h[d].add(x[d])
	}
	g.cells(n, func(y []uint32) bool {
		if g.share(x, y) {
			for d := range y {
				h[d].add(y[d])
			}
		}
		return true
	})
	if !g.within(h) {
		return nil
	}
	return h
}

// share says whether some allowed box holds two cells.
func (g *grid) share(x, y []uint32) bool {
	b := g.empty()
	for d := range x {
		b[d].add(x[d])
		b[d].add(y[d])
	}
	return g.within(b)
}

func (g *grid) at(n diagram.Node, x []uint32) uint32 { return g.f.At(n, diagram.Point(x)) }

// prime grows a box until it cannot grow, along the dimensions in an order.
func (g *grid) prime(b box, order []int) box {
	out := make(box, len(b))
	for d := range b {
		out[d] = slices.Clone(b[d])
	}
	if order == nil {
		for d := range b {
			order = append(order, d)
		}
	}
	for _, d := range order {
		out[d] = g.widest(out, d)
	}
	return out
}

// widest returns all classes of dimension d with which the box stays allowed.
func (g *grid) widest(b box, d int) bitset {
	all := make(bitset, len(b[d]))
	old := b[d]
	for c := range g.atoms[d] {
		if old.has(uint32(c)) {
			all.add(uint32(c))
			continue
		}
		one := make(bitset, len(old))
		one.add(uint32(c))
		b[d] = one
		if g.within(b) {
			all.add(uint32(c))
		}
	}
	b[d] = old
	return all
}
