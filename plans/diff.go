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
	for _, g := range plan.Groups {
		before := old.Group(g.Name)
		if before == nil {
			out = append(out, Change{g.Name, New, []string{"the group is new"}})
			continue
		}
		d := differ{old: old, plan: plan, a: *before, b: g}
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
	for _, g := range d.old.Groups {
		if g.Name != b.Name {
			d.fallen(g)
		}
	}
}

// fallen finds what another group gave up and this one catches.
func (d *differ) fallen(g Group) {
	var now Group
	if n := d.plan.Group(g.Name); n != nil {
		now = *n
	}
	byAddress := len(d.b.Members) > 0 || len(d.b.Ifaces) > 0 || d.b.Name == Unassigned
	for _, p := range g.Members {
		if within(p, now.Members) {
			continue
		}
		if to := d.plan.owner(p); to == d.b.Name || to == Unassigned && len(d.b.Ifaces) > 0 {
			d.gain("%s may fall to it from %s", p, g.Name)
		}
	}
	added(g.MACs, now.MACs, func(s string) {
		if byAddress {
			d.gain("%s may fall to it from %s", s, g.Name)
		}
	})
	added(g.Ifaces, now.Ifaces, func(s string) {
		if d.b.Name == Unassigned {
			d.gain("what enters by %s falls to it from %s", s, g.Name)
		}
	})
	lessSelf := g.Self && (!now.Self || len(g.UIDs) == 0 && len(now.UIDs) > 0 || !subset(g.UIDs, now.UIDs) && len(now.UIDs) > 0)
	if lessSelf && (d.b.Name == Unassigned || d.b.Self && len(d.b.UIDs) == 0) {
		d.gain("a part of this machine falls to it from %s", g.Name)
	}
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
	before, after := d.allows(d.old, d.a), d.allows(d.plan, d.b)
	for _, x := range before {
		if !slices.ContainsFunc(after, func(y grant) bool { return y.covers(x) }) {
			d.narrow("the declared flow %s is less or gone", x.name)
		}
	}
	for _, y := range after {
		if !slices.ContainsFunc(before, func(x grant) bool { return x.covers(y) }) {
			d.widen("the declared flow %s is new or more", y.name)
		}
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

func (d *differ) allows(p *Plan, g Group) []grant {
	var out []grant
	for _, e := range p.Declared {
		x, ok := p.grant(g, e.Name, e.From, e.To, e.Services, e.Families)
		if !ok {
			continue
		}
		if !e.Expires.IsZero() {
			x.expires = e.Expires.Unix()
		}
		if e.Window != nil {
			x.window, x.windowed = *e.Window, true
		}
		out = append(out, x)
	}
	return out
}

func (p *Plan) grant(g Group, name string, from, to Target, services []flow.Service, families []flow.Family) (grant, bool) {
	x := grant{name: name, services: services, families: families}
	if families == nil {
		x.families = bothFamilies
	}
	i := slices.IndexFunc(p.Clients(from), func(c Clients) bool { return c.Group == g.Name })
	if i < 0 {
		return x, false
	}
	x.ends = p.Clients(from)[i].Endpoints
	x.to, x.everywhere = p.Resolve(to)
	return x, true
}

// covers says whether x allows all that y allows. It compares one with one: y
// spread over several is not found, and counts as not covered.
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
	list := func(p *Plan, g Group) (out []grant) {
		for _, n := range p.Never {
			if x, ok := p.grant(g, n.Name, n.From, n.To, n.Services, nil); ok {
				out = append(out, x)
			}
		}
		return out
	}
	before, after := list(d.old, d.a), list(d.plan, d.b)
	for _, y := range after {
		if !slices.ContainsFunc(before, func(x grant) bool { return x.covers(y) }) {
			d.narrow("never %s is new or more", y.name)
		}
	}
	for _, x := range before {
		if !slices.ContainsFunc(after, func(y grant) bool { return y.covers(x) }) {
			d.widen("never %s is less or gone", x.name)
		}
	}
}

// lifelines are everybody's: what passes before groups are asked.
func (d *differ) lifelines() {
	list := func(p *Plan, g Group) (out []grant) {
		for _, l := range p.Lifelines {
			if x, ok := p.grant(g, l.Name, l.From, l.To, l.Services, l.Families); ok {
				out = append(out, x)
			}
		}
		return out
	}
	before, after := list(d.old, d.a), list(d.plan, d.b)
	for _, x := range before {
		if !slices.ContainsFunc(after, func(y grant) bool { return y.covers(x) }) {
			d.narrow("the lifeline %s is less or gone", x.name)
		}
	}
	for _, y := range after {
		if !slices.ContainsFunc(before, func(x grant) bool { return x.covers(y) }) {
			d.widen("the lifeline %s is new or more", y.name)
		}
	}
}

// refactor compares the rules that replace the group's own. A refactoring that
// is new changes nothing by itself: it is a step of its own.
func (d *differ) refactor() {
	list := func(p *Plan, name string) (out []grant, ok bool) {
		for _, r := range p.Refactor {
			if !slices.Contains(r.Groups, name) {
				continue
			}
			ok = true
			for _, a := range r.Allow {
				x := grant{name: r.Name, services: a.Services, families: bothFamilies}
				x.to, x.everywhere = p.Resolve(a.To)
				out = append(out, x)
			}
		}
		return out, ok
	}
	before, had := list(d.old, d.a.Name)
	after, has := list(d.plan, d.b.Name)
	switch {
	case had && !has:
		d.narrow("its refactoring is gone")
	case had && has:
		for _, x := range before {
			if !slices.ContainsFunc(after, func(y grant) bool { return y.covers(x) }) {
				d.narrow("the refactoring %s allows less", x.name)
			}
		}
		for _, y := range after {
			if !slices.ContainsFunc(before, func(x grant) bool { return x.covers(y) }) {
				d.widen("the refactoring %s allows more", y.name)
			}
		}
	}
}
