package phases

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/nft"
)

// ToPhase, as the target of a rollback, is the newest confirmed step of an
// earlier phase.
const ToPhase = "phase"

// Rollback goes back. to is "" (end a trial, else one confirmed step back), a
// step's name, a phase's name (its newest confirmed step), ToPhase, or "off".
// It needs no gate and no approval, works in every state, denies nothing that
// passes now (such groups come back in alert), and pauses the rollout. It goes
// on when the journal cannot be written: the kernel is what counts.
func (m *Machine) Rollback(ctx context.Context, now time.Time, by Actor, to string) error {
	return m.rollBack(ctx, now, by, to, "")
}

// Unwell ends a trial that does harm, and says why; a confirm is then ErrUnwell.
func (m *Machine) Unwell(ctx context.Context, now time.Time, why string) error {
	return m.rollBack(ctx, now, Self, "", why)
}

// UnwellGroup puts a group back to alert because its confirmed step does harm.
func (m *Machine) UnwellGroup(ctx context.Context, now time.Time, group, why string) error {
	_, looked := m.Recover(ctx, now) // not fatal: a rollback works in every state
	return m.backToAlert(ctx, now, Self, group, "by health: "+why, "", looked)
}

func (m *Machine) rollBack(ctx context.Context, now time.Time, by Actor, to, unwell string) error {
	fail := func(err error) error { return fmt.Errorf("cannot roll back: %w", err) }
	_, looked := m.Recover(ctx, now) // not fatal
	b, err := m.way(to)
	if err != nil {
		return fail(errors.Join(err, looked))
	}
	words := "rolled back to " + b.To
	if unwell != "" {
		words += " by health: " + unwell
	}
	err = m.goBack(ctx, now, by, b, words, unwell)
	if err == nil {
		return m.kept(now, true, "rolled back to "+b.To)
	}
	if !errors.Is(err, nft.ErrNotLoaded) {
		return fail(m.unkept(ctx, err))
	}
	// The target is not in the kernel, after a reboot perhaps: bring it in, and
	// if that fails, open. Both are better than to stay.
	if f, ferr := m.frozen(b.Digest); ferr == nil && m.Kernel.Load(ctx, f.Rules) == nil {
		again := m.goBack(ctx, now, by, b, words, unwell)
		if again == nil {
			return m.kept(now, true, "rolled back to "+b.To)
		}
		err = errors.Join(err, again)
	}
	open := Backout{To: StepOff, Nft: nft.Rollback{Hooks: b.Nft.Hooks}}
	if again := m.goBack(ctx, now, by, open, "rolled back to off: "+b.To+" cannot be loaded", unwell); again != nil {
		return fail(m.unkept(ctx, errors.Join(err, again)))
	}
	return m.kept(now, true, "rolled back to off")
}

// goBack takes one way back, with a new transaction id.
func (m *Machine) goBack(ctx context.Context, now time.Time, by Actor, b Backout, words, unwell string) error {
	tx, err := m.newTx()
	if err != nil {
		return err
	}
	b.Nft.Tx, b.Nft.Kind = tx, nft.TxRollback
	intent := Record{At: now, Kind: Intent, Op: OpRollback, Actor: by, Digest: b.Digest, Tx: tx, To: b.To,
		Revision: b.Nft.ID, Groups: b.Nft.Alert, Pauses: true, Words: words, Unwell: unwell}
	return m.actAnyway(ctx, now, intent, func(string) error { return m.Kernel.Rollback(ctx, b.Nft) })
}

// way finds the recorded way back from what passes now.
func (m *Machine) way(to string) (Backout, error) {
	s := m.state
	if s.Gone && s.StableID == "" {
		return Backout{}, fmt.Errorf("%w: the kernel is empty and everything passes", ErrNothing)
	}
	from, ok := s.Heads[s.Stable]
	if s.Gone { // a boot restored an older step
		from, ok = s.Heads[s.digestOf(s.StableID)]
	}
	trial := s.Trial != nil
	switch {
	case trial:
		from, ok = s.Heads[s.Trial.Digest], true
	case s.Intent != nil && s.Intent.Op == OpArm:
		// It was sent and could not be read back: it may be running.
		from, ok, trial = s.Heads[s.Intent.Digest], true, true
	}
	if !ok {
		if s.Drift == "" {
			return Backout{}, ErrNothing
		}
		// Nothing is known of what is in force: open.
		return Backout{To: StepOff, Nft: nft.Rollback{Hooks: slices.Sorted(maps.Keys(m.look.Stable))}}, nil
	}
	match := func(b Backout) bool { return b.To == to || PhaseOf(b.To) == to }
	switch to {
	case "":
		// Ending a trial goes to the step that it was armed upon, which is the
		// newest that was confirmed; so does one step back from a confirmed one,
		// unless it holds the same rules: who goes back wants a change.
		match = func(b Backout) bool { return trial || b.Nft.ID != from.Revision }
	case ToPhase:
		match = func(b Backout) bool { return phaseOrder(b.To) < phaseOrder(from.Step.Name) }
	}
	for _, b := range from.Backouts {
		if match(b) {
			return b, nil
		}
	}
	return Backout{}, fmt.Errorf("%w: no step %s was confirmed before %s", ErrNoSuchStep, to, from.Step.Name)
}

