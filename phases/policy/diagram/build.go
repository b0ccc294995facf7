package diagram

import (
	"slices"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// The values of a diagram built with Outcomes or Allowed.
const (
	Accepted uint32 = 1
	Dropped  uint32 = 2
	Rejected uint32 = 3
	Outside  uint32 = 4 // no packet is so: addresses of two families, ICMP of the other family, a family not judged
)

// Outcomes gives each action its value.
func Outcomes(r rules.FlatRule, _ int) uint32 {
	switch r.Action {
	case rules.Accept:
		return Accepted
	case rules.Drop:
		return Dropped
	}
	return Rejected
}

// Allowed gives Accepted, or Dropped for all that is not: reject is drop.
func Allowed(r rules.FlatRule, _ int) uint32 {
	if r.Action == rules.Accept {
		return Accepted
	}
	return Dropped
}

// Ordinal gives each rule its position plus 16: who matched first.
func Ordinal(_ rules.FlatRule, i int) uint32 { return uint32(i) + 16 }

// Span is the atoms from Lo to Hi, both included.
type Span struct{ Lo, Hi uint32 }

// Build makes the diagram of a first-match list. value gives each rule its
// value, above 0. What cannot be a packet of the families is Outside.
//
// The work is done in a forest of its own, with f's limit, that is freed.
func (s *Space) Build(f *Forest, list []rules.FlatRule, value func(r rules.FlatRule, i int) uint32, families ...flow.Family) (n Node, err error) {
	defer guard(&err)
	w := NewForest(f.limit)
	b := builder{s, w, map[*rules.Except]Node{}}
	work := []Node{b.outside(families)}
	for i, r := range list {
		if err := s.check(r.Match); err != nil {
			return None, err
		}
		n := b.box(r.Match, Terminal(value(r, i)))
		if r.Except != nil {
			n = w.apply(opWithout, n, b.except(r.Except))
		}
		work = append(work, n)
	}
	for kept := 0; len(work) > 1; {
		if len(w.edges) > 2*kept+1<<16 {
			work = w.Keep(work...)
			kept = len(w.edges)
		}
		for i := 0; i+1 < len(work); i += 2 {
			work[i/2] = w.apply(opFirst, work[i], work[i+1])
		}
		if len(work)%2 == 1 {
			work[len(work)/2] = work[len(work)-1]
		}
		work = work[:(len(work)+1)/2]
	}
	return f.move(w, work[0], make([]Node, len(w.nodes))), nil
}

type builder struct {
	s       *Space
	f       *Forest
	excepts map[*rules.Except]Node
}

// except returns the set of what a list of matches has.
func (b *builder) except(e *rules.Except) Node {
	if e == nil {
		return None
	}
	n, ok := b.excepts[e]
	if !ok {
		n = b.f.apply(opUnion, b.except(e.Before), b.box(e.Match, Terminal(1)))
		b.excepts[e] = n
	}
	return n
}

// outside returns the set of what is no packet.
func (b *builder) outside(families []flow.Family) Node {
	fam := func(f flow.Family) rules.Match {
		return rules.Match{Src: familyAddrs[f], Dst: familyAddrs[f]}
	}
	inside := None
	for _, x := range []struct {
		fam  flow.Family
		icmp flow.Proto
	}{{flow.IPv4, flow.ICMPv6}, {flow.IPv6, flow.ICMP}} {
		if len(families) > 0 && !slices.Contains(families, x.fam) {
			continue
		}
		m := fam(x.fam)
		m.Services = []rules.Services{{Ranges: []rules.ServiceRange{rules.Protocol(x.icmp)}, Not: true}}
		inside = b.f.apply(opUnion, inside, b.box(m, Terminal(1)))
	}
	return b.f.apply(opWithout, Terminal(Outside), inside)
}

var familyAddrs = map[flow.Family][]rules.Addrs{
	flow.IPv4: {{Ranges: []rules.AddrRange{rules.PrefixRange(anywhere4)}}},
	flow.IPv6: {{Ranges: []rules.AddrRange{rules.PrefixRange(anywhere6)}}},
}

// Set makes the set of what a match has: value 1, elsewhere None.
func (s *Space) Set(f *Forest, m rules.Match) (n Node, err error) {
	defer guard(&err)
	if err := s.check(m); err != nil {
		return None, err
	}
	b := builder{s, f, nil}
	return b.box(m, Terminal(1)), nil
}

// box makes the diagram that is t where a match holds, and None elsewhere.
func (b *builder) box(m rules.Match, t Node) Node {
	sets := b.s.spans(m)
	for d := len(sets) - 1; d >= 0; d-- {
		t = b.f.branch(uint32(d), sets[d], uint32(b.s.Dims[d].Atoms()), t)
	}
	return t
}

// branch makes the node that is t in the spans, which are in order and apart.
// No spans (nil) is everywhere.
func (f *Forest) branch(dim uint32, spans []Span, atoms uint32, t Node) Node {
	if spans == nil || t == None {
		return t
	}
	from, at := len(f.stack), uint32(0)
	for _, s := range spans {
		if s.Lo > at {
			f.push(from, s.Lo-1, None)
		}
		f.push(from, s.Hi, t)
		at = s.Hi + 1
	}
	if at < atoms {
		f.push(from, atoms-1, None)
	}
	n := f.make(dim, f.stack[from:])
	f.stack = f.stack[:from]
	return n
}

// Box makes the diagram that is value where every dimension's atom is in its
// spans (nil is everywhere), and None elsewhere. atoms are the dimensions'
// sizes.
func (f *Forest) Box(spans [][]Span, atoms []int, value uint32) (n Node, err error) {
	defer guard(&err)
	n = Terminal(value)
	for d := len(spans) - 1; d >= 0; d-- {
		n = f.branch(uint32(d), spans[d], uint32(atoms[d]), n)
	}
	return n, nil
}
