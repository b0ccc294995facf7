package suggest

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"weir/phases/flow"
)

// level is how freely is generalised.
type level struct {
	alike float64 // clusters that are more alike are one class
	most  float64 // a class may do what this share of it does
}

// levels are from the narrowest to the widest.
var levels = []level{{0.9, 0.9}, {0.8, 0.75}, {0.7, 0.6}, {0.6, 0.45}, {0.5, 0.3}, {0.4, 0.2}, {0.3, 0.1}, {0.15, 0.05}, {0, 0.02}}

// Default is the level that is taken where nothing is said; the first is 1.
const Default = 5

// A class goes anywhere by a service where at least roaming of those who use it
// do, as a share of what the level asks of a place.
const roaming = 1.0 / 3

// stats is what endpoints did, by kept place and by service.
type stats struct {
	places   map[uint32]placeStat
	services map[uint32]serviceStat
}

type placeStat struct{ users, pairs uint32 }

type serviceStat struct {
	users, roamers uint32
	pairs          uint64
}

func (s *stats) merge(o stats) {
	for p, x := range o.places {
		y := s.places[p]
		s.places[p] = placeStat{x.users + y.users, x.pairs + y.pairs}
	}
	for v, x := range o.services {
		y := s.services[v]
		s.services[v] = serviceStat{x.users + y.users, x.roamers + y.roamers, x.pairs + y.pairs}
	}
}

func newStats() stats {
	return stats{map[uint32]placeStat{}, map[uint32]serviceStat{}}
}

// model is the classes of all groups, ready to be cut at any level.
type model struct {
	*habits
	trees []tree     // by group
	loose [][]uint32 // by group: habits of no cluster
	leaf  []stats    // by habit's leaf
	of    []int      // by habit: its leaf, or that of its group's loose ones
	start []int      // by group: its first leaf; the loose ones are the last
}

func (h *habits) model(undivided func(group string) bool) *model {
	m := &model{habits: h, of: make([]int, len(h.habits))}
	for g := range h.groups {
		clusters, loose := h.clusters(g, undivided(h.groups[g].name))
		m.start = append(m.start, len(m.leaf))
		for _, k := range clusters {
			for _, x := range k.habits {
				m.of[x] = len(m.leaf)
			}
			m.leaf = append(m.leaf, newStats())
		}
		for _, x := range loose {
			m.of[x] = len(m.leaf)
		}
		m.leaf = append(m.leaf, newStats())
		m.loose = append(m.loose, loose)
		m.trees = append(m.trees, grow(clusters))
	}
	for e := range h.endpoints {
		s := m.leaf[m.of[h.of[e]]]
		h.uses(e, func(u use) {
			x := s.services[u.service]
			x.users++
			x.pairs += uint64(len(u.places))
			if u.roams {
				x.roamers++
			}
			s.services[u.service] = x
			for i := 0; i < len(u.places); {
				j := i + 1
				for j < len(u.places) && u.places[j] == u.places[i] {
					j++
				}
				if p := u.places[i]; h.kept[h.groupOf[e]].has(p) {
					y := s.places[p]
					s.places[p] = placeStat{y.users + 1, y.pairs + uint32(j-i)}
				}
				i = j
			}
		})
	}
	return m
}

// class is a class at a level.
type class struct {
	group    uint32
	first    bool // the largest of its group: it has the loose ones, too
	n        uint32
	cluster  *cluster
	habits   []uint32
	stats    stats
	anywhere map[uint32]bool // services
	places   map[uint32]bool
	twin     *class         // the same group's first class of the other family
	barred   []flow.Service // by which it no longer goes anywhere
	folded   bool           // another class has its endpoints
}

// at cuts the model at a level: the classes, and the class of each habit.
func (m *model) at(l level) (classes []*class, of []int) {
	of = make([]int, len(m.habits.habits))
	for g, t := range m.trees {
		first := len(classes)
		for _, k := range t.cut(l.alike) {
			c := &class{group: uint32(g), n: k.n, cluster: k, habits: slices.Clone(k.habits), stats: newStats()}
			leaves := map[int]bool{}
			for _, x := range k.habits {
				of[x] = len(classes)
				leaves[m.of[x]] = true
			}
			for x := range leaves {
				c.stats.merge(m.leaf[x])
			}
			classes = append(classes, c)
		}
		if len(classes) == first {
			classes = append(classes, &class{group: uint32(g), stats: newStats(), cluster: &cluster{counts: map[uint32]uint32{}}})
		}
		c := classes[first]
		c.first = true
		for _, x := range m.loose[g] {
			of[x] = first
			c.n += m.habits.habits[x].n
			c.habits = append(c.habits, x)
		}
		if len(m.loose[g]) > 0 {
			c.stats.merge(m.leaf[m.of[m.loose[g][0]]])
		}
	}
	last := map[string]*class{}
	for _, c := range classes {
		if !c.first {
			continue
		}
		name := m.groups[c.group].name
		if o := last[name]; o != nil {
			o.twin, c.twin = c, o // they are one group, whose rules hold for both families
		}
		last[name] = c
	}
	for _, c := range classes {
		m.grant(c, l)
	}
	return classes, of
}

// grant decides what a class may do.
func (m *model) grant(c *class, l level) {
	c.anywhere, c.places = map[uint32]bool{}, map[uint32]bool{}
	n := float64(c.n)
	for _, x := range []*class{c, c.twin} {
		if x == nil {
			continue
		}
		for s, y := range x.stats.services {
			if y.roamers > 0 && float64(y.roamers) >= roaming*l.most*float64(x.n) && !slices.Contains(c.barred, m.services[s]) {
				c.anywhere[s] = true
			}
		}
	}
	for p, x := range c.stats.places {
		if s := m.list[p].service; !c.anywhere[s] && float64(x.users) >= l.most*n && (x.users > 1 || c.n < whole) {
			c.places[p] = true
		}
	}
}

