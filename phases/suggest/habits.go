package suggest

import (
	"cmp"
	"slices"
)

// Limits of what counts as a habit.
const (
	roamsAbove = 12 // places of one service: whoever uses more goes anywhere
	roamsFrom  = 4  // and whoever uses so many, of which hardly anybody knows the half
	shared     = 3  // endpoints that use a place without going anywhere: fewer say nothing of a class
)

// habits is what each endpoint does, as features: the places that others use
// too, and for each service whether it goes elsewhere. An endpoint's
// observations are places[from[e]:from[e+1]], sorted, one for each server.
type habits struct {
	facts
	list    []place
	from    []uint32 // by endpoint
	places  []uint32
	kept    []bits      // by group: the places that are features of their own
	tail    bits        // places that fewer than shared endpoints use
	diverse []bits      // by group: services by which it goes to ever new places
	known   [2][]uint32 // by family and service: how many servers were seen at all
	habits  []habit
	of      []uint32   // by endpoint: its habit
	groups  []part     // sorted
	sizes   []uint32   // by group: its endpoints
	groupOf []uint32   // by endpoint
	byGroup [][]uint32 // by group: its habits, the most frequent first
}

// part is a group's endpoints of one family: what they reach is never the same
// as what those of the other family reach.
type part struct {
	name string
	v6   bool
}

func (h *habits) partOf(e int) part { return part{h.endpoints[e].Group, h.endpoints[e].Addr.Is6()} }

// habit is a set of features that endpoints of one group have, exactly.
type habit struct {
	group    uint32
	n        uint32
	features []uint32 // sorted; a place, or len(list) + a service for elsewhere
}

func (h *habits) elsewhere(service uint32) uint32 { return uint32(len(h.list)) + service }

// endpointPlaces sorts the observations by endpoint.
func (h *habits) endpointPlaces(of []uint32) {
	h.from = make([]uint32, len(h.endpoints)+1)
	for _, o := range h.seen {
		_, _, e := unpack(o)
		h.from[e+1]++
	}
	for e := range h.endpoints {
		h.from[e+1] += h.from[e]
	}
	next := slices.Clone(h.from)
	h.places = make([]uint32, len(h.seen))
	for i, o := range h.seen {
		_, _, e := unpack(o)
		h.places[next[e]] = of[i]
		next[e]++
	}
	h.known = [2][]uint32{make([]uint32, len(h.services)), make([]uint32, len(h.services))}
	last := ^uint64(0)
	for _, o := range h.seen {
		if o>>endpointBits != last {
			last = o >> endpointBits
			s, d, _ := unpack(o)
			h.known[family(h.servers[d].Is6())][s]++
		}
	}
	for e := range h.endpoints {
		slices.Sort(h.places[h.from[e]:h.from[e+1]])
	}
}

