package suggest

import (
	"container/heap"
	"maps"
	"slices"
)

// likeness is the Jaccard index of two clusters' frequencies. It sums whole
// numbers, so that the order of the features has no say.
func likeness(a, b *cluster) float64 {
	if len(a.counts) > len(b.counts) {
		a, b = b, a
	}
	var both uint64
	na, nb := uint64(a.n), uint64(b.n)
	for f, n := range a.counts {
		if m, ok := b.counts[f]; ok {
			both += min(uint64(n)*nb, uint64(m)*na)
		}
	}
	return float64(both) / (a.total*float64(nb) + b.total*float64(na) - float64(both))
}

// tree is how clusters of one group come together: the leaves first, then each
// join of two earlier ones with how alike they were, which never rises.
type tree struct {
	nodes []*cluster
	joins []join // of node len(leaves)+i
}

type join struct {
	a, b  int
	alike float64
}

type pair struct {
	a, b  int
	alike float64
}

type pairs []pair

func (p pairs) Len() int { return len(p) }
func (p pairs) Less(i, j int) bool {
	if p[i].alike != p[j].alike {
		return p[i].alike > p[j].alike
	}
	if p[i].a != p[j].a {
		return p[i].a < p[j].a
	}
	return p[i].b < p[j].b
}
func (p pairs) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *pairs) Push(x any)   { *p = append(*p, x.(pair)) }
func (p *pairs) Pop() any {
	old := *p
	x := old[len(old)-1]
	*p = old[:len(old)-1]
	return x
}

// tooFar is how little two clusters may have in common to be joined at all.
const tooFar = 0.02

// grow joins the two clusters that are most alike until none are.
func grow(leaves []*cluster) tree {
	t := tree{nodes: slices.Clone(leaves)}
	for _, k := range leaves {
		k.total = 0
		for _, n := range k.counts {
			k.total += float64(n)
		}
	}
	index := map[uint32][]int{}
	gone := map[int]bool{}
	var queue pairs
	near := func(i int) {
		seen := map[int]bool{}
		for _, f := range t.nodes[i].core() {
			for _, j := range index[f] {
				if !gone[j] && !seen[j] {
					seen[j] = true
					if s := likeness(t.nodes[i], t.nodes[j]); s >= tooFar {
						heap.Push(&queue, pair{j, i, s})
					}
				}
			}
			index[f] = append(index[f], i)
		}
	}
	for i := range leaves {
		near(i)
	}
	last := 1.0
	for queue.Len() > 0 {
		p := heap.Pop(&queue).(pair)
		if gone[p.a] || gone[p.b] {
			continue
		}
		gone[p.a], gone[p.b] = true, true
		a, b := t.nodes[p.a], t.nodes[p.b]
		k := &cluster{group: a.group, n: a.n + b.n, habits: slices.Concat(a.habits, b.habits), counts: maps.Clone(a.counts), total: a.total + b.total}
		for f, n := range b.counts {
			k.counts[f] += n
		}
		last = min(last, p.alike)
		t.joins = append(t.joins, join{p.a, p.b, last})
		t.nodes = append(t.nodes, k)
		near(len(t.nodes) - 1)
	}
	return t
}

// cut returns the clusters of which no two were more alike than that.
func (t tree) cut(alike float64) []*cluster {
	inner := map[int]bool{}
	leaves := len(t.nodes) - len(t.joins)
	top := leaves
	for i, j := range t.joins {
		if j.alike < alike {
			break
		}
		inner[j.a], inner[j.b] = true, true
		top = leaves + i + 1
	}
	var out []*cluster
	for i, k := range t.nodes[:top] {
		if !inner[i] {
			out = append(out, k)
		}
	}
	slices.SortStableFunc(out, func(a, b *cluster) int { return int(b.n) - int(a.n) })
	return out
}
