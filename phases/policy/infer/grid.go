package infer

import (
	"math/bits"

	"weir/phases/flow"
	"weir/phases/policy/diagram"
)

// grid is a set of packets of one family, cut into classes: values of a
// dimension that the set does not tell apart (equal cofactors) are one class.
type grid struct {
	space *diagram.Space
	fam   flow.Family
	dims  []gridDim
	atoms []int // number of classes in each dimension
	f     *diagram.Forest
	root  diagram.Node    // the set: value 1
	pins  []*diagram.Node // held by callers; see tidy
	dense []denseNode
	top   int32 // root within dense
	stamp []uint32
	now   uint32
}

type gridDim struct {
	exists  []bool           // atoms that packets of the family can have
	classes [][]uint32       // class → its atoms
	of      map[uint32]int32 // atom → its class
}

// denseNode is a node with one child for each class; children below 0 are
// terminals: no (-1) and yes (-2).
type denseNode struct {
	dim  int
	kids []int32
}

const no, yes int32 = -1, -2

// newGrid reduces a set (value 1 inside, None elsewhere) to one family.
func newGrid(space *diagram.Space, from *diagram.Forest, set diagram.Node, fam flow.Family) (*grid, error) {
	g := &grid{space: space, fam: fam, f: diagram.NewForest(0), dims: make([]gridDim, space.FirstTest())}
	class := make([][]int32, len(g.dims))
	for d := range g.dims {
		n := space.Dims[d].Atoms()
		g.dims[d].exists = make([]bool, n)
		class[d] = make([]int32, n)
		for a := range n {
			if exists(space, d, uint32(a), fam) {
				g.dims[d].exists[a] = true
			} else {
				class[d][a] = -1
			}
		}
	}
	return g, g.fromClasses(from, set, class)
}

// fromClasses finds the classes of a set and rebuilds it over them. class has
// 0 for each atom that exists, and -1 for the others.
func (g *grid) fromClasses(from *diagram.Forest, set diagram.Node, class [][]int32) error {
	g.refine(from, set, class)
	for d := range g.dims {
		g.dims[d].of = map[uint32]int32{}
		seen := map[int32]int32{}
		for a, c := range class[d] {
			if c < 0 {
				continue
			}
			i, ok := seen[c]
			if !ok {
				i = int32(len(g.dims[d].classes))
				seen[c] = i
				g.dims[d].classes = append(g.dims[d].classes, nil)
			}
			g.dims[d].classes[i] = append(g.dims[d].classes[i], uint32(a))
			g.dims[d].of[uint32(a)] = i
		}
		g.atoms = append(g.atoms, len(g.dims[d].classes))
	}
	var err error
	if g.root, err = g.reduce(from, set, map[diagram.Node]diagram.Node{}); err != nil {
		return err
	}
	g.top = g.thicken(g.root, map[diagram.Node]int32{})
	g.stamp = make([]uint32, len(g.dense))
	return nil
}

// exists says whether packets of a family can have an atom.
func exists(s *diagram.Space, d int, a uint32, fam flow.Family) bool {
	switch k := s.Dims[d].Kind; k {
	case diagram.Src, diagram.Dst:
		x := s.Family(k, fam)
		return x.Lo <= a && a <= x.Hi
	case diagram.Service:
		p := s.Services(a).Lo.Proto()
		return p.Fits(fam)
	}
	return true
}

// refine splits classes until no node of the diagram tells two of one apart.
func (g *grid) refine(from *diagram.Forest, set diagram.Node, class [][]int32) {
	count := make([]int32, len(class))
	for d := range count {
		count[d] = 1
	}
	seen := map[diagram.Node]bool{}
	var walk func(diagram.Node)
	walk = func(n diagram.Node) {
		if _, leaf := n.Value(); leaf || seen[n] {
			return
		}
		seen[n] = true
		d := from.Dim(n)
		type key struct {
			class int32
			child diagram.Node
		}
		split := map[key]int32{}
		taken := map[int32]bool{}
		from.Each(n, func(lo, hi uint32, child diagram.Node) {
			reached := false
			for a := lo; a <= hi; a++ {
				c := class[d][a]
				if c < 0 {
					continue
				}
				reached = true
				k := key{c, child}
				x, ok := split[k]
				if !ok {
					if x = c; taken[c] {
						x = count[d]
						count[d]++
					}
					taken[c] = true
					split[k] = x
				}
				class[d][a] = x
			}
			if reached {
				walk(child)
			}
		})
	}
	walk(set)
}

// reduce rebuilds the diagram over classes.
func (g *grid) reduce(from *diagram.Forest, n diagram.Node, done map[diagram.Node]diagram.Node) (diagram.Node, error) {
	if v, leaf := n.Value(); leaf {
		if v != 1 {
			return diagram.None, nil
		}
		return n, nil
	}
	if m, ok := done[n]; ok {
		return m, nil
	}
	d := from.Dim(n)
	at := make([]diagram.Node, g.atoms[d])
	from.Each(n, func(lo, hi uint32, child diagram.Node) {
		for c, atoms := range g.dims[d].classes {
			if lo <= atoms[0] && atoms[0] <= hi {
				at[c] = child
			}
		}
	})
	runs := make([]diagram.Run, len(at))
	for c, child := range at {
		m, err := g.reduce(from, child, done)
		if err != nil {
			return 0, err
		}
		runs[c] = diagram.Run{Hi: uint32(c), Child: m}
	}
	m, err := g.f.Decide(d, runs)
	done[n] = m
	return m, err
}