func phaseOrder(step string) int {
	return slices.Index([]string{"off", "monitor", "enforce", "refactor", "watch"}, PhaseOf(step))
}

// RollbackGroup puts one group back to alert and touches nobody else.
func (m *Machine) RollbackGroup(ctx context.Context, now time.Time, by Actor, group string) error {
	_, looked := m.Recover(ctx, now) // not fatal: a rollback works in every state
	return m.backToAlert(ctx, now, by, group, "", "", looked)
}

// backToAlert puts a group back; looked is why the kernel could not be read
// before, why and ticket are of a ticket.
func (m *Machine) backToAlert(ctx context.Context, now time.Time, by Actor, group, why, ticket string, looked error) error {
	fail := func(err error) error { return fmt.Errorf("cannot put group %s back to alert: %w", group, err) }
	if _, ok := groupOf(m.plan, group); !ok {
		return fail(errors.New("the plan has no such group"))
	}
	if looked == nil && !m.look.Present {
		return fail(fmt.Errorf("%w: the kernel is empty and everything passes", ErrNothing))
	}
	tx, err := m.newTx()
	if err != nil {
		return fail(err)
	}
	intent := Record{At: now, Kind: Intent, Op: OpGroup, Actor: by, Tx: tx, Groups: []string{group}, Pauses: true,
		Ticket: ticket, Words: strings.TrimSuffix("put group "+group+" back to alert "+why, " ")}
	if err := m.actAnyway(ctx, now, intent, func(tx string) error { return m.Kernel.Back(ctx, group, true, tx) }); err != nil {
		return fail(m.unkept(ctx, err))
	}
	return m.kept(now, true, "group "+group+" is back in alert")
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
	if err := m.on(); err != nil {
		return fail(err)
	}
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
	intent := Record{At: now, Kind: Intent, Op: OpRestore, Actor: by, Digest: m.state.Stable, Revision: f.Revision, Tx: tx, Words: "restored " + f.Step.Name,
		Groups: m.state.WasBack}
	var ways error // what is missing of them does not keep the gate open
	err = m.act(ctx, now, intent, func(tx string) error {
		for _, r := range []nft.Revision{f.OffRev, f.Rules} {
			if err := m.Kernel.Load(ctx, r); err != nil {
				return fmt.Errorf("cannot load revision %s: %w", r.ID, err)
			}
		}
		ways = m.loadWays(ctx, f.Head)
		return m.Kernel.Rollback(ctx, nft.Rollback{ID: f.Revision, Entry: f.Entry, Hooks: f.Hooks, Tx: tx, Kind: nft.TxRollback, Alert: m.state.WasBack})
	})
	switch {
	case err != nil:
		return fail(errors.Join(err, ways))
	case ways != nil:
		return errors.Join(fmt.Errorf("restored %s, but not every way back from it: %w", f.Step.Name, ways), m.KeepBoot(now))
	}
	return m.kept(now, false, "restored "+f.Step.Name)
}

// loadWays loads what the ways back from a step lead to, so that their files
// work without this program.
func (m *Machine) loadWays(ctx context.Context, h Head) error {
	var errs []error
	for _, b := range h.Backouts {
		if b.Digest == "" || slices.Contains(m.look.Loaded, b.Nft.ID) {
			continue
		}
		f, err := m.frozen(b.Digest)
		if err == nil {
			err = m.Kernel.Load(ctx, f.Rules)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot load %s: %w", b.To, err))
		}
	}
	return errors.Join(errs...)
}

// keepWays brings back what the ways back from the step in force lead to, where
// an error or a crash kept it from being loaded. Nobody refers to it yet, so
// that this changes no verdict. What cannot be loaded is in Status.
func (m *Machine) keepWays(ctx context.Context) {
	m.ways = nil
	s := m.state
	if h, ok := s.Heads[s.Stable]; ok && m.off == "" && m.look.Present && !s.Gone && s.Drift == "" {
		m.ways = m.loadWays(ctx, h)
	}
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
