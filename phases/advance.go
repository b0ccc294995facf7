package phases

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/nft"
)

// Advance arms exactly the approved frozen step and computes nothing. The
// approvals are used up in the same record as the intent. brownout, where not
// 0, is a lease that is meant to lapse: the step keeps its approvals, and it
// cannot be confirmed.
func (m *Machine) Advance(ctx context.Context, now time.Time, by Actor, digest string, brownout time.Duration, facts Facts) ([]GateResult, error) {
	return m.arm(ctx, now, by, digest, brownout, nil, facts)
}

func (m *Machine) arm(ctx context.Context, now time.Time, by Actor, digest string, brownout time.Duration, alone *emergency, facts Facts) ([]GateResult, error) {
	fail := func(err error) error { return fmt.Errorf("cannot arm: %w", err) }
	if err := m.on(); err != nil {
		return nil, fail(err)
	}
	if _, err := m.Recover(ctx, now); err != nil {
		return nil, fail(err)
	}
	switch {
	case m.state.Trial != nil:
		return nil, fail(ErrPending)
	case m.state.Pause != nil:
		return nil, fail(fmt.Errorf("%w (%s: %s)", ErrPaused, m.state.Pause.By.Name, m.state.Pause.Words))
	case m.state.Drift != "":
		return nil, fail(fmt.Errorf("%w: %s", ErrDrift, m.state.Drift))
	case m.state.Foreign != nil:
		return nil, fail(fmt.Errorf("%w: %s; put it back: weir diff --restore", ErrDrift, m.state.Foreign.Words))
	}
	h, err := m.waiting(digest)
	if err != nil {
		return nil, fail(err)
	}
	if brownout > 0 && len(h.Step.Brownouts) == 0 {
		return nil, fail(fmt.Errorf("%w: the plan has no brownout before %s; write enforce.brownouts: [%s] and register it: weir apply", ErrGate, h.Step.Name, text(brownout)))
	}
	if brownout > 0 && brownout > slices.Max(h.Step.Brownouts) {
		return nil, fail(fmt.Errorf("%w: the plan has brownouts of %v before %s, not %s", ErrGate, h.Step.Brownouts, h.Step.Name, brownout))
	}
	var uses []uint64
	if alone == nil {
		if uses, err = m.approved(h, now); err != nil {
			return nil, fail(err)
		}
	}
	if m.Rehearse != nil && h.Rehearsal == nil {
		return nil, fail(ErrUnrehearsed)
	}
	if len(facts.Missing) > 0 {
		return nil, fail(fmt.Errorf("%w: %s", ErrLifeline, strings.Join(facts.Missing, "; ")))
	}
	if gone := ended(h.Floor, facts.Floor); len(gone) > 0 {
		return nil, fail(fmt.Errorf("%w: %s", ErrFloor, strings.Join(gone, ", ")))
	}
	facts.Proof = h.Proof
	gates := Gates(m.plan, h.Step, facts, m.state, now)
	if brownout > 0 {
		gates = slices.DeleteFunc(gates, func(g GateResult) bool { return g.Gate == GateBrownouts })
	}
	if alone != nil {
		gates = slices.DeleteFunc(gates, func(g GateResult) bool {
			return g.Gate == GateBrownouts || g.Gate == GateWindow || g.Gate == GateFreeze
		})
	}
	if bad := refusing(gates, true); len(bad) > 0 {
		return gates, fail(fmt.Errorf("%w: %s", ErrGate, strings.Join(bad, "; ")))
	}
	f, err := m.frozen(h.Digest())
	if err != nil {
		return gates, fail(err)
	}
	if err := m.writeBackouts(f.Head); err != nil {
		return gates, fail(err)
	}
	tx, err := m.newTx()
	if err != nil {
		return gates, fail(err)
	}
	lease := h.Step.Lease
	if brownout > 0 {
		lease, uses = brownout, nil
	}
	intent := Record{At: now, Kind: Intent, Op: OpArm, Actor: by, Digest: h.Digest(), Tx: tx, Lease: lease,
		Brownout: brownout > 0, Uses: uses, Words: "arming " + h.Step.Name}
	switch {
	case alone != nil:
		lease = alone.statement.Lease
		intent.Brownout, intent.Lease, intent.Emergency = true, lease, alone.statement.Reason
		intent.Statement, intent.Signature, intent.Key, intent.Nonce = alone.text, alone.signature, alone.by.Key, alone.statement.Nonce
		intent.Words = "arming " + h.Step.Name + " in an emergency: " + alone.statement.Reason
	case h.Ask != nil && brownout == 0:
		intent.Nonce = h.Ask.Nonce
	}
	err = m.act(ctx, now, intent, func(tx string) error {
		if err := m.spend(intent.Nonce); err != nil {
			return err
		}
		for _, r := range []nft.Revision{f.OffRev, f.Rules} {
			if err := m.Kernel.Load(ctx, r); err != nil {
				return fmt.Errorf("cannot load revision %s: %w", r.ID, err)
			}
		}
		if err := m.loadWays(ctx, f.Head); err != nil {
			return err
		}
		return m.Kernel.Arm(ctx, nft.Arm{ID: f.Rules.ID, Entry: f.Rules.Entry, Tx: tx, Lease: lease, Spare: spare(h.Step, brownout > 0), Over: h.Over})
	})
	if err != nil {
		return gates, fail(err)
	}
	return gates, nil
}

