package phases

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/nft"
	"weir/phases/compile"
	"weir/phases/health"
)

// Request freezes the next step: policy, ruleset, lifelines and every way
// back, each by hash, as files. step is its name, or "" for whatever is next.
// It replaces an earlier request. The gates that judge evidence must pass now;
// those of the moment are asked when it is armed.
func (m *Machine) Request(ctx context.Context, now time.Time, by Actor, step string, mat Material) (Head, []GateResult, error) {
	fail := func(err error) (Head, []GateResult, error) {
		return Head{}, nil, fmt.Errorf("cannot freeze the step: %w", err)
	}
	if _, err := m.Recover(ctx, now); err != nil {
		return fail(err)
	}
	next, err := m.next(step)
	if err != nil {
		return fail(err)
	}
	if mat.Facts.Proof, err = m.proof(next, mat); err != nil {
		return fail(err)
	}
	gates := Gates(m.plan, next, mat.Facts, m.state, now)
	if bad := refusing(gates, false); len(bad) > 0 {
		return Head{}, gates, fmt.Errorf("cannot freeze %s: %w: %s", next.Name, ErrGate, strings.Join(bad, "; "))
	}
	by = m.asSigner(by)
	f, err := m.freeze(now, by, next, mat)
	if err != nil {
		return fail(err)
	}
	if t, asked := gateTests(m.plan, next, f.Input); asked {
		gates = append(gates, t)
		if t.Verdict != Pass {
			return Head{}, gates, fmt.Errorf("cannot freeze %s: %w: %s", next.Name, ErrGate, strings.Join(refusing([]GateResult{t}, false), "; "))
		}
	}
	if err := m.rehearse(ctx, &f); err != nil {
		return fail(err)
	}
	data, err := f.Encode()
	if err != nil {
		return fail(err)
	}
	if err := m.Files.PutFrozen(f.Digest(), data); err != nil {
		return fail(err)
	}
	if err := m.writeBackouts(f.Head); err != nil {
		return fail(err)
	}
	h := f.Head
	if _, err := m.append(Record{At: now, Kind: Requested, Actor: by, Digest: f.Digest(), Head: &h, Words: "requested " + next.Name}); err != nil {
		return fail(err)
	}
	return h, gates, nil
}

// next is the step that may be frozen now, checked against the name asked for.
func (m *Machine) next(name string) (Step, error) {
	switch {
	case m.state.Plan == "":
		return Step{}, ErrNoPlan
	case m.state.Trial != nil:
		return Step{}, ErrPending
	case m.state.Drift != "":
		return Step{}, fmt.Errorf("%w: %s", ErrDrift, m.state.Drift)
	case m.state.Gone:
		return Step{}, fmt.Errorf("%w: what was confirmed is not in force; put it back first: weir restore", ErrDrift)
	}
	if current, hash, targets, swapped := m.state.Current(); name == current && hash == m.plan.Hash && m.state.Stable != "" {
		// The confirmed step again: what was answered or declared since comes in.
		again, _ := find(Expand(m.plan), name)
		again.Shadow = m.state.Heads[m.state.Stable].Step.Shadow
		again.Targets, again.Swapped, again.Narrows, again.Brownouts = targets, swapped, nil, nil
		again.Observes = !again.Denies()
		again.Gates = nil
		return again, nil
	}
	next, err := Next(m.plan, m.State())
	if err != nil {
		return Step{}, err
	}
	if name == "" || name == next.Name {
		return next, nil
	}
	if _, ok := find(Expand(m.plan), name); !ok {
		return Step{}, fmt.Errorf("%w: %s; the steps are %s", ErrNoSuchStep, name, stepNames(Expand(m.plan)))
	}
	return Step{}, fmt.Errorf("%w: %s; the next one is %s", ErrNotNext, name, next.Name)
}

// freeze computes a frozen step. Nothing of it is computed again later.
func (m *Machine) freeze(now time.Time, by Actor, step Step, mat Material) (Frozen, error) {
	var over *Frozen
	if m.state.Stable != "" {
		f, err := m.frozen(m.state.Stable)
		if err != nil {
			return Frozen{}, err
		}
		over = &f
	}
	var f Frozen
	var err error
	if f.Input, err = input(m.plan, step, over, mat); err != nil {
		return Frozen{}, err
	}
	if err := contradicted(f.Input, mat.Lifelines); err != nil {
		return Frozen{}, err
	}
	if f.Rules, err = m.Compile(f.Input); err != nil {
		return Frozen{}, err
	}
	if f.OffRev, err = m.Compile(offOf(f.Input)); err != nil {
		return Frozen{}, err
	}
	f.Head = Head{
		Version: FrozenVersion, Plan: m.plan.Hash, Step: step, Revision: f.Rules.ID, Entry: f.Rules.Entry, Hooks: hooksOf(f.Rules.Entry),
		OffID: f.OffRev.ID, OffEntry: f.OffRev.Entry, Over: m.state.StableID, OverStep: m.state.Stable,
		UpTo: mat.UpTo, By: by, At: now, Hashes: map[string]string{"evidence": mat.Evidence}, Proof: mat.Facts.Proof, Floor: mat.Floor,
	}
	if watched(step) {
		c := health.Foresee(f.Input.Policy, func(g string) bool { return slices.Contains(step.Narrows, g) }, mat.Rows, mat.Links)
		f.Forecast = &c
	}
	if f.Ask, err = m.ask(now, step, mat); err != nil {
		return Frozen{}, err
	}
	if f.Backouts, err = m.backouts(f, over); err != nil {
		return Frozen{}, err
	}
	return f, nil
}

