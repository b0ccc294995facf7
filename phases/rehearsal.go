package phases

import (
	"context"
	"fmt"
	"time"
)

// Rehearsal is what was found when a frozen step and its ways back were played
// in a throw-away namespace, before anybody approved it. It is a part of what is
// approved.
type Rehearsal struct {
	Took     time.Duration `json:"took"`     // nanoseconds
	Packets  int           `json:"packets"`  // sent, each of which met what the policy says
	Recorded int           `json:"recorded"` // flows of the evidence among them
	Of       int           `json:"of"`       // flows of the evidence
	Hash     string        `json:"hash"`     // of what the kernel held before the step, and again after the way back
	Back     string        `json:"back"`     // the step that was gone back to; then to off
	Leaks    *Leaks        `json:"leaks,omitempty"`
}

func (r Rehearsal) String() string {
	return fmt.Sprintf("rehearsed in %d ms: %d packets, %d of %d recorded flows; back to %s, hash equal",
		r.Took.Milliseconds(), r.Packets, r.Recorded, r.Of, r.Back)
}

// rehearse plays a step that was just frozen; what it finds becomes a part of
// the step.
func (m *Machine) rehearse(ctx context.Context, f *Frozen) error {
	if m.Rehearse == nil {
		return nil
	}
	var over *Frozen
	if f.OverStep != "" {
		o, err := m.frozen(f.OverStep)
		if err != nil {
			return err
		}
		over = &o
	}
	r, err := m.Rehearse(ctx, *f, over)
	if err != nil {
		return err
	}
	f.Rehearsal = &r
	return nil
}

// Leaks sums up what an intruder in each group tried against a frozen step. The
// whole list is bound by its hash.
type Leaks struct {
	Ways   int    `json:"ways"`
	Open   int    `json:"open"`   // each by somebody's decision
	Closes int    `json:"closes"` // open under the step before, closed under this one
	Opens  int    `json:"opens"`
	Hash   string `json:"hash"` // of the list
}

func (l Leaks) String() string {
	return fmt.Sprintf("%d ways out tried: %d stay open by decision, %d are closed by this step, %d opened; weir leaktest lists them", l.Ways, l.Open, l.Closes, l.Opens)
}
