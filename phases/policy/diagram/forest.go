package diagram

import (
	"errors"
	"slices"
)

// ErrTooLarge is returned when a diagram would need more edges than the
// forest's limit.
var ErrTooLarge = errors.New("cannot build the diagram: it needs more memory than its limit")

// Node is a diagram within a Forest: a terminal or the number of a node. Two
// nodes of a forest are equal exactly if they are the same function. A Node is
// valid until the next Keep that does not keep it.
type Node uint32

const terminal Node = 1 << 31

// None is the terminal of what no rule says anything about, and the empty set.
const None = terminal

// Terminal returns the diagram that has one value everywhere. Terminal(0) is
// None.
func Terminal(v uint32) Node { return terminal | Node(v) }

// Value returns a terminal's value.
func (n Node) Value() (uint32, bool) { return uint32(n &^ terminal), n&terminal != 0 }

// node is a decision; its edges are edges[off : off+n].
type node struct {
	off, n uint32
	dim    uint32
}

// edge leads to child for the atoms up to hi, from one more than the last hi.
type edge struct {
	hi    uint32
	child Node
}

// DefaultLimit is the most edges of a forest, 8 bytes each, where NewForest is
// given none.
const DefaultLimit = 24 << 20

// Forest owns diagrams. The zero value is invalid; see NewForest.
type Forest struct {
	nodes []node
	edges []edge
	table []uint32 // open addressing; number of a node + 1
	cache []entry
	stack []edge // scratch of the operations
	limit int
}

type entry struct {
	a, b, to Node
	op       op
}

// NewForest returns an empty forest of at most limit edges; 0 is DefaultLimit.
func NewForest(limit int) *Forest {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Forest{table: make([]uint32, 1<<12), cache: make([]entry, 1<<12), limit: limit}
}

// Size returns how many nodes and edges the forest holds, garbage included.
func (f *Forest) Size() (nodes, edges int) { return len(f.nodes), len(f.edges) }

// Dim returns the dimension that a node decides; for a terminal a number above
// every dimension.
func (f *Forest) Dim(n Node) int {
	if n&terminal != 0 {
		return 1 << 30
	}
	return int(f.nodes[n].dim)
}

func (f *Forest) out(n Node) []edge {
	x := &f.nodes[n]
	return f.edges[x.off : x.off+x.n]
}

// Each calls yield with a node's runs of atoms and children, in order.
func (f *Forest) Each(n Node, yield func(lo, hi uint32, child Node)) {
	lo := uint32(0)
	for _, e := range f.out(n) {
		yield(lo, e.hi, e.child)
		lo = e.hi + 1
	}
}

// add appends a run to edges under construction, joined with the last one
// where the child is the same.
func add(list []edge, from int, hi uint32, child Node) []edge {
	if n := len(list); n > from && list[n-1].child == child {
		list[n-1].hi = hi
		return list
	}
	return append(list, edge{hi, child})
}

// make returns the node with the given edges. They must cover the dimension
// and differ from their neighbours.
func (f *Forest) make(dim uint32, edges []edge) Node {
	if len(edges) == 1 {
		return edges[0].child
	}
	if 4*len(f.nodes) >= 3*len(f.table) {
		f.grow()
	}
	mask := uint64(len(f.table) - 1)
	for i := hash(dim, edges) & mask; ; i = (i + 1) & mask {
		id := f.table[i]
		if id == 0 {
			if len(f.edges)+len(edges) > f.limit {
				panic(tooLarge{})
			}
			f.nodes = append(f.nodes, node{uint32(len(f.edges)), uint32(len(edges)), dim})
			f.edges = append(f.edges, edges...)
			f.table[i] = uint32(len(f.nodes))
			return Node(len(f.nodes) - 1)
		}
		if x := Node(id - 1); f.nodes[x].dim == dim && same(f.out(x), edges) {
			return x
		}
	}
}

type tooLarge struct{}

// guard turns the panic of make into an error.
func guard(err *error) {
	switch x := recover().(type) {
	case nil:
	case tooLarge:
		*err = ErrTooLarge
	default:
		panic(x)
	}
}

func same(a, b []edge) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func hash(dim uint32, edges []edge) uint64 {
	h := uint64(dim)*0x9e3779b97f4a7c15 + 1
	for _, e := range edges {
		h ^= uint64(e.hi)<<32 | uint64(e.child)
		h *= 0xff51afd7ed558ccd
		h ^= h >> 32
	}
	return h
}

func (f *Forest) grow() {
	f.table = make([]uint32, 2*len(f.table))
	mask := uint64(len(f.table) - 1)
	for id := range f.nodes {
		x := Node(id)
		i := hash(f.nodes[x].dim, f.out(x)) & mask
		for f.table[i] != 0 {
			i = (i + 1) & mask
		}
		f.table[i] = uint32(id + 1)
	}
	if len(f.cache) < len(f.table) && len(f.cache) < 1<<21 {
		f.cache = make([]entry, len(f.table))
	}
}

// Keep frees everything but the diagrams given, and returns their new numbers
// in the same order.
func (f *Forest) Keep(roots ...Node) []Node {
	old := *f
	f.nodes, f.edges, f.stack = nil, nil, old.stack[:0]
	f.table, f.cache = make([]uint32, 1<<12), make([]entry, 1<<12)
	moved := make([]Node, len(old.nodes))
	out := make([]Node, len(roots))
	for i, r := range roots {
		out[i] = f.move(&old, r, moved)
	}
	return out
}

// Import copies a diagram from another forest.
func (f *Forest) Import(from *Forest, n Node) (out Node, err error) {
	defer guard(&err)
	return f.move(from, n, make([]Node, len(from.nodes))), nil
}

// move copies what is reachable from n; moved holds new numbers + 1.
func (f *Forest) move(from *Forest, n Node, moved []Node) Node {
	if n&terminal != 0 {
		return n
	}
	if moved[n] != 0 {
		return moved[n] - 1
	}
	start := len(f.stack)
	for _, e := range from.out(n) {
		c := f.move(from, e.child, moved)
		f.push(start, e.hi, c)
	}
	to := f.make(from.nodes[n].dim, f.stack[start:])
	f.stack = f.stack[:start]
	moved[n] = to + 1
	return to
}

// Values returns the values that a diagram has, in order, without None.
func (f *Forest) Values(n Node) (out []uint32) {
	seen := map[Node]bool{}
	var walk func(Node)
	walk = func(n Node) {
		if n == None || seen[n] {
			return
		}
		seen[n] = true
		if v, leaf := n.Value(); leaf {
			out = append(out, v)
			return
		}
		for _, e := range f.out(n) {
			walk(e.child)
		}
	}
	walk(n)
	slices.Sort(out)
	return out
}
