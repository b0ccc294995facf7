package phases

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"

	"weir/phases/compile"
	"weir/plans"
)

// Carry returns the place that each group keeps when a plan is registered
// anew, from what is in force now. A group that only widens keeps its place; a
// group that narrows, is new or got other members is in alert; no group is
// denied more than now.
func Carry(old, plan plans.Plan, now []Target) []Target {
	out := make([]Target, 0, len(plan.Groups))
	ladder, is := ladders(Expand(plan)), byGroup(now)
	lost := losses(old, plan)
	for _, g := range plan.Groups {
		t := Target{Group: g.Name, Treatment: compile.Alert}
		if n, ok := is[g.Name]; ok && n.Treatment.Denies() && onlyWidens(old, plan, g.Name, lost) {
			rungs := ladder[g.Name]
			t = rungs[max(1, level(rungs, n))]
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b Target) int { return cmp.Compare(a.Group, b.Group) })
	return out
}

// onlyWidens says whether nothing that the old plan lets a group do is denied
// by the new one. Where it cannot be told from the plans alone, it is not.
func onlyWidens(old, plan plans.Plan, group string, lost []loss) bool {
	a, okA := groupOf(old, group)
	b, okB := groupOf(plan, group)
	if !okA || !okB || !reflect.DeepEqual(old.Scope, plan.Scope) || sameMembers(a, b) != nil {
		return false
	}
	if a.Allow == "observed" && b.Allow != "observed" || plan.Monitor.MinDays > old.Monitor.MinDays {
		return false
	}
	for _, x := range lost {
		if x.group != group && x.falls(b) {
			return false
		}
	}
	for _, dim := range b.RulesBy { // one more dimension makes rules narrower
		if !slices.Contains(a.RulesBy, dim) {
			return false
		}
	}
	for _, n := range plan.Never {
		if concerns(n.From, b) && !slices.ContainsFunc(old.Never, func(o plans.Never) bool { return sameBut(n, o) }) {
			return false
		}
	}
	for _, d := range old.Declared {
		if concerns(d.From, a) && !slices.ContainsFunc(plan.Declared, func(o plans.Declared) bool {
			d, o := d, o
			d.Pos, o.Pos, d.Owner, o.Owner, d.Reason, o.Reason = plans.Pos{}, plans.Pos{}, "", "", "", ""
			return reflect.DeepEqual(d, o)
		}) {
			return false
		}
	}
	for _, l := range old.Lifelines {
		if !slices.ContainsFunc(plan.Lifelines, func(o plans.Lifeline) bool {
			l, o := l, o
			l.Pos, o.Pos = plans.Pos{}, plans.Pos{}
			return reflect.DeepEqual(l, o)
		}) {
			return false
		}
	}
	for _, r := range old.Refactor {
		if !slices.Contains(r.Groups, group) {
			continue
		}
		if !slices.ContainsFunc(plan.Refactor, func(o plans.Refactor) bool {
			r, o := r, o
			r.Pos, o.Pos, r.Shadow, o.Shadow = plans.Pos{}, plans.Pos{}, 0, 0
			return reflect.DeepEqual(r, o)
		}) {
			return false
		}
	}
	return true
}

// loss is what a group of the old plan no longer holds.
type loss struct {
	group    string
	prefixes []netip.Prefix
	unplaced bool // a MAC or an interface: it says nothing of addresses
}

func losses(old, plan plans.Plan) []loss {
	is := map[string]plans.Group{}
	for _, g := range plan.Groups {
		is[g.Name] = g
	}
	gone := func(was, now []string) bool {
		return slices.ContainsFunc(was, func(s string) bool { return !slices.Contains(now, s) })
	}
	var out []loss
	for _, x := range old.Groups {
		y := is[x.Name]
		l := loss{group: x.Name, unplaced: gone(x.MACs, y.MACs) || gone(x.Ifaces, y.Ifaces)}
		for _, p := range x.Members {
			if !slices.Contains(y.Members, p) {
				l.prefixes = append(l.prefixes, p)
			}
		}
		if l.unplaced || len(l.prefixes) > 0 {
			out = append(out, l)
		}
	}
	return out
}

// falls says whether endpoints that were lost may now be in group g.
func (l loss) falls(g plans.Group) bool {
	return l.unplaced || len(l.prefixes) > 0 && (g.Name == plans.Unassigned || len(g.Ifaces) > 0) ||
		slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return slices.ContainsFunc(g.Members, p.Overlaps) })
}

// concerns says whether a target may hold endpoints of a group.
func concerns(t plans.Target, g plans.Group) bool {
	if t.Any || t.Inside || t.Outside || t.Self && g.Self || slices.Contains(t.Groups, g.Name) || g.Extends != "" && slices.Contains(t.Groups, g.Extends) {
		return true
	}
	if len(t.Prefixes) > 0 && (len(g.Members) == 0 || len(g.MACs) > 0 || len(g.Ifaces) > 0) {
		return true // it cannot be told from the plan
	}
	return slices.ContainsFunc(t.Prefixes, func(p netip.Prefix) bool { return slices.ContainsFunc(g.Members, p.Overlaps) })
}

func sameBut(a, b plans.Never) bool {
	a.Pos, b.Pos, a.Reason, b.Reason, a.Name, b.Name = plans.Pos{}, plans.Pos{}, "", "", "", ""
	return reflect.DeepEqual(a, b)
}

func groupOf(plan plans.Plan, name string) (plans.Group, bool) {
	i := slices.IndexFunc(plan.Groups, func(g plans.Group) bool { return g.Name == name })
	if i < 0 {
		return plans.Group{}, false
	}
	return plan.Groups[i], true
}

// sameMembers returns what differs, or nil.
func sameMembers(a, b plans.Group) []string {
	var out []string
	for _, c := range []struct {
		what string
		same bool
	}{
		{"members", slices.Equal(a.Members, b.Members)}, {"macs", slices.Equal(a.MACs, b.MACs)},
		{"interfaces", slices.Equal(a.Ifaces, b.Ifaces)}, {"uids", slices.Equal(a.UIDs, b.UIDs)},
		{"families", slices.Equal(a.Families, b.Families)}, {"self", a.Self == b.Self},
	} {
		if !c.same {
			out = append(out, c.what)
		}
	}
	return out
}
