package phases

import (
	"slices"
	"strings"

	"weir/phases/compile"
	"weir/plans"
)

// Expand lists the steps of a plan, in order, before anything starts:
//
//	off · monitor · enforce/alert · enforce/block:<wave>… · refactor/shadow:<name> · refactor/swap:<name> … · watch
//
// A refactoring's shadow comes right before its swap, one after another; with
// "shadow: 0s" it has none.
// With environment "new" there is nothing to observe: monitor and
// enforce/alert are left out, and the first wave blocks with what is declared.
func Expand(plan plans.Plan) []Step {
	all := func(t compile.Treatment) []Target {
		out := make([]Target, 0, len(plan.Groups))
		for _, g := range plan.Groups {
			out = append(out, Target{Group: g.Name, Treatment: t})
		}
		slices.SortFunc(out, func(a, b Target) int { return strings.Compare(a.Group, b.Group) })
		return out
	}
	steps := []Step{{Name: StepOff, Targets: all(compile.Open), Observes: true}}
	if plan.Environment != "new" {
		steps = append(steps,
			Step{Name: StepMonitor, Targets: all(compile.Open), Observes: true},
			Step{Name: StepAlert, Targets: all(compile.Alert), Observes: true})
	}
	now := all(compile.Alert)
	for _, w := range plan.Enforce.Waves {
		s := Step{Name: blockPrefix + w.Name, Brownouts: w.Brownouts, Established: w.Established, DrainFor: plan.Enforce.DrainFor}
		now = slices.Clone(now)
		for i, t := range now {
			if !slices.Contains(w.Groups, t.Group) {
				continue
			}
			now[i] = Target{Group: t.Group, Treatment: compile.Treatment(w.Deny), Prefixes: w.Prefixes}
			if w.Share != 100 {
				now[i].Share = w.Share
			}
			s.Narrows = append(s.Narrows, t.Group)
		}
		s.Targets = now
		steps = append(steps, s)
	}
	var swapped []string
	for _, r := range plan.Refactor {
		if r.Shadow > 0 {
			steps = append(steps, Step{Name: shadowPrefix + r.Name, Targets: now, Swapped: swapped, Shadow: r.Name, Observes: true})
		}
		swapped = append(slices.Clone(swapped), r.Name)
		steps = append(steps, Step{Name: swapPrefix + r.Name, Targets: now, Swapped: swapped, Narrows: slices.Sorted(slices.Values(r.Groups)),
			Established: plan.Enforce.Established, DrainFor: plan.Enforce.DrainFor})
	}
	steps = append(steps, Step{Name: StepWatch, Targets: now, Swapped: swapped, Observes: true})
	for i := range steps {
		finish(plan, &steps[i])
	}
	return steps
}

// finish fills in what follows from a step's name alone.
func finish(plan plans.Plan, s *Step) {
	s.Approval = approvalFor(plan, s.Name)
	s.Lease = plan.ConfirmWithin
	s.Gates = gatesOf(plan, *s)
}
