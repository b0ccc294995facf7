package phases

import (
	"context"
	"fmt"
	"time"

	"weir/plans"
)

// Apply registers a plan as the next revision. Nothing changes in the kernel:
// the confirmed step stays in force. What waits for approval is void, each
// group keeps its place or goes through alert (Carry). ErrPending during a
// trial, ErrSamePlan when it is registered already.
func (m *Machine) Apply(ctx context.Context, now time.Time, by Actor, plan plans.Plan, text []byte) error {
	if _, err := m.Recover(ctx, now); err != nil {
		return err
	}
	if m.state.Trial != nil {
		return fmt.Errorf("cannot register the plan: %w", ErrPending)
	}
	if m.state.Plan == plan.Hash {
		return fmt.Errorf("cannot register the plan: %w", ErrSamePlan)
	}
	r := Record{At: now, Kind: Applied, Actor: by, Plan: plan.Hash, PlanText: text, Words: "registered the plan " + plan.Name}
	if m.state.Stable != "" {
		old := m.plan
		if h := m.state.Heads[m.state.Stable]; h.Plan != m.plan.Hash {
			// Registered more than once since the last confirm: what is in
			// force was compiled from an older plan.
			var err error
			if old, err = m.planOf(h.Plan); err != nil {
				return err
			}
		}
		r.Carried = Carry(old, plan, m.state.effective())
	}
	if _, err := m.append(r); err != nil {
		return err
	}
	m.plan = plan
	return nil
}

// planOf reads a plan that was registered earlier from the journal.
func (m *Machine) planOf(hash string) (plans.Plan, error) {
	records, err := m.Journal.Records()
	if err != nil {
		return plans.Plan{}, fmt.Errorf("cannot read the journal: %w", err)
	}
	for i := len(records) - 1; i >= 0; i-- {
		if records[i].Kind == Applied && records[i].Plan == hash {
			return m.parse(records[i].PlanText)
		}
	}
	return plans.Plan{}, fmt.Errorf("cannot find the plan %s in the journal", hash)
}

// Preview is what registering a plan would do, for "weir plan": the step that
// would be next, without writing anything.
func (m *Machine) Preview(plan plans.Plan) (Step, error) {
	s := m.state
	if s.Stable != "" && s.Plan != plan.Hash {
		old, err := m.planOf(s.Heads[s.Stable].Plan)
		if err != nil {
			return Step{}, err
		}
		s.Carried = Carry(old, plan, s.effective())
	}
	return Next(plan, s)
}
