package plans

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"weir/phases/flow"
)

// Kind is what a changed plan means for one group.
type Kind string

// The kinds, from the one that moves nothing to those that send a group back
// through alert. The zero value is invalid.
const (
	Same    Kind = "same"
	Widens  Kind = "widens"  // it may do more, nothing less
	Narrows Kind = "narrows" // it may do less, or that cannot be told from the plans
	Members Kind = "members" // it has got endpoints that it did not have
	New     Kind = "new"
	Gone    Kind = "gone"
)

// Change says what a new plan means for one group, with every reason.
type Change struct {
	Group string
	Kind  Kind
	Why   []string // why it is not Same; in the order in which it was found
}

// Alert says whether the group must go through alert again.
func (c Change) Alert() bool { return c.Kind == Narrows || c.Kind == Members || c.Kind == New }

// Diff compares two plans, group by group, by name. It looks at what the plans
// say, not at evidence: what cannot be told from them counts as narrowing. A
// group of which only settings of steps not taken yet have changed (waves,
// times, approvals) is Same.
func Diff(old, plan *Plan) []Change {
	var out []Change
	before, after := grantsOf(old), grantsOf(plan)
	lost := lostBy(old, plan)
	for _, g := range plan.Groups {
		was := old.Group(g.Name)
		if was == nil {
			out = append(out, Change{g.Name, New, []string{"the group is new"}})
			continue
		}
		d := differ{old: old, plan: plan, a: *was, b: g, before: before, after: after, lost: lost}
		out = append(out, d.change())
	}
	for _, g := range old.Groups {
		if plan.Group(g.Name) == nil {
			out = append(out, Change{g.Name, Gone, []string{"the group is gone; its endpoints are in other groups"}})
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		switch {
		case a.Group < b.Group:
			return -1
		case a.Group > b.Group:
			return 1
		}
		return 0
	})
	return out
}

type differ struct {
	old, plan             *Plan
	a, b                  Group // before and after
	before, after         grants
	lost                  []loss
	gains, wider, narrows []string
}

func (d *differ) change() Change {
	d.members()
	d.rules()
	d.declared()
	d.never()
	d.lifelines()
	d.refactor()
	c := Change{Group: d.b.Name, Kind: Same, Why: slices.Concat(d.gains, d.narrows, d.wider)}
	switch {
	case len(d.gains) > 0:
		c.Kind = Members
	case len(d.narrows) > 0:
		c.Kind = Narrows
	case len(d.wider) > 0:
		c.Kind = Widens
	}
	return c
}

func (d *differ) gain(format string, a ...any) { d.gains = append(d.gains, fmt.Sprintf(format, a...)) }
func (d *differ) narrow(format string, a ...any) {
	d.narrows = append(d.narrows, fmt.Sprintf(format, a...))
}
func (d *differ) widen(format string, a ...any) { d.wider = append(d.wider, fmt.Sprintf(format, a...)) }

// members finds endpoints that the group did not have: its own new ones, and
// those that fall to it because another group gave them up. Endpoints that it
// lost are another group's matter.
func (d *differ) members() {
	x, y := d.old.Scope, d.plan.Scope
	if !reflect.DeepEqual(x.Hooks, y.Hooks) || !reflect.DeepEqual(x.Inside, y.Inside) || !reflect.DeepEqual(x.InsideIfaces, y.InsideIfaces) {
		d.gain("the scope's hooks or inside changed")
	}
	if !reflect.DeepEqual(x.Outside, y.Outside) || !reflect.DeepEqual(x.OutsideIfaces, y.OutsideIfaces) {
		d.narrow("the scope's outside changed: other destinations are judged")
	}
	if x.Inbound != y.Inbound && y.Inbound == "refuse" {
		d.narrow("new connections from outside are refused")
	}
	a, b := d.a, d.b
	for _, p := range b.Members {
		if !within(p, a.Members) {
			d.gain("%s is a new member", p)
		}
	}
	for _, f := range b.Families {
		if !slices.Contains(a.Families, f) {
			d.gain("%s is a new family", f)
		}
	}
	added(b.MACs, a.MACs, func(s string) { d.gain("%s is a new member", s) })
	added(b.Ifaces, a.Ifaces, func(s string) { d.gain("the interface %s is a new member", s) })
	added(b.UIDs, a.UIDs, func(u uint32) { d.gain("uid %d is a new member", u) })
	if b.Self && (!a.Self || len(b.UIDs) == 0 && len(a.UIDs) > 0) {
		d.gain("it is the whole of this machine now")
	}
	for _, l := range d.lost {
		if l.from != b.Name && l.caught(d.plan, b) {
			d.gain("%s may fall to it from %s", l.what, l.from)
		}
	}
}

