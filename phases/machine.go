package phases

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"weir/nft"
	"weir/phases/compile"
	"weir/plans"
)

// Parts is what a machine is made of.
type Parts struct {
	Kernel  Kernel
	Journal Journal
	Files   Files
	Parse   func(text []byte) (plans.Plan, error)           // plans.Parse, for the plan text in the journal
	Compile func(compile.Input) (nft.Revision, error)       // compile.Compile
	Text    func(r nft.Rollback, to string) ([]byte, error) // the nft file of a backout; nil: r.Text()
	Rand    io.Reader                                       // of transaction ids and nonces; crypto/rand.Reader

	// Rehearse plays a frozen step, and the ways back from it, where nothing can
	// happen; over is the confirmed step, nil for the first. nil: nothing is
	// rehearsed, and nothing needs to be; for tests of what comes after.
	Rehearse func(ctx context.Context, f Frozen, over *Frozen) (Rehearsal, error)

	Identity string   // of this machine (MachineIdentity); approvals by signature are bound to it
	Nonces   Nonces   // nil: the journal alone
	Log      AuditLog // nil: none
	Boots    Boots    // what a boot restores; nil: nothing is kept

	// Compare says what of the table is not a revision's, rule by rule and element
	// by element; known are the ids of what else may be loaded. nil: ReadBack does nothing.
	Compare   func(ctx context.Context, r nft.Revision, known []string) ([]nft.Difference, error)
	Stopwatch func() func() time.Duration // starts one that says how long it has run; nil: nothing is measured

	// Who lists the processes that changed the ruleset up to a generation, since
	// it was last as it should be; nil: nobody knows.
	Who func(ctx context.Context, gen uint32) []Process
}

// Machine owns a rollout. It is not safe for concurrent use: one goroutine
// calls it. Each method first brings journal and kernel together (Recover), so
// that it decides on what is, not on what was.
type Machine struct {
	Parts
	state  State
	plan   plans.Plan
	old    map[string]plans.Plan // plans that were registered earlier and are still in force, by hash
	look   nft.Look
	trust  trust
	boot   *Boot                // what Boots is known to keep; nil: not read, or nothing
	lacks  error                // what the snapshot is without; nil: it is whole
	choice []byte               // the file beside it
	off    string               // why weir is switched off; "" it is not
	ways   error                // what is missing of the ways back from what is in force
	run    func() time.Duration // of the intent that is being carried out; nil: none

	places struct { // the last answer of carried, which is asked often
		key     string
		targets []Target
	}
}

// Open reads the journal. It does not touch the kernel.
func Open(p Parts) (*Machine, error) {
	m := &Machine{Parts: p, old: map[string]plans.Plan{}}
	return m, m.reload()
}

func (m *Machine) reload() error {
	records, err := m.Journal.Records()
	if err != nil {
		return fmt.Errorf("cannot read the journal: %w", err)
	}
	m.state = Fold(records)
	if m.state.Plan == "" {
		return nil
	}
	m.plan, err = m.parse(m.state.PlanText)
	return err
}

func (m *Machine) parse(text []byte) (plans.Plan, error) {
	p, err := m.Parse(text)
	if err != nil {
		return plans.Plan{}, fmt.Errorf("cannot read the registered plan: %w", err)
	}
	return p, nil
}

// State returns the machine's state. The caller does not change it.
func (m *Machine) State() State {
	s := m.state
	// Without the old plan no place can be told: every group is in alert, which
	// denies nobody anything.
	s.Carried, _ = m.carried(m.plan)
	return s
}

// Plan returns the registered plan; its Hash is "" without one.
func (m *Machine) Plan() plans.Plan { return m.plan }

// Look returns what the kernel held when the machine last looked.
func (m *Machine) Look() nft.Look { return m.look }

// History returns every record, oldest first.
func (m *Machine) History() ([]Record, error) { return m.Journal.Records() }

// append makes a record durable and part of the state. What failed may be in
// the journal all the same, where only the disk's last word was an error: then
// the state follows the journal, as the next process's will.
func (m *Machine) append(r Record) (Record, error) {
	r, err := m.Journal.Append(r)
	if err != nil {
		err = fmt.Errorf("cannot write the journal: %w", err)
		if again := m.reload(); again != nil {
			err = errors.Join(err, again)
		}
		return r, err
	}
	m.state.apply(r)
	return r, nil
}