// spare lists the groups whose open connections pass during a trial.
func spare(s Step, brownout bool) []string {
	if brownout && s.Established == "cut" {
		return nil
	}
	return s.Narrows
}

// KeepFor is how long "established: keep" spares connections: longer than any
// kernel runs.
const KeepFor = 10 * 365 * 24 * time.Hour

// Confirm makes the running trial the confirmed step. ErrLapsed when it is too
// late, ErrBrownout for a lease that is meant to lapse.
func (m *Machine) Confirm(ctx context.Context, now time.Time, by Actor) error {
	fail := func(err error) error { return fmt.Errorf("cannot confirm: %w", err) }
	if err := m.on(); err != nil {
		return fail(err)
	}
	records, err := m.Recover(ctx, now)
	if err != nil {
		return fail(err)
	}
	t := m.state.Trial
	if t == nil {
		if slices.ContainsFunc(records, func(r Record) bool { return r.Kind == Lapsed }) || m.lastLapsed() {
			return fail(ErrLapsed)
		}
		if m.state.Unwell != "" {
			return fail(fmt.Errorf("%w: %s", ErrUnwell, m.state.Unwell))
		}
		return fail(ErrNoTrial)
	}
	h := m.state.Heads[t.Digest]
	var uses []uint64
	var nonce string
	switch {
	case t.Brownout && t.Emergency == "":
		return fail(ErrBrownout)
	case m.state.Pause != nil:
		return fail(fmt.Errorf("%w (%s: %s)", ErrPaused, m.state.Pause.By.Name, m.state.Pause.Words))
	case m.state.Foreign != nil:
		return fail(fmt.Errorf("%w: %s; put it back: weir diff --restore", ErrDrift, m.state.Foreign.Words))
	case t.Emergency != "":
		// The quorum signs afterwards, or it is void.
		if h, err = m.waiting(t.Digest); err != nil {
			return fail(err)
		}
		if uses, err = m.approved(h, now); err != nil {
			return fail(err)
		}
		nonce = h.Ask.Nonce
	}
	tx, err := m.newTx()
	if err != nil {
		return fail(err)
	}
	c := nft.Confirm{ID: h.Revision, Entry: h.Entry, Tx: tx, Spare: h.Step.Narrows, NoBack: m.noBack(h.Step)}
	switch h.Step.Established {
	case "drain":
		c.SpareFor = h.Step.DrainFor
	case "keep":
		c.SpareFor = KeepFor
	}
	intent := Record{At: now, Kind: Intent, Op: OpConfirm, Actor: by, Digest: t.Digest, Tx: tx, Groups: c.NoBack, Uses: uses, Nonce: nonce, Words: "confirming " + h.Step.Name}
	if err := m.act(ctx, now, intent, func(string) error {
		if err := m.spend(nonce); err != nil {
			return err
		}
		return m.Kernel.Confirm(ctx, c)
	}); err != nil {
		if m.state.Trial == nil && m.lastLapsed() {
			return fail(fmt.Errorf("%w: %w", ErrLapsed, err))
		}
		return fail(err)
	}
	return m.kept(now, false, "confirmed "+h.Step.Name)
}

// lastLapsed says whether the newest trial ended by itself.
func (m *Machine) lastLapsed() bool { return m.state.LastLapse }

// noBack lists the groups whose "back in alert" ends with a step: those that it
// narrows, because that was approved, and those that it denies nothing. A group
// that was put back after the step was frozen stays back.
func (m *Machine) noBack(s Step) []string {
	return slices.DeleteFunc(m.back(), func(g string) bool {
		t, ok := s.Target(g)
		return ok && t.Treatment.Denies() && !slices.Contains(s.Narrows, g)
	})
}

// back lists the groups that are back in alert, by name.
func (m *Machine) back() []string {
	var out []string
	for g := range m.state.Back {
		out = append(out, g)
	}
	slices.Sort(out)
	return out
}