// loss is what one group gave up.
type loss struct {
	from, what string
	owner      string // of a prefix: who has it now, Unassigned where nobody has
	kind       string // "prefix", "mac", "interface", "self"
}

func lostBy(old, plan *Plan) (out []loss) {
	for _, g := range old.Groups {
		var now Group
		if n := plan.Group(g.Name); n != nil {
			now = *n
		}
		for _, p := range g.Members {
			if !within(p, now.Members) {
				out = append(out, loss{g.Name, p.String(), plan.owner(p), "prefix"})
			}
		}
		added(g.MACs, now.MACs, func(s string) { out = append(out, loss{g.Name, s, "", "mac"}) })
		added(g.Ifaces, now.Ifaces, func(s string) { out = append(out, loss{g.Name, s, "", "interface"}) })
		if g.Self && (!now.Self || len(now.UIDs) > 0 && (len(g.UIDs) == 0 || !subset(g.UIDs, now.UIDs))) {
			out = append(out, loss{g.Name, "a part of this machine", "", "self"})
		}
	}
	return out
}

// caught says whether what was lost may be in the group g now. An endpoint
// known by its MAC may have any address.
func (l loss) caught(plan *Plan, g Group) bool {
	switch l.kind {
	case "prefix":
		return l.owner == g.Name || l.owner == Unassigned && len(g.Ifaces) > 0
	case "mac":
		return len(g.Members) > 0 || len(g.Ifaces) > 0 || g.Name == Unassigned
	case "interface":
		return g.Name == Unassigned
	}
	return g.Self && len(g.UIDs) == 0 || g.Name == Unassigned && plan.output()
}

// added calls f for what is in a and not in b.
func added[T comparable](a, b []T, f func(T)) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			f(x)
		}
	}
}

func subset[T comparable](a, b []T) bool {
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}

// rules compares how rules come from evidence.
func (d *differ) rules() {
	a, b := d.a, d.b
	switch {
	case a.Allow == b.Allow:
	case b.Allow == "observed":
		d.widen("it is allowed what was observed")
	default:
		d.narrow("it is allowed only what is declared")
	}
	if b.Allow == "observed" && a.Allow == "observed" {
		switch {
		case slices.Equal(a.RulesBy, b.RulesBy):
		case finer(b.RulesBy, a.RulesBy):
			d.widen("its rules are by %v, not by %v", b.RulesBy, a.RulesBy)
		default:
			d.narrow("its rules are by %v, not by %v", b.RulesBy, a.RulesBy)
		}
		switch x, y := d.old.Monitor.MinDays, d.plan.Monitor.MinDays; {
		case y > x:
			d.narrow("a flow must be seen on %d days, not on %d", y, x)
		case y < x:
			d.widen("a flow must be seen on %d days, not on %d", y, x)
		}
	}
}

// finer says whether rules by b are at least as fine as rules by a.
func finer(a, b []string) bool {
	has := slices.Contains[[]string]
	return (has(b, "endpoint") || !has(a, "endpoint")) && (has(b, "destination") || !has(a, "destination"))
}

// declared compares the declared flows of the group.
func (d *differ) declared() {
	d.compare(d.before.declared, d.after.declared, "the declared flow %s is less or gone", "the declared flow %s is new or more")
}

// compare notes which grants of the group are no longer covered, and which are
// new. It compares one with one: what is spread over several is not found.
func (d *differ) compare(before, after map[string][]grant, less, more string) {
	x, y := before[d.a.Name], after[d.b.Name]
	for _, g := range uncovered(x, y) {
		d.narrow(less, g)
	}
	for _, g := range uncovered(y, x) {
		d.widen(more, g)
	}
}