// offOf is what "off" is compiled from.
func offOf(in compile.Input) compile.Input {
	in.Off, in.Policy.Rules, in.Never, in.Shadow = true, nil, nil, nil
	in.Groups = slices.Clone(in.Groups)
	for i := range in.Groups {
		g := &in.Groups[i]
		g.Treatment, g.Share, g.ShareBy, g.Seed, g.Prefixes = compile.Open, 0, "", 0, nil
	}
	return in
}

// backouts lists every way back from a frozen step, which is frozen over the
// confirmed one, or nil.
func (m *Machine) backouts(f Frozen, over *Frozen) ([]Backout, error) {
	var out []Backout
	var overHooks []string
	if over != nil {
		overHooks = over.Hooks
	}
	seen := map[string]bool{}
	for i := len(m.state.Stack) - 1; i >= 0; i-- {
		c := m.state.Stack[i]
		if seen[c.Digest] {
			continue
		}
		seen[c.Digest] = true
		to, alert := m.state.Heads[c.Digest], denying(m.state.targetsOf(c.Digest))
		if f2, err := m.frozen(c.Digest); err == nil {
			alert = Narrower(f.Input, f2.Input)
		} // else its rules cannot be compared, and every group that it denies goes to alert
		tx, err := m.newTx()
		if err != nil {
			return nil, err
		}
		out = append(out, Backout{To: c.Step, Digest: c.Digest, Nft: nft.Rollback{
			ID: to.Revision, Entry: to.Entry, Hooks: union(f.Hooks, to.Hooks, overHooks), Tx: tx, Kind: nft.TxRollback, Alert: alert}})
	}
	tx, err := m.newTx()
	if err != nil {
		return nil, err
	}
	return append(out, Backout{To: StepOff, Nft: nft.Rollback{
		ID: f.OffID, Entry: f.OffEntry, Hooks: union(f.Hooks, overHooks), Tx: tx, Kind: nft.TxRollback}}), nil
}

func (m *Machine) writeBackouts(h Head) error {
	return WriteBackouts(h, m.Kernel.EncodeRollback, m.Text, m.Files)
}

// WriteBackouts writes the two plain files of each way back from a frozen step:
// the bytes that encode makes, and what text makes, where it is not nil.
func WriteBackouts(h Head, encode func(nft.Rollback) ([]byte, error), words func(nft.Rollback, string) ([]byte, error), files interface {
	PutBackout(from, to string, message, text []byte) error
}) error {
	written := map[string]bool{}
	def := slices.IndexFunc(h.Backouts, func(b Backout) bool { return b.Nft.ID != h.Revision })
	for i, b := range h.Backouts {
		if written[b.To] && i != def {
			continue // a newer one of the same name
		}
		named := !written[b.To]
		written[b.To] = true
		message, err := encode(b.Nft)
		if err != nil {
			return fmt.Errorf("cannot encode the way back to %s: %w", b.To, err)
		}
		hold := b.Nft
		hold.Kind = nft.TxHold
		text := []byte(hold.Text())
		if words != nil {
			if text, err = words(hold, b.To); err != nil {
				return fmt.Errorf("cannot write the way back to %s as nft text: %w", b.To, err)
			}
		}
		if named {
			if err := files.PutBackout(h.Revision, b.To, message, text); err != nil {
				return err
			}
		}
		if i == def {
			if err := files.PutBackout(h.Revision, "default", message, text); err != nil {
				return err
			}
		}
	}
	return nil
}

func hooksOf(entry map[string]string) []string {
	var out []string
	for _, h := range []string{nft.HookForward, nft.HookOutput, nft.HookNAT} {
		if _, ok := entry[h]; ok {
			out = append(out, h)
		}
	}
	return out
}

func union(lists ...[]string) []string {
	out := slices.Concat(lists...)
	slices.Sort(out)
	return slices.Compact(out)
}
