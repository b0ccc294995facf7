package phases

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/nft"
)

// Rollback goes back. to is "" (end a trial, else one confirmed step back), a
// step's name, a phase's name (the newest confirmed step of it), or "off". It
// needs no gate and no approval, works in every state, denies nothing that
// passes now (such groups come back in alert), and pauses the rollout. It goes
// on when the journal cannot be written: the kernel is what counts.
func (m *Machine) Rollback(ctx context.Context, now time.Time, by Actor, to string) error {
	fail := func(err error) error { return fmt.Errorf("cannot roll back: %w", err) }
	_, looked := m.Recover(ctx, now) // not fatal
	b, err := m.way(to)
	if err != nil {
		return fail(err)
	}
	tx, err := m.newTx()
	if err != nil {
		return fail(err)
	}
	b.Nft.Tx, b.Nft.Kind = tx, nft.TxRollback
	intent := Record{At: now, Kind: Intent, Op: OpRollback, Actor: by, Digest: b.Digest, Tx: tx, To: b.To,
		Revision: b.Nft.ID, Groups: b.Nft.Alert, Pauses: true, Words: "rolled back to " + b.To}
	do := func(string) error { return m.Kernel.Rollback(ctx, b.Nft) }
	err = m.act(ctx, now, intent, do)
	if err == nil {
		return nil
	}
	if m.state.Intent == nil || m.state.Intent.Tx != tx {
		if m.state.StableID == b.Nft.ID && m.state.Trial == nil && !m.state.Tx[tx] {
			// The journal could not take the intent: act without it.
			if kerr := do(tx); kerr != nil {
				return fail(errors.Join(kerr, err))
			}
			return fmt.Errorf("rolled back to %s, but: %w", b.To, err)
		}
	}
	if errors.Is(err, nft.ErrNotLoaded) {
		// The target is not in the kernel: opening is the next rung.
		b2, err2 := m.empty(b)
		if err2 == nil {
			tx2, err3 := m.newTx()
			if err3 != nil {
				return fail(errors.Join(err, err3))
			}
			b2.Nft.Tx = tx2
			intent.Tx, intent.Digest, intent.To, intent.Revision, intent.Groups = tx2, "", StepOff, "", nil
			intent.Words = "rolled back to off: " + b.To + " is not in the kernel"
			if err4 := m.act(ctx, now, intent, func(string) error { return m.Kernel.Rollback(ctx, b2.Nft) }); err4 != nil {
				return fail(errors.Join(err, err4))
			}
			return nil
		}
	}
	return fail(errors.Join(err, looked))
}

// empty is the way back that needs nothing loaded.
func (m *Machine) empty(b Backout) (Backout, error) {
	return Backout{To: StepOff, Nft: nft.Rollback{Hooks: b.Nft.Hooks, Kind: nft.TxRollback}}, nil
}

// way finds the recorded way back from what passes now.
func (m *Machine) way(to string) (Backout, error) {
	s := m.state
	from, ok := s.Heads[s.Stable]
	if s.Trial != nil {
		from, ok = s.Heads[s.Trial.Digest], true
		if to == "" && s.Stable != "" {
			return backoutTo(from, func(b Backout) bool { return b.Digest == s.Stable })
		}
	}
	if !ok {
		if s.Request != nil && to == StepOff {
			return Backout{}, ErrNothing
		}
		return Backout{}, ErrNothing
	}
	switch {
	case to == "" || to == StepOff && s.Trial == nil && s.Stable == "":
		n := len(s.Stack)
		if s.Trial != nil || n < 2 {
			return backoutTo(from, func(b Backout) bool { return b.To == StepOff })
		}
		want := s.Stack[n-2].Digest
		return backoutTo(from, func(b Backout) bool { return b.Digest == want })
	}
	return backoutTo(from, func(b Backout) bool { return b.To == to || PhaseOf(b.To) == to })
}

