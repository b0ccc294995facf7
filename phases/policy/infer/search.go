package infer

import (
	"math/rand/v2"
	"slices"

	"weir/phases/policy/diagram"
)

// apart counts cells of a set of which no two share a box.
func (g *grid) apart(left diagram.Node) int {
	best := 0
	var sample [][]uint32
	g.cells(left, func(x []uint32) bool {
		sample = append(sample, slices.Clone(x))
		return len(sample) < 20000
	})
	r := rand.New(rand.NewPCG(2, 2))
	for range 8 {
		r.Shuffle(len(sample), func(i, j int) { sample[i], sample[j] = sample[j], sample[i] })
		var chosen [][]uint32
		for _, x := range sample {
			if !slices.ContainsFunc(chosen, func(y []uint32) bool { return g.share(x, y) }) {
				chosen = append(chosen, x)
			}
		}
		best = max(best, len(chosen))
	}
	return best
}

// greedy covers a set: for an uncovered cell it takes, of the primes grown in
// different orders, the one that covers most.
func (g *grid) greedy(left diagram.Node, r *rand.Rand, try, limit int) ([]box, error) {
	var out []box
	defer g.pin(&left)()
	for left != diagram.None {
		var seeds [][]uint32
		g.cells(left, func(x []uint32) bool {
			seeds = append(seeds, slices.Clone(x))
			return len(seeds) < 4096
		})
		var best box
		var after diagram.Node
		most := -1.0
		for s := range min(len(seeds), 8) {
			x := seeds[s]
			if try > 0 || s > 0 {
				x = seeds[r.IntN(len(seeds))]
			}
			one := g.empty()
			for d := range x {
				one[d].add(x[d])
			}
			for range 3 {
				b := g.prime(one, g.order(r))
				n, err := g.node(b)
				if err != nil {
					return nil, err
				}
				in, err := g.f.Within(left, n)
				if err != nil {
					return nil, err
				}
				if c := g.count(in); c > most {
					best, most = b, c
					if after, err = g.f.Without(left, n); err != nil {
						return nil, err
					}
				}
			}
		}
		if out = append(out, best); limit > 0 && len(out) > limit {
			return nil, errTooMany
		}
		left = after
		g.tidy()
	}
	return out, nil
}

// order is the dimensions that matter, in any order.
func (g *grid) order(r *rand.Rand) (out []int) {
	for d, n := range g.atoms {
		if n > 1 {
			out = append(out, d)
		}
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// shake takes out what the others cover, then a few times some boxes at once,
// to cover their part again with fewer.
func (g *grid) shake(left *diagram.Node, list []box, r *rand.Rand) ([]box, error) {
	list, err := g.irredundant(*left, list)
	if err != nil {
		return nil, err
	}
	for range 4 * tries(len(list)) {
		if len(list) < 2 {
			break
		}
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		k := min(len(list), 2+r.IntN(3))
		rest, err := g.minus(*left, list[k:])
		if err != nil {
			return nil, err
		}
		again, err := g.greedy(rest, r, 1, 0)
		if err != nil {
			return nil, err
		}
		if len(again) <= k {
			if list, err = g.irredundant(*left, append(again, list[k:]...)); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

func (g *grid) minus(n diagram.Node, list []box) (diagram.Node, error) {
	for _, b := range list {
		m, err := g.node(b)
		if err == nil {
			n, err = g.f.Without(n, m)
		}
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// irredundant drops boxes whose part of a set the others cover.
func (g *grid) irredundant(left diagram.Node, list []box) ([]box, error) {
	for i := 0; i < len(list); {
		others := slices.Concat(list[:i], list[i+1:])
		n, err := g.minus(left, others)
		if err != nil {
			return nil, err
		}
		if n == diagram.None {
			list = others
			continue
		}
		i++
	}
	return list, nil
}