// ledger counts the combinations that a class may do, and those of them that
// were seen.
func (m *model) ledger(c *class) (granted, used uint64) {
	for s := range c.anywhere {
		granted += m.anywhere(c, s)
		used += c.stats.services[s].pairs
	}
	for p := range c.places {
		granted += uint64(c.n) * uint64(m.list[p].servers)
		used += uint64(c.stats.places[p].pairs)
	}
	return granted, used
}

// anywhere counts what going anywhere by a service means for a class.
func (m *model) anywhere(c *class, s uint32) uint64 {
	return uint64(c.n) * uint64(m.known[family(m.groups[c.group].v6)][s])
}

// left calls f for each place that an endpoint used and that its class may not.
func (m *model) left(classes []*class, of []int, f func(e int, place uint32)) {
	for e := range m.endpoints {
		c := classes[of[m.habits.of[e]]]
		m.uses(e, func(u use) {
			if c.anywhere[u.service] || u.roams && slices.Contains(c.barred, m.services[u.service]) {
				return
			}
			for i, p := range u.places {
				if (i == 0 || p != u.places[i-1]) && !c.places[p] {
					f(e, p)
				}
			}
		})
	}
}

// allow is one entry of a class: destinations and services.
type allow struct {
	to       []string // as a plan writes them, sorted; none: anywhere outside
	names    []string // what the names file calls them
	services []flow.Service
	users    uint32 // the most that one of its places or services has
	granted  uint64 // combinations of endpoint, service and destination
	used     uint64 // of them
}

// allows packs what a class may do into few entries; a class with a twin has the
// entries of both, and its twin none.
func (m *model) allows(c *class) []allow {
	if c.twin != nil && c.twin.group < c.group {
		return nil
	}
	byTo := map[string]*allow{}
	add := func(key string, to, names []string, s flow.Service, users uint32, granted, used uint64) {
		a := byTo[key]
		if a == nil {
			a = &allow{to: to, names: names}
			byTo[key] = a
		}
		if !slices.Contains(a.services, s) {
			a.services = append(a.services, s)
		}
		a.users = max(a.users, users)
		a.granted += granted
		a.used += used
	}
	for _, c := range []*class{c, c.twin} {
		if c == nil {
			continue
		}
		for s := range c.anywhere {
			x := c.stats.services[s]
			add("", nil, nil, m.services[s], x.users, m.anywhere(c, s), x.pairs)
		}
		for p := range c.places {
			x := m.list[p]
			to := x.words()
			var names []string
			if x.name != "" {
				names = []string{x.name}
			}
			u := c.stats.places[p]
			add(strings.Join(to, " "), to, names, m.services[x.service], u.users, uint64(c.n)*uint64(x.servers), uint64(u.pairs))
		}
	}
	return packed(byTo)
}

// packed joins entries with equal services.
func packed(byTo map[string]*allow) []allow {
	byServices := map[string]*allow{}
	for _, k := range slices.Sorted(maps.Keys(byTo)) {
		a := byTo[k]
		a.services = flow.MergeServices(a.services)
		key := servicesText(a.services)
		if len(a.to) == 0 {
			key = "anywhere"
		}
		if b := byServices[key]; b != nil {
			b.to, b.names = append(b.to, a.to...), append(b.names, a.names...)
			b.users, b.granted, b.used = max(b.users, a.users), b.granted+a.granted, b.used+a.used
		} else {
			byServices[key] = a
		}
	}
	var out []allow
	for _, k := range slices.Sorted(maps.Keys(byServices)) {
		a := byServices[k]
		slices.Sort(a.to)
		a.to = slices.Compact(a.to)
		slices.Sort(a.names)
		a.names = slices.Compact(a.names)
		out = append(out, *a)
	}
	slices.SortStableFunc(out, func(a, b allow) int {
		return cmp.Or(slices.CompareFunc(a.services, b.services, flow.CompareServices), slices.Compare(a.to, b.to))
	})
	return out
}

func servicesText(list []flow.Service) string {
	var out []string
	for _, s := range list {
		out = append(out, s.String())
	}
	return strings.Join(out, ", ")
}

// Point is a level on the curve of rules against permissiveness. A combination
// is one endpoint, service and destination; what goes anywhere outside is
// counted over the destinations that were ever seen for the service.
type Point struct {
	Level      int     `json:"level"`
	Classes    int     `json:"classes"`
	Rules      int     `json:"rules"`
	Exceptions int     `json:"exceptions"` // places that single endpoints need beside the rules
	Anywhere   uint64  `json:"anywhere"`   // endpoints times services that may go anywhere
	Granted    uint64  `json:"granted"`    // combinations
	Seen       uint64  `json:"seen"`       // of them
	Beyond     uint64  `json:"beyond"`     // the rest: the widening
	Share      float64 `json:"share"`      // seen / granted
}

// point measures a level.
func (m *model) point(n int, classes []*class, of []int) Point {
	p := Point{Level: n, Classes: len(classes)}
	for _, c := range classes {
		p.Rules += len(m.allows(c))
		granted, used := m.ledger(c)
		p.Granted += granted
		p.Seen += used
		p.Anywhere += uint64(c.n) * uint64(len(c.anywhere))
	}
	open := make([]bool, len(m.list))
	m.left(classes, of, func(_ int, place uint32) {
		if !open[place] {
			open[place] = true
			p.Exceptions++
		}
	})
	p.Beyond = p.Granted - p.Seen
	p.Share = 1
	if p.Granted > 0 {
		p.Share = float64(p.Seen) / float64(p.Granted)
	}
	return p
}