// Recover looks at the kernel and writes the records that are missing: an
// intent's outcome, a lapse, a rollback by hand, an empty kernel. It returns
// what it wrote; called again it writes nothing. The daemon calls it at start
// and whenever the ruleset changes.
func (m *Machine) Recover(ctx context.Context, now time.Time) ([]Record, error) {
	return m.RecoverAs(ctx, now, Self)
}

// RecoverAs is Recover by somebody who says that what the kernel shows without
// the journal was his own doing.
func (m *Machine) RecoverAs(ctx context.Context, now time.Time, by Actor) ([]Record, error) {
	return m.RecoverTook(ctx, now, by, 0)
}

// RecoverTook is RecoverAs by somebody who measured how long it took him until
// he saw it in the kernel.
func (m *Machine) RecoverTook(ctx context.Context, now time.Time, by Actor, took time.Duration) ([]Record, error) {
	look, err := m.Kernel.Look(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	m.look = look
	var out []Record
	for _, r := range Reconcile(m.state, look, now) {
		if r.Kind == Adopted {
			r.Actor, r.Took = by, took
		}
		if r.Kind == Seen && m.run != nil {
			r.Took = m.run()
		}
		if (r.Kind == Adopted || r.Kind == Emptied) && m.Who != nil {
			if r.Processes = m.Who(ctx, look.Gen); len(r.Processes) > 0 {
				r.Words += ": by " + processes(r.Processes)
			}
		}
		r, err := m.append(r)
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	m.keepWays(ctx)
	return out, nil
}

// act appends the intent, acts, looks, and appends what was seen. nil means:
// seen in the kernel.
func (m *Machine) act(ctx context.Context, now time.Time, intent Record, do func(tx string) error) error {
	_, err := m.try(ctx, now, intent, do)
	return err
}

// try is act; begun is false where the journal did not take the intent and
// nothing was done.
func (m *Machine) try(ctx context.Context, now time.Time, intent Record, do func(tx string) error) (begun bool, err error) {
	if _, err := m.append(intent); err != nil {
		return false, err
	}
	if m.Stopwatch != nil {
		m.run = m.Stopwatch()
		defer func() { m.run = nil }()
	}
	return true, m.outcome(ctx, now, intent, do(intent.Tx))
}

// outcome looks at what an intent came to, which the kernel answered with
// failed.
func (m *Machine) outcome(ctx context.Context, now time.Time, intent Record, failed error) error {
	// What was sent may be in though the caller gave up: look all the same.
	records, err := m.Recover(context.WithoutCancel(ctx), now)
	for _, r := range records {
		if r.Kind == Seen && r.Tx == intent.Tx {
			if r.Done {
				return err
			}
			if failed == nil {
				failed = ErrNotDone
			}
			return errors.Join(failed, err)
		}
	}
	switch {
	case err == nil:
		err = ErrUnknown
	case m.look.Tx == intent.Tx: // looked, and the journal could not take it
		return fmt.Errorf("%s, seen in the kernel; but: %w", intent.Words, err)
	}
	return errors.Join(err, failed)
}

// actAnyway is act for the ways back: where the journal cannot take the
// intent, it acts all the same and says so. The transaction is then one that
// the journal does not know, and Recover adopts it.
func (m *Machine) actAnyway(ctx context.Context, now time.Time, intent Record, do func(tx string) error) error {
	begun, err := m.try(ctx, now, intent, do)
	if begun {
		return err
	}
	if failed := do(intent.Tx); failed != nil {
		return errors.Join(failed, err)
	}
	look, lerr := m.Kernel.Look(context.WithoutCancel(ctx))
	switch {
	case lerr != nil:
		return errors.Join(ErrUnknown, lerr, err)
	case look.Tx != intent.Tx:
		return errors.Join(ErrNotDone, err)
	}
	return fmt.Errorf("%s, seen in the kernel; but: %w", intent.Words, err)
}

// newTx makes a transaction id: 12 hex digits.
func (m *Machine) newTx() (string, error) {
	var b [6]byte
	if _, err := io.ReadFull(m.Rand, b[:]); err != nil {
		return "", fmt.Errorf("cannot make a transaction id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// frozen reads a frozen step's file and verifies it.
func (m *Machine) frozen(digest string) (Frozen, error) {
	data, err := m.Files.GetFrozen(digest)
	if err != nil {
		return Frozen{}, fmt.Errorf("cannot read the frozen step: %w", err)
	}
	return DecodeFrozen(digest, data)
}
