package phases

import (
	"slices"
	"strings"

	"weir/phases/compile"
	"weir/phases/expect"
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
