package suggest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/plans"
)

// Options say what is wanted of a proposal.
type Options struct {
	Level int               // 1 is the narrowest; 0: Default
	Rules int               // the narrowest level with at most so many rules and exceptions; 0: Level decides
	Names *Names            // whose addresses are; may be nil
	Days  map[string]string // how long each group was observed, in words; for what says that nothing was seen
}

// Proposal is classes of endpoints with their rules, and what is left over.
type Proposal struct {
	Level      int         `json:"level"`
	Curve      []Point     `json:"curve"`
	Classes    []Class     `json:"classes"`
	Roles      []Role      `json:"roles"`
	Exceptions []Exception `json:"exceptions"`
	Named      []Named     `json:"named"`
	Notes      []string    `json:"notes"` // what is not proposed, and why

	plan *plans.Plan
}

// Class is endpoints that behave alike: what is left of one of the plan's
// groups, or a new group.
type Class struct {
	Name     string         `json:"name"`
	Of       string         `json:"of"` // the plan's group
	New      bool           `json:"new"`
	Seen     int            `json:"seen"`              // endpoints
	Members  []netip.Prefix `json:"members,omitempty"` // of a new group
	Holds    uint64         `json:"holds,omitempty"`   // addresses in Members
	Purity   float64        `json:"purity"`            // the mean fit: how much of what a member and the class do both do
	Misfits  []Misfit       `json:"misfits,omitempty"` // who fits badly, the worst first
	Rules    []Rule         `json:"rules"`
	Families []flow.Family  `json:"families,omitempty"` // of a new group with fewer than the plan's
	step     bool           // it gets a refactor step
}

// Misfit is a member whose fit is below badly.
type Misfit struct {
	Addr netip.Addr `json:"address"`
	Fit  float64    `json:"fit"`
}

const badly = 0.5

// Rule is what a class may do.
type Rule struct {
	To       []string       `json:"to"`              // addresses and prefixes; none: anywhere outside
	Names    []string       `json:"names,omitempty"` // whose they are
	Services []flow.Service `json:"services"`
	Users    int            `json:"users"`   // endpoints of the class that use it
	Granted  uint64         `json:"granted"` // combinations of endpoint, service and destination
	Seen     uint64         `json:"seen"`    // of them
	Role     int            `json:"role,omitempty"`
}

// Beyond is what the rule allows that was never seen.
func (r Rule) Beyond() uint64 { return r.Granted - r.Seen }

// Role is what several classes do alike.
type Role struct {
	Number   int      `json:"number"`
	Classes  []string `json:"classes"`
	Services []string `json:"services"` // with where to: "udp/53 to 192.0.2.53"
}

// Exception is what single endpoints need beside the rules of their class.
type Exception struct {
	Of       string         `json:"of"` // the plan's group
	From     []netip.Addr   `json:"from"`
	To       []string       `json:"to"`
	Services []flow.Service `json:"services"`
}

// Suggest generalises from what was gathered. The observations are those of a
// plan's groups; in is emptied.
func Suggest(p *plans.Plan, in *Input, o Options) (*Proposal, error) {
	if o.Level < 0 || o.Level > len(levels) {
		return nil, fmt.Errorf("there are levels 1 to %d", len(levels))
	}
	h := newHabits(in.facts(), o.Names.outside(p.Scope.Inside))
	out := &Proposal{plan: p}
	m := h.model(func(group string) bool { return !divisible(p, group) })
	cuts := make([][]*class, len(levels))
	of := make([][]int, len(levels))
	for i, l := range levels {
		cuts[i], of[i] = m.at(l)
		out.Curve = append(out.Curve, m.point(i+1, cuts[i], of[i]))
	}
	out.Level = cmp.Or(o.Level, Default)
	if o.Rules > 0 {
		out.Level = 0
		for _, c := range out.Curve {
			if c.Rules+c.Exceptions <= o.Rules {
				out.Level = c.Level
				break
			}
		}
		if out.Level == 0 {
			return nil, fmt.Errorf("no level has %d rules and exceptions or fewer: the widest has %d", o.Rules, out.Curve[len(out.Curve)-1].Rules+out.Curve[len(out.Curve)-1].Exceptions)
		}
	}
	a := &author{model: m, Proposal: out, options: o, classes: cuts[out.Level-1], of: of[out.Level-1]}
	a.write()
	return out, nil
}