func (g *grid) thicken(n diagram.Node, done map[diagram.Node]int32) int32 {
	if v, leaf := n.Value(); leaf {
		return no - int32(v)
	}
	if m, ok := done[n]; ok {
		return m
	}
	d := g.f.Dim(n)
	x := denseNode{d, make([]int32, g.atoms[d])}
	g.f.Each(n, func(lo, hi uint32, child diagram.Node) {
		m := g.thicken(child, done)
		for c := lo; c <= hi; c++ {
			x.kids[c] = m
		}
	})
	g.dense = append(g.dense, x)
	done[n] = int32(len(g.dense) - 1)
	return done[n]
}

// has says whether a cell is in the set.
func (g *grid) has(x []uint32) bool {
	n := g.top
	for n >= 0 {
		n = g.dense[n].kids[x[g.dense[n].dim]]
	}
	return n == yes
}

// bitset is a set of classes.
type bitset []uint64

func (b bitset) has(i uint32) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) add(i uint32)      { b[i/64] |= 1 << (i % 64) }

func (b bitset) each(f func(uint32) bool) bool {
	for w, x := range b {
		for ; x != 0; x &= x - 1 {
			if !f(uint32(w*64 + bits.TrailingZeros64(x))) {
				return false
			}
		}
	}
	return true
}

func (b bitset) count() (n int) {
	for _, x := range b {
		n += bits.OnesCount64(x)
	}
	return n
}

// box is a product of sets of classes, one set for each dimension.
type box []bitset

func (g *grid) empty() box {
	b := make(box, len(g.atoms))
	for d, n := range g.atoms {
		b[d] = make(bitset, (n+63)/64)
	}
	return b
}

// within says whether a box is part of the set.
func (g *grid) within(b box) bool {
	g.now++
	var walk func(int32) bool
	walk = func(n int32) bool {
		if n < 0 {
			return n == yes
		}
		if g.stamp[n] == g.now {
			return true
		}
		g.stamp[n] = g.now
		kids := g.dense[n].kids
		return b[g.dense[n].dim].each(func(c uint32) bool { return walk(kids[c]) })
	}
	return walk(g.top)
}

// node makes the diagram of a box.
func (g *grid) node(b box) (diagram.Node, error) {
	spans := make([][]diagram.Span, len(b))
	for d := range b {
		if b[d].count() == g.atoms[d] {
			continue
		}
		spans[d] = []diagram.Span{}
		b[d].each(func(c uint32) bool {
			if n := len(spans[d]); n > 0 && spans[d][n-1].Hi+1 == c {
				spans[d][n-1].Hi = c
			} else {
				spans[d] = append(spans[d], diagram.Span{Lo: c, Hi: c})
			}
			return true
		})
	}
	return g.f.Box(spans, g.atoms, 1)
}

// hull returns the smallest box around a set of cells.
func (g *grid) hull(n diagram.Node) box {
	b := g.empty()
	type step struct {
		above int
		node  diagram.Node
	}
	seen := map[step]bool{}
	var walk func(above int, n diagram.Node)
	walk = func(above int, n diagram.Node) {
		if n == diagram.None || seen[step{above, n}] {
			return
		}
		seen[step{above, n}] = true
		d := min(g.f.Dim(n), len(g.atoms))
		for free := above + 1; free < d; free++ {
			for c := range g.atoms[free] {
				b[free].add(uint32(c))
			}
		}
		if d == len(g.atoms) {
			return
		}
		g.f.Each(n, func(lo, hi uint32, child diagram.Node) {
			if child == diagram.None {
				return
			}
			for c := lo; c <= hi; c++ {
				b[d].add(c)
			}
			walk(d, child)
		})
	}
	walk(-1, n)
	return b
}

// cells calls yield with the cells of a set, in order, until it returns false.
// The slice is reused.
func (g *grid) cells(n diagram.Node, yield func([]uint32) bool) {
	x := make([]uint32, len(g.atoms))
	var walk func(d int, n diagram.Node) bool
	walk = func(d int, n diagram.Node) bool {
		if n == diagram.None {
			return true
		}
		if d == len(x) {
			return yield(x)
		}
		if g.f.Dim(n) > d {
			for c := range g.atoms[d] {
				x[d] = uint32(c)
				if !walk(d+1, n) {
					return false
				}
			}
			return true
		}
		more := true
		g.f.Each(n, func(lo, hi uint32, child diagram.Node) {
			for c := lo; c <= hi && more && child != diagram.None; c++ {
				x[d] = c
				more = walk(d+1, child)
			}
		})
		return more
	}
	walk(0, n)
}

// count returns how many cells a set has.
func (g *grid) count(n diagram.Node) float64 {
	memo := map[diagram.Node]float64{}
	var walk func(diagram.Node) float64
	free := func(from, to int) float64 {
		v := 1.0
		for ; from < to; from++ {
			v *= float64(g.atoms[from])
		}
		return v
	}
	dim := func(n diagram.Node) int { return min(g.f.Dim(n), len(g.atoms)) }
	walk = func(n diagram.Node) float64 {
		if v, leaf := n.Value(); leaf {
			return float64(v)
		}
		if v, ok := memo[n]; ok {
			return v
		}
		sum := 0.0
		g.f.Each(n, func(lo, hi uint32, child diagram.Node) {
			sum += float64(hi-lo+1) * walk(child) * free(dim(n)+1, dim(child))
		})
		memo[n] = sum
		return sum
	}
	return walk(n) * free(0, dim(n))
}
