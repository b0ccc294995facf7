package infer

import (
	"weir/phases/policy/diagram"
	"weir/phases/policy/rules"
)

// cut makes the cover's boxes as small as they can be while no cell is lost,
// and writes them as matches with few items each.
func (g *grid) cut(boxes []box) ([]rules.Match, error) {
	var out []rules.Match
	nodes := make([]diagram.Node, len(boxes))
	var err error
	for i, b := range boxes {
		if nodes[i], err = g.node(b); err != nil {
			return nil, err
		}
		defer g.pin(&nodes[i])()
	}
	for i := range boxes {
		g.tidy()
		alone := nodes[i]
		for j, n := range nodes {
			if j != i {
				if alone, err = g.f.Without(alone, n); err != nil {
					return nil, err
				}
			}
		}
		b, sure := g.hull(alone), g.empty()
		m, pieces := rules.Match{}, [][][]rules.Interfaces{{nil}, {nil}}
		for _, d := range []int{int(diagram.Src), int(diagram.Dst), int(diagram.Service), int(diagram.SrcPort), int(diagram.State), int(diagram.In), int(diagram.Out)} {
			wide := g.widest(b, d)
			need, may := g.marks(d, b[d]), g.marks(d, wide)
			var chosen []rules.Match
			switch k := g.space.Dims[d].Kind; k {
			case diagram.Src:
				m.Src = g.chooseAddrs(d, need, may)
				chosen = []rules.Match{{Src: m.Src}}
			case diagram.Dst:
				m.Dst = g.chooseAddrs(d, need, may)
				chosen = []rules.Match{{Dst: m.Dst}}
			case diagram.Service:
				m.Services = g.chooseServices(d, need, may)
				chosen = []rules.Match{{Services: m.Services}}
			case diagram.SrcPort:
				m.SrcPorts = g.choosePorts(d, need, may)
				chosen = []rules.Match{{SrcPorts: m.SrcPorts}}
			case diagram.State:
				m.States = g.chooseStates(d, need, may)
				chosen = []rules.Match{{States: m.States}}
			case diagram.In, diagram.Out:
				p := g.chooseInterfaces(d, need, may)
				pieces[k] = p
				for _, x := range p {
					if k == diagram.In {
						chosen = append(chosen, rules.Match{In: x})
					} else {
						chosen = append(chosen, rules.Match{Out: x})
					}
				}
			}
			b[d], sure[d] = g.touched(d, chosen)
		}
		if nodes[i], err = g.node(sure); err != nil {
			return nil, err
		}
		for _, in := range pieces[diagram.In] {
			for _, o := range pieces[diagram.Out] {
				x := m
				x.In, x.Out = in, o
				out = append(out, x)
			}
		}
	}
	return out, nil
}

// touched returns the classes of which the matches have some atoms, and those of
// which they have all.
func (g *grid) touched(d int, list []rules.Match) (some, all bitset) {
	some = make(bitset, (g.atoms[d]+63)/64)
	all = make(bitset, len(some))
	has := make([]bool, g.space.Dims[d].Atoms())
	for _, m := range list {
		for _, s := range g.space.Atoms(m, d) {
			for a := s.Lo; a <= s.Hi; a++ {
				has[a] = true
			}
		}
	}
	for c, atoms := range g.dims[d].classes {
		n := 0
		for _, a := range atoms {
			if has[a] {
				n++
			}
		}
		if n > 0 {
			some.add(uint32(c))
		}
		if n == len(atoms) {
			all.add(uint32(c))
		}
	}
	return some, all
}
