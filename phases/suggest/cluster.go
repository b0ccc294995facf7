package suggest

import (
	"cmp"
	"slices"
)

// How alike endpoints are that are taken together at first.
const (
	alike    = 0.7 // an endpoint's habit and a cluster
	mergible = 0.5 // a small cluster and a much larger one
	weak     = 0.3 // what is too small for a class and the class that it is given to
	least    = 3   // endpoints of a class
	whole    = 6   // a group with fewer endpoints is one class
)

// cluster is endpoints of one group that behave alike, with how many of them
// have each feature.
type cluster struct {
	group    uint32
	n        uint32
	habits   []uint32
	counts   map[uint32]uint32 // by feature
	total    float64           // the sum of all frequencies times n, weighted
	features []uint32          // of the first habit
}

// clusterer takes the habits of one group together.
type clusterer struct {
	*habits
	common   map[uint32]bool // features that nearly all of the group have: they tell little apart
	clusters []*cluster
	index    map[uint32][]uint32 // feature → clusters whose first habit has it
	hits     []uint32            // scratch, by cluster
}

// universal is the share of a group from which on a feature counts half.
const universal = 0.8

func (c *clusterer) weight(f uint32) float64 {
	if c.common[f] {
		return 0.5
	}
	return 1
}

// clusters finds those of one group: equal habits first, the most frequent of
// them lead; then small clusters that differ by chance join large ones. What is
// left over belongs to none. A group that cannot be divided is one.
func (h *habits) clusters(group int, undivided bool) (out []*cluster, loose []uint32) {
	c := &clusterer{habits: h, common: map[uint32]bool{}, index: map[uint32][]uint32{}}
	users, n := map[uint32]uint32{}, uint32(0)
	for _, i := range h.byGroup[group] {
		x := h.habits[i]
		n += x.n
		for _, f := range x.features {
			users[f] += x.n
		}
	}
	for f, u := range users {
		if float64(u) >= universal*float64(n) {
			c.common[f] = true
		}
	}
	if n < whole || undivided {
		one := c.open(h.byGroup[group][0])
		for _, i := range h.byGroup[group][1:] {
			c.join(one, i)
		}
		return c.clusters, nil
	}
	for _, i := range h.byGroup[group] {
		if at, s := c.nearest(h.habits[i].features, nil); at >= 0 && s >= alike && !c.does(h.habits[i], c.clusters[at]) {
			c.join(c.clusters[at], i)
		} else {
			c.open(i)
		}
	}
	return c.absorb()
}

// What tells endpoints apart, however alike they are in the rest.
const (
	nearlyAll = 0.8
	hardlyAny = 0.2
	notFar    = 0.05 // of both together
)

// does says whether a habit of several endpoints has what a cluster hardly has:
// two features, or one where those who have it are not far fewer.
func (c *clusterer) does(x habit, k *cluster) bool {
	if x.n < least {
		return false
	}
	more := 0
	for _, f := range x.features {
		if float64(k.counts[f]) <= hardlyAny*float64(k.n) {
			more++
		}
	}
	return more >= 2 || more == 1 && float64(x.n) >= notFar*float64(x.n+k.n)
}

func (c *clusterer) open(i uint32) *cluster {
	x := c.habits.habits[i]
	k := &cluster{group: x.group, counts: map[uint32]uint32{}, features: x.features}
	for _, f := range x.features {
		c.index[f] = append(c.index[f], uint32(len(c.clusters)))
	}
	c.clusters = append(c.clusters, k)
	c.hits = append(c.hits, 0)
	c.join(k, i)
	return k
}

func (c *clusterer) join(k *cluster, i uint32) {
	x := c.habits.habits[i]
	k.n += x.n
	k.habits = append(k.habits, i)
	for _, f := range x.features {
		k.counts[f] += x.n
		k.total += c.weight(f) * float64(x.n)
	}
}

