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
//     are not in force, each in its shadow first, then watch. No step takes a
//     group back.
func Next(plan plans.Plan, s State) (Step, error) {
	steps := Expand(plan)
	rungs := ladders(steps)
	name, hash, targets, swapped := s.Current()
	switch {
	case s.Stable == "":
		return steps[1], nil
	case hash != plan.Hash:
		return reentry(plan, steps, rungs, name, s.Carried, swapped), nil
	case name == StepMonitor:
		return steps[2], nil
	}
	for _, st := range steps {
		switch {
		case st.Phase() == "enforce" && st.Name != StepAlert:
			merged := merge(rungs, st.Targets, targets)
			if !equalTargets(merged, targets) {
				st.Narrows = changed(targets, merged)
				st.Targets, st.Swapped = merged, swapped
				return st, nil
			}
		case st.Shadow != "":
			if !slices.Contains(swapped, st.Shadow) && name != st.Name {
				st.Targets, st.Swapped = targets, swapped
				return st, nil
			}
		case st.Phase() == "refactor":
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
func reentry(plan plans.Plan, steps []Step, rungs map[string][]Target, name string, carried []Target, swapped []string) Step {
	if name == StepOff || name == StepMonitor {
		return steps[1]
	}
	st, ok := find(steps, name)
	kept := slices.DeleteFunc(slices.Clone(swapped), func(r string) bool {
		return !slices.ContainsFunc(plan.Refactor, func(p plans.Refactor) bool { return p.Name == r })
	})
	same := ok && equalTargets(merge(rungs, st.Targets, carried), carried)
	if !same || len(kept) != len(swapped) {
		st = Step{Name: StepAlert, Observes: true}
	}
	if carried == nil {
		for _, t := range merge(rungs, steps[len(steps)-1].Targets, nil) {
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

// ladders lists what a plan makes of each group, from open to its last wave.
func ladders(steps []Step) map[string][]Target {
	out := map[string][]Target{}
	for _, st := range steps {
		for _, t := range st.Targets {
			if len(out[t.Group]) == 0 {
				out[t.Group] = []Target{{Group: t.Group, Treatment: compile.Open}, {Group: t.Group, Treatment: compile.Alert}}
			}
			if l := out[t.Group]; t.Treatment.Denies() && !t.Equal(l[len(l)-1]) {
				out[t.Group] = append(l, t)
			}
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
func merge(rungs map[string][]Target, step, now []Target) []Target {
	out := slices.Clone(step)
	is := byGroup(now)
	for i, t := range out {
		n, ok := is[t.Group]
		if !ok {
			continue
		}
		if l := rungs[t.Group]; level(l, n) >= level(l, t) {
			out[i] = n
		}
	}
	return out
}

// changed lists the groups whose target differs.
func changed(before, after []Target) []string {
	was := byGroup(before)
	var out []string
	for _, t := range after {
		if n, ok := was[t.Group]; !ok || !n.Equal(t) {
			out = append(out, t.Group)
		}
	}
	return out
}

func byGroup(targets []Target) map[string]Target {
	out := make(map[string]Target, len(targets))
	for _, t := range targets {
		out[t.Group] = t
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
