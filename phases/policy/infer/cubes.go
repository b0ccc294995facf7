package infer

import (
	"slices"

	"weir/phases/policy/diagram"
	"weir/phases/policy/rules"
)

// cubes writes a function of tests as few conjunctions, any of which makes the
// value the wanted one.
func (a *analysis) cubes(n diagram.Node, want uint32) [][]rules.Test {
	tests := a.tests()
	holds := func(cube []rules.Test) bool {
		fixed := map[int]uint32{}
		for _, t := range cube {
			fixed[a.dimOf(t)] = map[bool]uint32{true: 0, false: 1}[t.Not]
		}
		var walk func(diagram.Node) bool
		walk = func(n diagram.Node) bool {
			if v, leaf := n.Value(); leaf {
				return v == want
			}
			at, ok := fixed[a.f.Dim(n)]
			good := true
			a.f.Each(n, func(lo, hi uint32, child diagram.Node) {
				if good && (!ok || lo <= at && at <= hi) {
					good = walk(child)
				}
			})
			return good
		}
		return walk(n)
	}
	var out [][]rules.Test
	var cube []rules.Test
	var walk func(diagram.Node)
	walk = func(n diagram.Node) {
		if v, leaf := n.Value(); leaf {
			if v != want {
				return
			}
			c := slices.Clone(cube)
			for i := 0; i < len(c); { // leave out what is not needed
				if shorter := slices.Delete(slices.Clone(c), i, i+1); holds(shorter) {
					c = shorter
				} else {
					i++
				}
			}
			if !slices.ContainsFunc(out, func(x []rules.Test) bool { return slices.Equal(x, c) }) {
				out = append(out, c)
			}
			return
		}
		t := tests[a.f.Dim(n)]
		a.f.Each(n, func(lo, hi uint32, child diagram.Node) {
			t.Not = lo == 0
			cube = append(cube, t)
			walk(child)
			cube = cube[:len(cube)-1]
		})
	}
	walk(n)
	return out
}

// tests returns the test of each dimension that is one.
func (a *analysis) tests() map[int]rules.Test {
	out := map[int]rules.Test{}
	note := func(m rules.Match) {
		for _, t := range m.Tests {
			t.Not = false
			out[a.dimOf(t)] = t
		}
	}
	for _, r := range a.flat {
		note(r.Match)
		for e := r.Except; e != nil; e = e.Before {
			note(e.Match)
		}
	}
	return out
}

func (a *analysis) dimOf(t rules.Test) int {
	k := t.Key()
	for d := a.space.FirstTest(); d < len(a.space.Dims); d++ {
		if a.space.Dims[d].Test == k {
			return d
		}
	}
	return -1
}
