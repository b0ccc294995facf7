package infer

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/diagram"
	"weir/phases/policy/rules"
)

// Matrix is who may reach whom with one service in one family: addresses that
// behave alike, both as sources and as destinations, are one class. What is
// undecided counts as reached, and so does what is reached by some interface
// or some source port. New connections only.
type Matrix struct {
	Service flow.Service
	Family  flow.Family
	Classes [][]rules.AddrRange // in order of their first address
	Edges   [][2]int            // from class, to class; in order
}

// MatrixOf returns the matrix of a hooked chain.
func MatrixOf(rs rules.Ruleset, chain string, svc flow.Service, fam flow.Family) (Matrix, error) {
	if !rs.Judges(fam) {
		return Matrix{}, fmt.Errorf("cannot make a matrix: the ruleset does not judge %s", fam)
	}
	q := rules.Match{Family: fam, States: rules.New, Services: []rules.Services{{Ranges: []rules.ServiceRange{serviceRange(svc)}}}}
	a, err := analyse(rs, chain, q)
	if err != nil {
		return Matrix{}, err
	}
	set, err := a.allowed(q)
	if err != nil {
		return Matrix{}, err
	}
	set, err = a.f.Exists(set, func(d int) bool {
		k := a.space.Dims[d].Kind
		return k != diagram.Src && k != diagram.Dst
	})
	if err != nil {
		return Matrix{}, err
	}
	g, err := newGrid(a.space, a.f, set, fam)
	if err != nil {
		return Matrix{}, err
	}
	return g.matrix(svc), nil
}

// serviceRange is a service as a range; an ICMP type is all its codes.
func serviceRange(s flow.Service) rules.ServiceRange {
	if s.Proto.IsICMP() {
		return rules.PortsOf(s.Proto, s.Lo<<8, s.Hi<<8|255)
	}
	return rules.PortsOf(s.Proto, s.Lo, s.Hi)
}

// allowed returns the set of what is accepted, or may be, of a question.
func (a *analysis) allowed(q rules.Match) (diagram.Node, error) {
	set, err := a.f.Map(a.root, func(v uint32) uint32 {
		if v == diagram.Accepted {
			return 1
		}
		return 0
	})
	if err != nil {
		return 0, err
	}
	b, err := a.space.Set(a.f, q)
	if err != nil {
		return 0, err
	}
	return a.f.Within(set, b)
}

func (g *grid) matrix(svc flow.Service) Matrix {
	m := Matrix{Service: svc, Family: g.fam}
	type piece struct {
		rules.AddrRange
		src, dst int32
	}
	var pieces []piece
	src, dst := g.space.Family(diagram.Src, g.fam), g.space.Family(diagram.Dst, g.fam)
	for s, d := src.Lo, dst.Lo; s <= src.Hi && d <= dst.Hi; {
		a, b := g.space.Addrs(diagram.Src, s), g.space.Addrs(diagram.Dst, d)
		p := piece{a, g.dims[diagram.Src].of[s], g.dims[diagram.Dst].of[d]}
		if b.Lo.Compare(p.Lo) > 0 {
			p.Lo = b.Lo
		}
		if c := a.Hi.Compare(b.Hi); c <= 0 {
			s++
			if c == 0 {
				d++
			}
		} else {
			p.Hi = b.Hi
			d++
		}
		pieces = append(pieces, p)
	}
	at := map[[2]int32]int{}
	var ends [][2]int32
	for _, p := range pieces {
		k := [2]int32{p.src, p.dst}
		i, ok := at[k]
		if !ok {
			i = len(m.Classes)
			at[k] = i
			m.Classes = append(m.Classes, nil)
			ends = append(ends, k)
		}
		if n := len(m.Classes[i]); n > 0 && m.Classes[i][n-1].Hi.Next() == p.Lo {
			m.Classes[i][n-1].Hi = p.Hi
		} else {
			m.Classes[i] = append(m.Classes[i], p.AddrRange)
		}
	}
	x := make([]uint32, len(g.atoms))
	for i, from := range ends {
		for j, to := range ends {
			if x[diagram.Src], x[diagram.Dst] = uint32(from[0]), uint32(to[1]); g.has(x) {
				m.Edges = append(m.Edges, [2]int{i, j})
			}
		}
	}
	slices.SortFunc(m.Edges, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return m
}

// Reaches says whether one class reaches another.
func (m Matrix) Reaches(from, to int) bool { return slices.Contains(m.Edges, [2]int{from, to}) }

// Text writes the classes by letters, and for each whom it reaches.
func (m Matrix) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d classes, %d edges\n", m.Service, m.Family, len(m.Classes), len(m.Edges))
	for i, c := range m.Classes {
		var s []string
		for _, r := range c {
			s = append(s, RangeText(r))
		}
		fmt.Fprintf(&b, "%-4s%s\n", letter(i), strings.Join(s, ", "))
	}
	for i := range m.Classes {
		var to []string
		for _, e := range m.Edges {
			if e[0] == i {
				to = append(to, letter(e[1]))
			}
		}
		if to != nil {
			fmt.Fprintf(&b, "%s -> %s\n", letter(i), strings.Join(to, " "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