// divisible says whether parts of a group can be groups of their own by their
// addresses.
func divisible(p *plans.Plan, name string) bool {
	g := p.Group(name)
	if name == plans.Unassigned {
		return len(p.Scope.Inside) > 0
	}
	return g != nil && len(g.Members) > 0 && len(g.MACs) == 0 && !g.Self &&
		!slices.ContainsFunc(p.Refactor, func(r plans.Refactor) bool { return slices.Contains(r.Groups, name) })
}

// author turns classes into a proposal.
type author struct {
	*model
	*Proposal
	options Options
	classes []*class
	of      []int // by habit
	names   map[string]bool
	index   []int // by class: its place in Proposal.Classes
}

func (a *author) write() {
	a.names = map[string]bool{}
	for _, g := range a.plan.Groups {
		a.names[g.Name] = true
	}
	prefixes := a.divide()
	a.recognise()
	a.foldEmpty()
	members := a.members()
	for i, c := range a.classes {
		a.class(i, c, members[i], prefixes[i])
	}
	a.roles()
	a.exceptions()
}

// members lists each class's endpoints, sorted by address.
func (a *author) members() [][]uint32 {
	out := make([][]uint32, len(a.classes))
	for e := range a.endpoints {
		c := a.of[a.habits.of[e]]
		out[c] = append(out[c], uint32(e))
	}
	return out
}

// stepped says whether the plan lets a group be refactored: some wave blocks
// it, and no step refactors it already.
func (a *author) stepped(group string) (bool, string) {
	for _, r := range a.plan.Refactor {
		if slices.Contains(r.Groups, group) {
			return false, fmt.Sprintf("the group %s is refactored by the plan's step %s", group, r.Name)
		}
	}
	if !slices.ContainsFunc(a.plan.Enforce.Waves, func(w plans.Wave) bool { return slices.Contains(w.Groups, group) }) {
		return false, fmt.Sprintf("the group %s is left open by the plan", group)
	}
	return true, ""
}

// divide writes the members of the new groups. Where one cannot be a group of
// its own its endpoints stay with the rest of their group.
func (a *author) divide() [][]netip.Prefix {
	out := make([][]netip.Prefix, len(a.classes))
	members := a.members()
	first := 0
	for i, c := range a.classes {
		if c.first {
			first = i
			continue
		}
		group := a.groups[c.group].name
		within := a.plan.Scope.Inside
		if g := a.plan.Group(group); group != plans.Unassigned {
			within = g.Members
		}
		var own, others []netip.Addr
		for _, e := range members[i] {
			own = append(own, a.endpoints[e].Addr)
		}
		for j, list := range members {
			if j != i && a.classes[j].group == c.group {
				for _, e := range list {
					others = append(others, a.endpoints[e].Addr)
				}
			}
		}
		slices.SortFunc(others, netip.Addr.Compare)
		out[i] = covers(own, others, within)
		for _, p := range out[i] {
			if taken := a.taken(p); taken != "" {
				a.Notes = append(a.Notes, fmt.Sprintf("%d endpoints of %s behave alike, but %s is a member of %s by itself: take it out to make a group of them", c.n, group, p, taken))
				a.fold(i, first)
				break
			}
		}
	}
	return out
}

// foldEmpty gives classes without rules back to the rest of their group.
func (a *author) foldEmpty() {
	first := 0
	for i, c := range a.classes {
		if c.first {
			first = i
		} else if !c.folded && len(c.anywhere)+len(c.places) == 0 {
			a.fold(i, first)
		}
	}
}

// fold gives the endpoints of a class to another.
func (a *author) fold(from, to int) {
	c, d := a.classes[from], a.classes[to]
	for _, x := range c.habits {
		a.of[x] = to
	}
	d.n += c.n
	d.habits = append(d.habits, c.habits...)
	d.stats.merge(c.stats)
	a.grant(d, levels[a.Level-1])
	if d.twin != nil {
		a.grant(d.twin, levels[a.Level-1])
	}
	for _, x := range a.Named {
		a.narrow(x)
	}
	c.folded = true
}

