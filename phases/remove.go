package phases

import (
	"context"
	"fmt"
	"time"
)

// Removed records that weir's table was taken out of the kernel on purpose:
// nothing is restored, and the rollout begins anew with its first step. The
// kernel is looked at first: ErrNotDone where the table is still there.
func (m *Machine) Removed(ctx context.Context, now time.Time, by Actor) error {
	look, err := m.Kernel.Look(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	m.look = look
	if look.Present {
		return ErrNotDone
	}
	if _, err = m.append(Record{At: now, Kind: TakenOut, Actor: by, Boot: look.BootID, Before: m.state.StableID, Words: "weir's table was removed: everything passes"}); err != nil {
		return err
	}
	return m.kept(now, true, "weir's table was removed")
}
