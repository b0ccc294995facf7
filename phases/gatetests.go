package phases

import (
	"slices"
	"strings"

	"weir/phases/compile"
	"weir/phases/expect"
	"weir/phases/policy"
	"weir/plans"
)

// gateTests asks the plan's tests what a step would have in force. It is no
// gate of the step's own list: it needs the frozen rules, so it is asked when
// they were made, and once they are frozen they do not change. A step that
// judges nobody is not asked.
func gateTests(plan plans.Plan, step Step, in compile.Input) (GateResult, bool) {
	judges := slices.ContainsFunc(step.Targets, func(t Target) bool { return t.Treatment != compile.Open })
	if len(plan.Tests) == 0 || !judges {
		return GateResult{}, false
	}
	if s := in.Shadow; s != nil {
		// What would take the place of the rules is asked before it runs beside them.
		in.Policy.Rules = slices.DeleteFunc(slices.Clone(in.Policy.Rules), func(r policy.Rule) bool { return slices.Contains(s.Groups, r.Group) })
		in.Policy.Rules = append(in.Policy.Rules, s.Policy.Rules...)
		in.Never = slices.Concat(in.Never, s.Never)
	}
	r := pass("no test is of a group that is ever blocked")
	if list := expect.Frozen(&plan, in); len(list) > 0 {
		r = pass("%s", strings.TrimPrefix(expect.Words(list), "tests: "))
		if bad := expect.Failures(list); len(bad) > 0 {
			r.Verdict, r.Words = Fail, strings.Join(bad, "; ")
		}
	}
	r.Gate = GateTests
	return r, true
}