func (a *author) class(i int, c *class, members []uint32, prefixes []netip.Prefix) {
	if c.folded {
		a.index = append(a.index, -1)
		return
	}
	group := a.groups[c.group].name
	if c.twin != nil && c.twin.group < c.group { // the class is there already
		x := &a.Classes[a.index[slices.Index(a.classes, c.twin)]]
		x.Purity *= float64(x.Seen)
		x.Seen += int(c.n)
		a.fits(x, c, members)
		a.index = append(a.index, a.index[slices.Index(a.classes, c.twin)])
		return
	}
	x := Class{Name: group, Of: group, New: !c.first, Seen: int(c.n), Rules: []Rule{}}
	if x.New {
		x.Members = prefixes
		for _, p := range x.Members {
			if p.Addr().Is4() {
				x.Holds += 1 << (32 - p.Bits())
			} else {
				x.Holds++
			}
		}
		x.Families = a.families(x.Members)
		x.Name = a.name(group, c)
		x.step = true
	} else {
		ok, why := a.stepped(group)
		if x.step = ok; !ok {
			a.Notes = append(a.Notes, why+": nothing is proposed for it")
		}
	}
	a.fits(&x, c, members)
	for _, al := range a.allows(c) {
		x.Rules = append(x.Rules, Rule{To: al.to, Names: al.names, Services: al.services, Users: int(al.users), Granted: al.granted, Seen: al.used})
	}
	if len(x.Rules) == 0 && x.step {
		a.Notes = append(a.Notes, fmt.Sprintf("the endpoints of %s have too little in common at this level for rules of their own", x.Name))
		x.step = false
	}
	a.index = append(a.index, len(a.Classes))
	a.Classes = append(a.Classes, x)
}

// taken returns the group that has exactly this prefix as a member.
func (a *author) taken(p netip.Prefix) string {
	for _, g := range a.plan.Groups {
		if slices.Contains(g.Members, p) {
			return g.Name
		}
	}
	return ""
}

