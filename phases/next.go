package phases

import (
	"fmt"
	"slices"

	"weir/phases/compile"
	"weir/plans"
)

// Next is the step that may be requested now. It follows from what is in force
// and from the registered plan alone:
//
//   - a plan registered anew comes back at the place that each group keeps
//     (State.Carried); groups that must go through alert make it enforce/alert;
//   - else the first wave that changes anything, then the refactorings that
//     are not in force, then watch. No step takes a group back.
func Next(plan plans.Plan, s State) (Step, error) {
	steps := Expand(plan)
	name, hash, targets, swapped := s.Current()
	switch {
	case s.Stable == "":
		return steps[1], nil
	case hash != plan.Hash:
		return reentry(plan, steps, name, s.Carried, swapped), nil
	case name == StepMonitor:
		return steps[2], nil
	}
	for _, st := range steps {
		switch {
		case st.Phase() == "enforce" && st.Name != StepAlert:
			merged := merge(plan, st.Targets, targets)
			if !equalTargets(merged, targets) {
				st.Narrows = changed(targets, merged)
				st.Targets, st.Swapped = merged, swapped
				return st, nil
			}
		case len(st.Swapped) > 0 && st.Name != StepWatch:
			if r := st.Wave(); !slices.Contains(swapped, r) {
				st.Targets, st.Swapped = targets, append(slices.Clone(swapped), r)
				return st, nil
			}
		case st.Name == StepWatch && name != StepWatch:
			st.Targets, st.Swapped = targets, swapped
			return st, nil
		}
	}
	return Step{}, ErrNoNext
}

// reentry is the step with which a plan that was registered anew comes into
// force: no group is denied more than before.
func reentry(plan plans.Plan, steps []Step, name string, carried []Target, swapped []string) Step {
	if name == StepOff || name == StepMonitor {
		return steps[1]
	}
	st, ok := find(steps, name)
	kept := slices.DeleteFunc(slices.Clone(swapped), func(r string) bool {
		return !slices.ContainsFunc(plan.Refactor, func(p plans.Refactor) bool { return p.Name == r })
	})
	same := ok && equalTargets(merge(plan, st.Targets, carried), carried)
	if !same || len(kept) != len(swapped) {
		st = Step{Name: StepAlert, Observes: true}
	}
	if carried == nil {
		for _, t := range merge(plan, steps[len(steps)-1].Targets, nil) {
			carried = append(carried, Target{Group: t.Group, Treatment: compile.Alert})
		}
	}
	st.Targets, st.Swapped, st.Narrows = carried, kept, nil
	st.Brownouts = nil
	st.Observes = !st.Denies()
	finish(plan, &st)
	st.Gates = nil // nothing is denied that passed before
	return st
}

func find(steps []Step, name string) (Step, bool) {
	i := slices.IndexFunc(steps, func(s Step) bool { return s.Name == name })
	if i < 0 {
		return Step{}, false
	}
	return steps[i], true
}

// ladder lists what the plan makes of a group, from open to its last wave.
func ladder(plan plans.Plan, group string) []Target {
	out := []Target{{Group: group, Treatment: compile.Open}, {Group: group, Treatment: compile.Alert}}
	for _, st := range Expand(plan) {
		if t, ok := st.Target(group); ok && t.Treatment.Denies() && !t.Equal(out[len(out)-1]) {
			out = append(out, t)
		}
	}
	return out
}

// level is the highest place on the ladder that is not narrower than t.
func level(rungs []Target, t Target) int {
	for i := len(rungs) - 1; i > 0; i-- {
		if !narrower(rungs[i], t) {
			return i
		}
	}
	return 0
}

// narrower says whether a denies endpoints that b does not deny.
func narrower(a, b Target) bool {
	switch {
	case !a.Treatment.Denies():
		return a.Treatment == compile.Alert && b.Treatment == compile.Open
	case !b.Treatment.Denies():
		return true
	case !slices.Equal(a.Prefixes, b.Prefixes):
		return len(b.Prefixes) > 0 // all members, or others
	}
	return full(a.Share) > full(b.Share)
}

func full(share int) int {
	if share == 0 {
		return 100
	}
	return share
}

// merge takes for each group the higher of its place in a step and its place
// now.
func merge(plan plans.Plan, step, now []Target) []Target {
	out := slices.Clone(step)
	for i, t := range out {
		j := slices.IndexFunc(now, func(n Target) bool { return n.Group == t.Group })
		if j < 0 {
			continue
		}
		rungs := ladder(plan, t.Group)
		if a, b := level(rungs, t), level(rungs, now[j]); b >= a {
			out[i] = now[j]
		}
	}
	return out
}

// changed lists the groups whose target differs.
func changed(before, after []Target) []string {
	var out []string
	for _, t := range after {
		j := slices.IndexFunc(before, func(n Target) bool { return n.Group == t.Group })
		if j < 0 || !before[j].Equal(t) {
			out = append(out, t.Group)
		}
	}
	return out
}

func stepNames(steps []Step) string {
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
	}
	return fmt.Sprint(names)
}
