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
	if _, err := m.append(r); err != nil {
		return err
	}
	m.plan = plan
	return nil
}

// planOf reads a plan that was registered earlier from the journal.
func (m *Machine) planOf(hash string) (plans.Plan, error) {
	if p, ok := m.old[hash]; ok {
		return p, nil
	}
	records, err := m.Journal.Records()
	if err != nil {
		return plans.Plan{}, fmt.Errorf("cannot read the journal: %w", err)
	}
	for i := len(records) - 1; i >= 0; i-- {
		if records[i].Kind == Applied && records[i].Plan == hash {
			p, err := m.parse(records[i].PlanText)
			if err == nil && p.Hash != hash {
				err = fmt.Errorf("cannot use the plan %s in the journal: its text has the hash %s", hash, p.Hash)
			}
			if err == nil {
				m.old[hash] = p
			}
			return p, err
		}
	}
	return plans.Plan{}, fmt.Errorf("cannot find the plan %s in the journal", hash)
}

// PlanInForce is the plan of the confirmed step, which the registered one may
// not be yet; its Hash is "" while nothing is confirmed.
func (m *Machine) PlanInForce() (plans.Plan, error) {
	h, ok := m.state.Heads[m.state.Stable]
	switch {
	case !ok:
		return plans.Plan{}, nil
	case h.Plan == m.plan.Hash:
		return m.plan, nil
	}
	return m.planOf(h.Plan)
}

// Preview is what registering a plan would do, for "weir plan": the step that
// would be next, without writing anything.
func (m *Machine) Preview(plan plans.Plan) (Step, error) {
	s := m.state
	var err error
	if s.Carried, err = m.carried(plan); err != nil {
		return Step{}, err
	}
	return Next(plan, s)
}

// carried is the place that each group keeps under a plan, from what is in
// force now; nil where what is in force is of that plan, or nothing is.
func (m *Machine) carried(plan plans.Plan) ([]Target, error) {
	h, ok := m.state.Heads[m.state.Stable]
	if !ok || h.Plan == plan.Hash {
		return nil, nil
	}
	old, err := m.planOf(h.Plan)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprint(m.state.Stable, plan.Hash, m.back())
	if m.places.key != key {
		m.places.key, m.places.targets = key, Carry(old, plan, m.state.effective(), h.Step.Swapped)
	}
	return m.places.targets, nil
}
