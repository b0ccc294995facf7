package diagram

// op is a function of two terminals that goes point by point.
type op uint8

const (
	opFirst   op = iota + 1 // a, or b where a is None
	opWithout               // a where b is None
	opWithin                // a where b is not None
	opPair                  // both values, as one: a<<4 | b
	opUnion                 // 1 where either is not None
)

// First returns the diagram that is a where a is not None, else b.
func (f *Forest) First(a, b Node) (n Node, err error) { return f.safe(opFirst, a, b) }

// Without returns a outside the set b, and None inside it.
func (f *Forest) Without(a, b Node) (n Node, err error) { return f.safe(opWithout, a, b) }

// Within returns a inside the set b, and None outside it.
func (f *Forest) Within(a, b Node) (n Node, err error) { return f.safe(opWithin, a, b) }

// Union returns the set (value 1) of what is in a or in b.
func (f *Forest) Union(a, b Node) (n Node, err error) { return f.safe(opUnion, a, b) }

// Pair returns the diagram whose value is a's times 16 plus b's. The values
// must be below 16.
func (f *Forest) Pair(a, b Node) (n Node, err error) { return f.safe(opPair, a, b) }

func (f *Forest) safe(o op, a, b Node) (n Node, err error) {
	defer guard(&err)
	return f.apply(o, a, b), nil
}

// settle returns the answer where it needs no descent.
func settle(o op, a, b Node) (Node, bool) {
	both := a&b&terminal != 0
	switch o {
	case opFirst:
		switch {
		case a == None || a == b:
			return b, true
		case a&terminal != 0 || b == None:
			return a, true
		}
	case opWithout:
		switch {
		case a == None || b == None:
			return a, true
		case b&terminal != 0:
			return None, true
		}
	case opWithin:
		switch {
		case a == None || b == None:
			return None, true
		case b&terminal != 0:
			return a, true
		}
	case opUnion:
		switch {
		case a&terminal != 0 && a != None, b&terminal != 0 && b != None:
			return Terminal(1), true
		case both:
			return None, true
		}
	case opPair:
		if both {
			return Terminal(uint32(a&^terminal)<<4 | uint32(b&^terminal)), true
		}
	}
	return 0, false
}

func (f *Forest) apply(o op, a, b Node) Node {
	if n, ok := settle(o, a, b); ok {
		return n
	}
	h := (uint64(a)<<32 | uint64(b)) * 0x9e3779b97f4a7c15
	h ^= h>>29 + uint64(o)*0x85ebca6b
	if e := &f.cache[h&uint64(len(f.cache)-1)]; e.op == o && e.a == a && e.b == b {
		return e.to
	}
	dim := min(f.Dim(a), f.Dim(b))
	from := len(f.stack)
	switch {
	case f.Dim(a) > dim:
		for i := uint32(0); i < f.nodes[b].n; i++ {
			e := f.edges[f.nodes[b].off+i]
			f.push(from, e.hi, f.apply(o, a, e.child))
		}
	case f.Dim(b) > dim:
		for i := uint32(0); i < f.nodes[a].n; i++ {
			e := f.edges[f.nodes[a].off+i]
			f.push(from, e.hi, f.apply(o, e.child, b))
		}
	default:
		for i, j := uint32(0), uint32(0); i < f.nodes[a].n; {
			x, y := f.edges[f.nodes[a].off+i], f.edges[f.nodes[b].off+j]
			f.push(from, min(x.hi, y.hi), f.apply(o, x.child, y.child))
			if x.hi <= y.hi {
				i++
			}
			if y.hi <= x.hi {
				j++
			}
		}
	}
	n := f.make(uint32(dim), f.stack[from:])
	f.stack = f.stack[:from]
	f.cache[h&uint64(len(f.cache)-1)] = entry{a, b, n, o} // the cache may have grown
	return n
}

func (f *Forest) push(from int, hi uint32, child Node) { f.stack = add(f.stack, from, hi, child) }

// Map returns the diagram with each terminal's value changed by a function;
// None is value 0.
func (f *Forest) Map(n Node, change func(uint32) uint32) (out Node, err error) {
	defer guard(&err)
	return f.rewrite(n, map[Node]Node{}, func(t Node) Node { return Terminal(change(uint32(t &^ terminal))) }, nil), nil
}

// Exists returns the set of what has a value other than None for some atom of
// the dimensions for which drop says so: those are projected out.
func (f *Forest) Exists(n Node, drop func(dim int) bool) (out Node, err error) {
	defer guard(&err)
	set := func(t Node) Node {
		if t == None {
			return None
		}
		return Terminal(1)
	}
	return f.rewrite(n, map[Node]Node{}, set, drop), nil
}

func (f *Forest) rewrite(n Node, seen map[Node]Node, leaf func(Node) Node, drop func(int) bool) Node {
	if n&terminal != 0 {
		return leaf(n)
	}
	if m, ok := seen[n]; ok {
		return m
	}
	x := f.nodes[n]
	var m Node
	if drop != nil && drop(int(x.dim)) {
		m = None
		for i := range x.n {
			m = f.apply(opUnion, m, f.rewrite(f.edges[x.off+i].child, seen, leaf, drop))
		}
	} else {
		from := len(f.stack)
		for i := range x.n {
			e := f.edges[x.off+i]
			f.push(from, e.hi, f.rewrite(e.child, seen, leaf, drop))
		}
		m = f.make(x.dim, f.stack[from:])
		f.stack = f.stack[:from]
	}
	seen[n] = m
	return m
}

// Cut returns the diagram over the dimensions below dim: what lies at dim or
// above becomes a terminal, whose value leaf chooses by the node. Two points
// get the same value from equal nodes.
func (f *Forest) Cut(n Node, dim int, leaf func(Node) uint32) (out Node, err error) {
	defer guard(&err)
	seen := map[Node]Node{}
	var walk func(Node) Node
	walk = func(n Node) Node {
		if f.Dim(n) >= dim {
			return Terminal(leaf(n))
		}
		if m, ok := seen[n]; ok {
			return m
		}
		x := f.nodes[n]
		from := len(f.stack)
		for i := range x.n {
			e := f.edges[x.off+i]
			f.push(from, e.hi, walk(e.child))
		}
		m := f.make(x.dim, f.stack[from:])
		f.stack = f.stack[:from]
		seen[n] = m
		return m
	}
	return walk(n), nil
}

// Decide makes a node from runs of atoms: the atoms up to each hi, from one
// more than the last, lead to the child. The runs must cover the dimension.
func (f *Forest) Decide(dim int, runs []Run) (n Node, err error) {
	defer guard(&err)
	from := len(f.stack)
	for _, r := range runs {
		f.push(from, r.Hi, r.Child)
	}
	n = f.make(uint32(dim), f.stack[from:])
	f.stack = f.stack[:from]
	return n, nil
}

// Run is atoms that lead to the same child; see Decide.
type Run struct {
	Hi    uint32
	Child Node
}
