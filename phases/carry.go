package phases

import (
	"cmp"
	"slices"

	"weir/phases/compile"
	"weir/plans"
)

// Carry returns the place that each group keeps when a plan is registered
// anew, from what is in force now: its targets and the refactorings that were
// swapped. What a plan says of other refactorings is a step of its own, whatever
// it said before. A group that only widens keeps its place; a
// group that narrows, is new or got other members is in alert; no group is
// denied more than now.
func Carry(old, plan plans.Plan, now []Target, swapped []string) []Target {
	old.Refactor, plan.Refactor = onlyOf(old.Refactor, swapped), onlyOf(plan.Refactor, swapped)
	out := make([]Target, 0, len(plan.Groups))
	ladder, is := ladders(Expand(plan)), byGroup(now)
	again := map[string]bool{}
	for _, c := range plans.Diff(&old, &plan) {
		again[c.Group] = c.Alert()
	}
	for _, g := range plan.Groups {
		// What a lost member did is no evidence for the rest: fewer rules may come.
		was, ok := groupOf(old, g.Name)
		again[g.Name] = again[g.Name] || !ok || !sameMembers(was, g)
	}
	for _, g := range plan.Groups {
		t := Target{Group: g.Name, Treatment: compile.Alert}
		if n, ok := is[g.Name]; ok && n.Treatment.Denies() && !again[g.Name] {
			rungs := ladder[g.Name]
			t = rungs[max(1, level(rungs, n))]
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b Target) int { return cmp.Compare(a.Group, b.Group) })
	return out
}

func onlyOf(list []plans.Refactor, swapped []string) []plans.Refactor {
	return slices.DeleteFunc(slices.Clone(list), func(r plans.Refactor) bool { return !slices.Contains(swapped, r.Name) })
}

func groupOf(plan plans.Plan, name string) (plans.Group, bool) {
	i := slices.IndexFunc(plan.Groups, func(g plans.Group) bool { return g.Name == name })
	if i < 0 {
		return plans.Group{}, false
	}
	return plan.Groups[i], true
}

func sameMembers(a, b plans.Group) bool {
	return slices.Equal(a.Members, b.Members) && slices.Equal(a.MACs, b.MACs) && slices.Equal(a.Ifaces, b.Ifaces) &&
		slices.Equal(a.UIDs, b.UIDs) && slices.Equal(a.Families, b.Families) && a.Self == b.Self
}