// uncovered names the grants of a that none of b covers.
func uncovered(a, b []grant) (names []string) {
	for _, x := range a {
		if !slices.ContainsFunc(b, func(y grant) bool { return y.covers(x) }) {
			names = append(names, x.name)
		}
	}
	return names
}

// grants are a plan's flows by group.
type grants struct{ declared, never, lifelines, refactor map[string][]grant }

func grantsOf(p *Plan) grants {
	out := grants{map[string][]grant{}, map[string][]grant{}, map[string][]grant{}, map[string][]grant{}}
	for _, e := range p.Declared {
		x := p.grant(e.Name, e.To, e.Services, e.Families)
		if !e.Expires.IsZero() {
			x.expires = e.Expires.Unix()
		}
		if e.Window != nil {
			x.window, x.windowed = *e.Window, true
		}
		p.each(out.declared, x, e.From)
	}
	for _, n := range p.Never {
		p.each(out.never, p.grant(n.Name, n.To, n.Services, bothFamilies), n.From)
	}
	for _, l := range p.Lifelines {
		p.each(out.lifelines, p.grant(l.Name, l.To, l.Services, l.Families), l.From)
	}
	for _, r := range p.Refactor {
		for _, a := range r.Allow {
			for _, name := range r.Groups {
				out.refactor[name] = append(out.refactor[name], p.grant(r.Name, a.To, a.Services, bothFamilies))
			}
		}
	}
	return out
}

func (p *Plan) grant(name string, to Target, services []flow.Service, families []flow.Family) grant {
	x := grant{name: name, services: services, families: families}
	x.to, x.everywhere = p.Resolve(to)
	return x
}

// each gives a grant to every group that has clients of it.
func (p *Plan) each(by map[string][]grant, x grant, from Target) {
	for _, c := range p.Clients(from) {
		x.ends = c.Endpoints
		by[c.Group] = append(by[c.Group], x)
	}
}

// grant is a flow as one group has it, in values that can be compared.
type grant struct {
	name       string
	ends       []netip.Prefix // empty: the whole group
	to         []netip.Prefix
	everywhere bool
	services   []flow.Service // empty: every service
	families   []flow.Family
	expires    int64 // 0: never
	window     Window
	windowed   bool
}

// covers says whether x allows all that y allows.
func (x grant) covers(y grant) bool {
	return (len(x.ends) == 0 || len(y.ends) > 0 && allWithin(y.ends, x.ends)) &&
		(x.everywhere || !y.everywhere && allWithin(y.to, x.to)) &&
		(len(x.services) == 0 || len(y.services) > 0 && servicesWithin(y.services, x.services)) &&
		subset(y.families, x.families) &&
		(x.expires == 0 || y.expires != 0 && y.expires <= x.expires) &&
		(!x.windowed || y.windowed && x.window == y.window)
}

func allWithin(ps, in []netip.Prefix) bool {
	return !slices.ContainsFunc(ps, func(p netip.Prefix) bool { return !within(p, in) })
}

func servicesWithin(ss, in []flow.Service) bool {
	return !slices.ContainsFunc(ss, func(s flow.Service) bool {
		return !slices.ContainsFunc(in, func(o flow.Service) bool { return o.Contains(s) })
	})
}

// never compares what is forbidden to the group.
func (d *differ) never() {
	x, y := d.before.never[d.a.Name], d.after.never[d.b.Name]
	for _, n := range uncovered(y, x) {
		d.narrow("never %s is new or more", n)
	}
	for _, n := range uncovered(x, y) {
		d.widen("never %s is less or gone", n)
	}
}

// lifelines are everybody's: they pass before groups are asked.
func (d *differ) lifelines() {
	d.compare(d.before.lifelines, d.after.lifelines, "the lifeline %s is less or gone", "the lifeline %s is new or more")
}

// refactor compares the rules that replace the group's own. A refactoring that
// is new changes nothing by itself: it is a step of its own.
func (d *differ) refactor() {
	had, has := len(d.before.refactor[d.a.Name]) > 0, len(d.after.refactor[d.b.Name]) > 0
	switch {
	case had && !has:
		d.narrow("its refactoring is gone")
	case had && has:
		d.compare(d.before.refactor, d.after.refactor, "the refactoring %s allows less", "the refactoring %s allows more")
	}
}
