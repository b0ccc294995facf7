package enforce

import (
	"slices"
	"time"

	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/plans"
)

// Fallen is what an excision takes away.
type Fallen struct {
	Rules []policy.Box `json:"rules"` // what the policy would no longer allow
	Flows []flow.Flow  `json:"flows"` // the flows that are taken out
	Hurt  []flow.Flow  `json:"hurt"`  // flows of other endpoints that only those made allowed
}

// Excise says what would fall from the policy if an excision were booked
// (monitor.Evidence.Exclude): a scanner or an intruder inside the baseline. It
// changes nothing.
func Excise(p *plans.Plan, rows []monitor.Row, x monitor.Excision, answers Answers, upTo time.Time) Fallen {
	before, _ := Build(p, rows, answers, upTo)
	after := slices.Clone(rows)
	var out Fallen
	for i, r := range after {
		if r.Normal() && x.Takes(r.Flow(), r.First) {
			after[i].Excluded = x.ID
			out.Flows = append(out.Flows, r.Flow())
		}
	}
	left, _ := Build(p, after, answers, upTo)
	out.Rules, _ = policy.Diff(before, left)
	old, now := policy.NewIndex(before), policy.NewIndex(left)
	for _, r := range after {
		if !r.Active() {
			continue
		}
		_, was := old.Allows(r.Group, r.Flow())
		if _, is := now.Allows(r.Group, r.Flow()); was && !is {
			out.Hurt = append(out.Hurt, r.Flow())
		}
	}
	slices.SortFunc(out.Flows, flow.Compare)
	slices.SortFunc(out.Hurt, flow.Compare)
	return out
}