// fit is how much of what a habit and a cluster do both do: the weighted
// Jaccard index of a set and frequencies. A place that the cluster does not
// use counts half where the cluster reaches the service elsewhere.
func (c *clusterer) fit(features []uint32, k *cluster) float64 {
	n := float64(k.n)
	var both, own, theirs float64
	for _, f := range features {
		w := c.weight(f)
		share := float64(k.counts[f]) / n
		own += w
		theirs += w * share
		if share < 0.5 && int(f) < len(c.list) {
			share = max(share, 0.5*float64(k.counts[c.elsewhere(c.list[f].service)])/n)
		}
		both += w * share
	}
	return both / (own + max(0, k.total/n-theirs))
}

// nearest finds the cluster that fits best among those that share a feature
// that tells something; skip may leave some out.
func (c *clusterer) nearest(features []uint32, skip func(at uint32) bool) (best int, fit float64) {
	const many = 4096
	best = -1
	var touched []uint32
	for pass := range 2 {
		for _, f := range features {
			list := c.index[f]
			if pass == 0 && (c.common[f] || len(list) > many) || pass == 1 && !c.common[f] && len(list) <= many {
				continue
			}
			for _, at := range list {
				if c.hits[at] == 0 {
					touched = append(touched, at)
				}
				c.hits[at]++
			}
		}
		if len(touched) > 0 {
			break // what shares only what all do is no candidate
		}
	}
	for _, at := range touched {
		c.hits[at] = 0
		if skip != nil && skip(at) {
			continue
		}
		if s := c.fit(features, c.clusters[at]); best < 0 || s > fit || s == fit && int(at) < best {
			best, fit = int(at), s
		}
	}
	return best, fit
}

// absorb joins small clusters that differ from a much larger one by nothing
// systematic, and then what is too small for a class.
func (c *clusterer) absorb() (out []*cluster, loose []uint32) {
	order := make([]int, len(c.clusters))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(c.clusters[a].n, c.clusters[b].n) })
	gone := make([]bool, len(c.clusters))
	for _, i := range order {
		small := c.clusters[i]
		at, fit := c.nearest(small.core(), func(at uint32) bool {
			return gone[at] || int(at) == i || c.clusters[at].n < 4*small.n
		})
		if at >= 0 && fit >= mergible && !c.apart(small, c.clusters[at]) {
			c.move(small, c.clusters[at])
			gone[i] = true
		}
	}
	for _, i := range order {
		small := c.clusters[i]
		if gone[i] || small.n >= least {
			continue
		}
		gone[i] = true
		for _, x := range small.habits {
			at, fit := c.nearest(c.habits.habits[x].features, func(at uint32) bool { return gone[at] || c.clusters[at].n < least })
			if at >= 0 && fit >= weak {
				c.join(c.clusters[at], x)
			} else {
				loose = append(loose, x)
			}
		}
	}
	for i, k := range c.clusters {
		if !gone[i] {
			out = append(out, k)
		}
	}
	return out, loose
}

// core are the features that at least half of a cluster have, sorted.
func (k *cluster) core() []uint32 {
	var out []uint32
	for f, n := range k.counts {
		if 2*n >= k.n {
			out = append(out, f)
		}
	}
	slices.Sort(out)
	return out
}

// apart says whether two clusters differ by more than chance: by two features
// that nearly all of one and hardly any of the other have, or by one where the
// smaller is not far smaller.
func (c *clusterer) apart(small, large *cluster) bool {
	share := func(k *cluster, f uint32) float64 { return float64(k.counts[f]) / float64(k.n) }
	differ := 0
	for _, f := range small.core() {
		if share(small, f) >= nearlyAll && share(large, f) <= hardlyAny {
			differ++
		}
	}
	for _, f := range large.core() {
		if share(large, f) >= nearlyAll && share(small, f) <= hardlyAny {
			differ++
		}
	}
	return small.n >= least && (differ >= 2 || differ == 1 && float64(small.n) >= notFar*float64(small.n+large.n))
}

func (c *clusterer) move(from, to *cluster) {
	for _, x := range from.habits {
		c.join(to, x)
	}
}