// families are those of the members where the scope has more.
func (a *author) families(members []netip.Prefix) []flow.Family {
	var out []flow.Family
	for _, p := range members {
		if f := flow.FamilyOf(p.Addr()); !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	slices.Sort(out)
	if len(out) == len(a.plan.Scope.Families()) {
		return nil
	}
	return out
}

// fits measures how well members fit.
func (a *author) fits(x *Class, c *class, members []uint32) {
	k := &clusterer{habits: a.habits, common: map[uint32]bool{}}
	fit := map[uint32]float64{}
	for _, i := range c.habits {
		fit[i] = 0
		if c.cluster.n > 0 {
			fit[i] = k.fit(a.habits.habits[i].features, c.cluster)
		}
	}
	for _, e := range members {
		f := fit[a.habits.of[e]]
		x.Purity += f
		if f < badly {
			x.Misfits = append(x.Misfits, Misfit{a.endpoints[e].Addr, f})
		}
	}
	x.Purity /= float64(max(1, x.Seen))
	slices.SortStableFunc(x.Misfits, func(a, b Misfit) int { return cmp.Compare(a.Fit, b.Fit) })
}

// serviceWords name services in the names of groups.
var serviceWords = map[string]string{"tcp/25": "smtp", "tcp/465": "smtps", "tcp/587": "submission", "tcp/22": "ssh", "tcp/80": "http", "tcp/443": "https", "udp/443": "quic",
	"udp/53": "dns", "tcp/53": "dns", "udp/123": "ntp", "tcp/389": "ldap", "tcp/636": "ldaps", "tcp/143": "imap", "tcp/993": "imaps", "tcp/1433": "mssql", "tcp/3306": "mysql",
	"tcp/5432": "postgres", "udp/514": "syslog", "tcp/6514": "syslog", "tcp/8883": "mqtt", "tcp/5671": "amqp", "tcp/9092": "kafka", "tcp/21": "ftp", "tcp/3128": "proxy", "tcp/8080": "http-alt"}

// name calls a new group after its parent and the service that sets it apart.
func (a *author) name(group string, c *class) string {
	var main *class
	for _, o := range a.classes {
		if o.group == c.group && o.first {
			main = o
		}
	}
	best, word := 0.0, ""
	for _, s := range slices.Sorted(maps.Keys(c.stats.services)) {
		d := float64(c.stats.services[s].users)/float64(max(1, c.n)) - float64(main.stats.services[s].users)/float64(max(1, main.n))
		if d > best {
			best = d
			t := a.services[s].String()
			if word = serviceWords[t]; word == "" {
				word = strings.ReplaceAll(t, "/", "-")
			}
		}
	}
	if word == "" {
		word = "part"
	}
	base := group
	if len(base)+len(word) > 27 {
		base = strings.TrimRight(base[:max(1, 27-len(word))], "-")
	}
	name := base + "-" + word
	for i := 2; a.names[name]; i++ {
		name = fmt.Sprintf("%s-%s-%d", base, word, i)
	}
	a.names[name] = true
	return name
}

// roles finds what several classes do alike: places and services that exactly
// the same classes may use.
func (a *author) roles() {
	type feature struct {
		s        uint32
		place    uint32
		anywhere bool
	}
	users := map[feature][]int{}
	for i, c := range a.classes {
		if a.index[i] < 0 || !a.Classes[a.index[i]].step {
			continue
		}
		for s := range c.anywhere {
			f := feature{s: s, anywhere: true}
			if !slices.Contains(users[f], a.index[i]) {
				users[f] = append(users[f], a.index[i])
			}
		}
		for p := range c.places {
			f := feature{s: a.list[p].service, place: p}
			users[f] = append(users[f], a.index[i])
		}
	}
	bySet := map[string][]feature{}
	for f, list := range users {
		if len(list) > 1 {
			slices.Sort(list)
			k := fmt.Sprint(list)
			bySet[k] = append(bySet[k], f)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(bySet)) {
		r := Role{}
		for _, i := range users[bySet[k][0]] {
			r.Classes = append(r.Classes, a.Classes[i].Name)
		}
		for _, f := range bySet[k] {
			to := "anywhere outside"
			if !f.anywhere {
				to = strings.Join(a.list[f.place].words(), ", ")
			}
			r.Services = append(r.Services, a.services[f.s].String()+" to "+to)
		}
		slices.Sort(r.Services)
		a.Roles = append(a.Roles, r)
	}
	slices.SortStableFunc(a.Roles, func(x, y Role) int {
		return cmp.Or(cmp.Compare(len(y.Classes)*len(y.Services), len(x.Classes)*len(x.Services)), slices.Compare(x.Classes, y.Classes), slices.Compare(x.Services, y.Services))
	})
	for i := range a.Roles {
		a.Roles[i].Number = i + 1
	}
}

// exceptions packs what no rule allows: the same endpoints and services in one.
func (a *author) exceptions() {
	from := map[uint32][]uint32{}
	a.left(a.classes, a.of, func(e int, place uint32) {
		if i := a.of[a.habits.of[e]]; a.index[i] >= 0 && a.Classes[a.index[i]].step && !a.forbidden(a.Classes[a.index[i]], place) {
			from[place] = append(from[place], uint32(e))
		}
	})
	type entry struct {
		group uint32
		from  []uint32
		to    map[string][]flow.Service
	}
	byFrom := map[string]*entry{}
	for _, p := range slices.Sorted(maps.Keys(from)) {
		byGroup := map[uint32][]uint32{} // the two families of a group are two
		for _, e := range from[p] {
			g := a.groupOf[e]
			byGroup[g] = append(byGroup[g], e)
		}
		for g, list := range byGroup {
			k := fmt.Sprint(list)
			if byFrom[k] == nil {
				byFrom[k] = &entry{group: g, from: list, to: map[string][]flow.Service{}}
			}
			x := a.list[p]
			to := strings.Join(x.words(), " ")
			byFrom[k].to[to] = append(byFrom[k].to[to], a.services[x.service])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(byFrom)) {
		x := byFrom[k]
		byTo := map[string]*allow{}
		for to, services := range x.to {
			byTo[to] = &allow{to: strings.Fields(to), services: services}
		}
		for _, al := range packed(byTo) {
			y := Exception{Of: a.groups[x.group].name, To: al.to, Services: al.services}
			for _, e := range x.from {
				y.From = append(y.From, a.endpoints[e].Addr)
			}
			a.Exceptions = append(a.Exceptions, y)
		}
	}
	slices.SortStableFunc(a.Exceptions, func(x, y Exception) int {
		return cmp.Or(cmp.Compare(x.Of, y.Of), slices.CompareFunc(x.From, y.From, netip.Addr.Compare), slices.CompareFunc(x.Services, y.Services, flow.CompareServices), slices.Compare(x.To, y.To))
	})
}