func family(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// use is one service of one endpoint.
type use struct {
	service uint32
	places  []uint32 // sorted, one for each server
	roams   bool
}

// bits is a set of places.
type bits []uint64

func newBits(n int) bits         { return make(bits, (n+63)/64) }
func (b bits) has(i uint32) bool { return b[i/64]>>(i%64)&1 == 1 }
func (b bits) add(i uint32)      { b[i/64] |= 1 << (i % 64) }

// uses calls f for each service of an endpoint.
func (h *habits) uses(e int, f func(use)) {
	all := h.places[h.from[e]:h.from[e+1]]
	for i := 0; i < len(all); {
		u := use{service: h.list[all[i]].service}
		distinct, tail, j := 0, 0, i
		for ; j < len(all) && h.list[all[j]].service == u.service; j++ {
			if j == i || all[j] != all[j-1] {
				distinct++
				if h.tail.has(all[j]) {
					tail++
				}
			}
		}
		u.places, u.roams = all[i:j], distinct > roamsAbove || distinct >= roamsFrom && 2*tail >= distinct && h.sizes[h.groupOf[e]] >= whole ||
			(distinct > 1 || tail > 0) && len(h.diverse) > 0 && h.diverse[h.groupOf[e]].has(u.service)
		f(u)
		i = j
	}
}

// each calls f for each place of a service once.
func (u use) each(f func(p uint32)) {
	for i, p := range u.places {
		if i == 0 || p != u.places[i-1] {
			f(p)
		}
	}
}

// newHabits reads the features off the observations.
func newHabits(f facts, names *Names) *habits {
	h := &habits{facts: f}
	list, of := f.places(names)
	h.list = list
	h.endpointPlaces(of)
	h.seen = nil
	h.groupEndpoints()
	h.tail = newBits(len(h.list))
	support := make([]uint32, len(h.list))
	for e := range h.endpoints {
		h.uses(e, func(u use) { u.each(func(p uint32) { support[p]++ }) })
	}
	for p, n := range support {
		if n < shared {
			h.tail.add(uint32(p))
		}
	}
	h.disperse()
	h.keep()
	h.number()
	return h
}

// groupEndpoints notes each endpoint's group; endpoints are sorted by group.
func (h *habits) groupEndpoints() {
	h.groupOf = make([]uint32, len(h.endpoints))
	for e := range h.endpoints {
		if n := len(h.groups); n == 0 || h.groups[n-1] != h.partOf(e) {
			h.groups = append(h.groups, h.partOf(e))
		}
		h.groupOf[e] = uint32(len(h.groups) - 1)
		h.sizes = append(h.sizes, 0)[:len(h.groups)]
		h.sizes[h.groupOf[e]]++
	}
}

// disperse finds the services by which a group goes to ever new places: nearly
// as many as it has users, several for each.
func (h *habits) disperse() {
	type sum struct{ users, pairs, places uint32 }
	sums := map[uint32]sum{}
	mark := newBits(len(h.list))
	var touched []uint32
	var out []bits
	finish := func() {
		b := newBits(len(h.services))
		for s, x := range sums {
			if x.users >= 10 && x.pairs >= 3*x.users && 4*x.places >= x.users {
				b.add(s)
			}
		}
		for _, p := range touched {
			mark[p/64] = 0
		}
		touched = touched[:0]
		clear(sums)
		out = append(out, b)
	}
	for e := range h.endpoints {
		if e > 0 && h.groupOf[e] != h.groupOf[e-1] {
			finish()
		}
		h.uses(e, func(u use) {
			x := sums[u.service]
			x.users++
			u.each(func(p uint32) {
				x.pairs++
				if !mark.has(p) {
					mark.add(p)
					touched = append(touched, p)
					x.places++
				}
			})
			sums[u.service] = x
		})
	}
	if len(h.endpoints) > 0 {
		finish()
	}
	h.diverse = out
}

// keep finds the places that say something of a class: those that enough of a
// group use who do not go anywhere by that service, and more than of those who
// do.
func (h *habits) keep() {
	steady, roamers := make([]uint32, len(h.list)), make([]uint32, len(h.list))
	var touched []uint32
	finish := func() {
		kept := newBits(len(h.list))
		need := uint32(shared)
		if h.sizes[len(h.kept)] < whole { // so few endpoints: what one does is the group's
			need = 1
		}
		for _, p := range touched {
			if steady[p] >= need && steady[p] >= roamers[p] {
				kept.add(p)
			}
		}
		for _, p := range touched {
			steady[p], roamers[p] = 0, 0
		}
		touched = touched[:0]
		h.kept = append(h.kept, kept)
	}
	for e := range h.endpoints {
		if e > 0 && h.groupOf[e] != h.groupOf[e-1] {
			finish()
		}
		h.uses(e, func(u use) {
			u.each(func(p uint32) {
				if steady[p]+roamers[p] == 0 {
					touched = append(touched, p)
				}
				if u.roams {
					roamers[p]++
				} else {
					steady[p]++
				}
			})
		})
	}
	if len(h.endpoints) > 0 {
		finish()
	}
}

// number finds equal habits.
func (h *habits) number() {
	h.of = make([]uint32, len(h.endpoints))
	byHash := map[uint64][]uint32{}
	var features []uint32
	for e := range h.endpoints {
		g := h.groupOf[e]
		features = features[:0]
		h.uses(e, func(u use) {
			rest := u.roams
			if !u.roams {
				u.each(func(p uint32) {
					if h.kept[g].has(p) {
						features = append(features, p)
					} else {
						rest = true
					}
				})
			}
			if rest {
				features = append(features, h.elsewhere(u.service))
			}
		})
		slices.Sort(features)
		k := hash(g, features)
		at := -1
		for _, i := range byHash[k] {
			if h.habits[i].group == g && slices.Equal(h.habits[i].features, features) {
				at = int(i)
				break
			}
		}
		if at < 0 {
			at = len(h.habits)
			h.habits = append(h.habits, habit{group: g, features: slices.Clone(features)})
			byHash[k] = append(byHash[k], uint32(at))
		}
		h.habits[at].n++
		h.of[e] = uint32(at)
	}
	h.byGroup = make([][]uint32, len(h.groups))
	for i := range h.habits {
		g := h.habits[i].group
		h.byGroup[g] = append(h.byGroup[g], uint32(i))
	}
	for _, list := range h.byGroup {
		slices.SortFunc(list, func(a, b uint32) int {
			x, y := h.habits[a], h.habits[b]
			return cmp.Or(cmp.Compare(y.n, x.n), cmp.Compare(len(y.features), len(x.features)), slices.Compare(x.features, y.features))
		})
	}
}

// hash is FNV-1a over whole words.
func hash(group uint32, features []uint32) uint64 {
	k := uint64(14695981039346656037)
	k = (k ^ uint64(group)) * 1099511628211
	for _, f := range features {
		k = (k ^ uint64(f)) * 1099511628211
		k ^= k >> 29
	}
	return k
}