func backoutTo(from Head, match func(Backout) bool) (Backout, error) {
	for _, b := range from.Backouts {
		if match(b) {
			return b, nil
		}
	}
	return Backout{}, fmt.Errorf("%w: no such step was confirmed before %s", ErrNoSuchStep, from.Step.Name)
}

// RollbackGroup puts one group back to alert and touches nobody else.
func (m *Machine) RollbackGroup(ctx context.Context, now time.Time, by Actor, group string) error {
	fail := func(err error) error { return fmt.Errorf("cannot put group %s back to alert: %w", group, err) }
	_, _ = m.Recover(ctx, now) // not fatal: a rollback works in every state
	if _, ok := groupOf(m.plan, group); !ok {
		return fail(errors.New("the plan has no such group"))
	}
	tx, err := m.newTx()
	if err != nil {
		return fail(err)
	}
	intent := Record{At: now, Kind: Intent, Op: OpGroup, Actor: by, Tx: tx, Groups: []string{group}, Pauses: true,
		Words: "put group " + group + " back to alert"}
	if err := m.act(ctx, now, intent, func(tx string) error { return m.Kernel.Back(ctx, group, true, tx) }); err != nil {
		return fail(err)
	}
	return nil
}

// Pause stops the rollout: nothing is armed until Resume.
func (m *Machine) Pause(ctx context.Context, now time.Time, by Actor, words string) error {
	_, err := m.append(Record{At: now, Kind: Paused, Actor: by, Words: words})
	return err
}

// Resume lets the rollout go on, after a rollback too.
func (m *Machine) Resume(ctx context.Context, now time.Time, by Actor) error {
	if m.state.Pause == nil {
		return ErrNotPaused
	}
	_, err := m.append(Record{At: now, Kind: Resumed, Actor: by, Words: "resumed"})
	return err
}

// Restore puts the confirmed step back after the table was gone (a reboot). A
// paused rollout is not restored.
func (m *Machine) Restore(ctx context.Context, now time.Time, by Actor) error {
	fail := func(err error) error { return fmt.Errorf("cannot restore: %w", err) }
	if _, err := m.Recover(ctx, now); err != nil {
		return fail(err)
	}
	switch {
	case !m.state.Gone || m.state.Stable == "":
		return fail(ErrNothing)
	case m.state.Pause != nil:
		return fail(ErrPaused)
	}
	f, err := m.frozen(m.state.Stable)
	if err != nil {
		return fail(err)
	}
	tx, err := m.newTx()
	if err != nil {
		return fail(err)
	}
	intent := Record{At: now, Kind: Intent, Op: OpRestore, Actor: by, Digest: m.state.Stable, Revision: f.Revision, Tx: tx, Words: "restored " + f.Step.Name}
	err = m.act(ctx, now, intent, func(tx string) error {
		for _, r := range []nft.Revision{f.OffRev, f.Rules} {
			if err := m.Kernel.Load(ctx, r); err != nil {
				return fmt.Errorf("cannot load revision %s: %w", r.ID, err)
			}
		}
		return m.Kernel.Rollback(ctx, nft.Rollback{ID: f.Revision, Entry: f.Entry, Hooks: f.Hooks, Tx: tx, Kind: nft.TxRollback})
	})
	if err != nil {
		return fail(err)
	}
	return nil
}

// Drilled records that the unblock procedure was exercised, and how long it
// took.
func (m *Machine) Drilled(ctx context.Context, now time.Time, by Actor, took time.Duration) error {
	_, err := m.append(Record{At: now, Kind: Drilled, Actor: by, Took: took, Words: "exercised the unblock procedure"})
	return err
}

// Note appends daily work that is no step: an answer, an exception, a
// quarantine.
func (m *Machine) Note(ctx context.Context, now time.Time, by Actor, kind Kind, r Record) error {
	if kind != Answered && kind != Noted {
		return fmt.Errorf("cannot note a record of kind %q", kind)
	}
	r.At, r.Actor, r.Kind = now, by, kind
	_, err := m.append(r)
	return err
}
