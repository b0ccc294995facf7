package phases

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/nft"
	"weir/phases/approval"
	"weir/phases/compile"
)

// ErrNotOfSet is returned for a frozen step that was not made by a machine of
// this one's set, or that this one could not have made.
var ErrNotOfSet = errors.New("the frozen step is not one for this machine")

// Take makes a step that another machine of the set froze the one that waits
// here, so that the signatures over it count here too. What is evidence is
// believed, because it is signed; the rest must be what this machine would have
// made of it: the same plan, step, scope, groups, ruleset and ways back, upon the
// same confirmed step. Its lifelines are a floor: this machine needs none that
// the frozen step lacks. The gates are asked here.
func (m *Machine) Take(ctx context.Context, now time.Time, by Actor, data []byte, mat Material) (Head, []GateResult, error) {
	fail := func(err error) (Head, []GateResult, error) {
		return Head{}, nil, fmt.Errorf("cannot take the frozen step: %w", err)
	}
	if _, err := m.Recover(ctx, now); err != nil {
		return fail(err)
	}
	head, _, _ := bytes.Cut(data, []byte("\n"))
	f, err := DecodeFrozen(hashOf(head), data)
	if err != nil {
		return fail(err)
	}
	if err := m.ofSet(f, now); err != nil {
		return fail(err)
	}
	next, err := m.next(f.Step.Name)
	if err != nil {
		return fail(err)
	}
	if err := m.couldHaveMade(f, next, mat); err != nil {
		return fail(err)
	}
	gates := Gates(m.plan, next, mat.Facts, m.state, now)
	if t, asked := gateTests(m.plan, next, f.Input); asked {
		gates = append(gates, t)
	}
	if bad := refusing(gates, false); len(bad) > 0 {
		return Head{}, gates, fmt.Errorf("cannot take %s: %w: %s", next.Name, ErrGate, strings.Join(bad, "; "))
	}
	if err := m.Files.PutFrozen(f.Digest(), data); err != nil {
		return fail(err)
	}
	if err := m.writeBackouts(f.Head); err != nil {
		return fail(err)
	}
	h := f.Head
	_, err = m.append(Record{At: now, Kind: Requested, Actor: m.asSigner(by), Digest: f.Digest(), Head: &h, Taken: true,
		Words: "took " + next.Name + ", frozen by " + f.By.String() + " on another machine of the set"})
	return h, gates, err
}

// ofSet says whether a step was frozen for the set that this machine is of.
func (m *Machine) ofSet(f Frozen, now time.Time) error {
	t, err := m.Trust()
	switch {
	case err != nil:
		return err
	case t == nil:
		return ErrNoTrust
	case t.Machines.Name == "":
		return fmt.Errorf("%w: the trust file names no set of machines", ErrNotOfSet)
	case f.Ask == nil:
		return fmt.Errorf("%w: it was frozen without a trust file", ErrNotOfSet)
	case f.Plan != m.plan.Hash:
		return fmt.Errorf("%w: %s, not %s", approval.ErrPlan, f.Plan, m.plan.Hash)
	case f.Over != m.state.StableID || f.OverStep != m.state.Stable:
		return fmt.Errorf("%w: %s, not %s", approval.ErrUpon, dash(f.Over), dash(m.state.StableID))
	}
	if err := m.current(*f.Ask, t, true); err != nil {
		return err
	}
	return f.Ask.Alive(now)
}

// couldHaveMade compares a frozen step with what this machine makes of the same
// evidence.
func (m *Machine) couldHaveMade(f Frozen, next Step, mat Material) error {
	other := func(what string) error { return fmt.Errorf("%w: its %s differs", ErrNotOfSet, what) }
	var over *Frozen
	if m.state.Stable != "" {
		o, err := m.frozen(m.state.Stable)
		if err != nil {
			return err
		}
		over = &o
	}
	in, err := input(m.plan, next, over, Material{Links: f.Input.Links, InboundAllow: mat.InboundAllow, Self: mat.Self, UpTo: f.UpTo})
	if err != nil {
		return err
	}
	rules, err := m.Compile(f.Input)
	if err != nil {
		return err
	}
	off, err := m.Compile(offOf(f.Input))
	if err != nil {
		return err
	}
	backouts, err := m.backouts(f, over)
	if err != nil {
		return err
	}
	in.Policy, in.Lifelines, in.Never = f.Input.Policy, f.Input.Lifelines, f.Input.Never
	entry := func(r nft.Revision) any { return []any{r.ID, r.Entry} }
	for _, c := range []struct {
		what       string
		have, want any
	}{
		{"step", f.Step, next},
		{"scope or groups", f.Input, in},
		{"ruleset", f.Rules, rules},
		{"way to off", f.OffRev, off},
		{"ruleset", []any{f.Revision, f.Entry, f.Hooks}, append(entry(rules).([]any), hooksOf(rules.Entry))},
		{"way to off", []any{f.OffID, f.OffEntry}, entry(off)},
		{"ways back", withoutTx(f.Backouts), withoutTx(backouts)},
	} {
		same, err := alike(c.have, c.want)
		if err != nil {
			return err
		}
		if !same {
			return other(c.what)
		}
	}
	for _, l := range mat.Lifelines {
		if !slices.ContainsFunc(f.Input.Lifelines, func(o compile.Lifeline) bool {
			l.Name, o.Name = "", ""
			same, err := alike(l, o)
			return same && err == nil
		}) {
			return fmt.Errorf("%w: %s", ErrLifeline, l.Name)
		}
	}
	return nil
}

// alike compares two values as they are in a file.
func alike(a, b any) (bool, error) {
	x, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	y, err := json.Marshal(b)
	return bytes.Equal(x, y), err
}

// withoutTx are ways back without what is made anew each time.
func withoutTx(list []Backout) []Backout {
	out := slices.Clone(list)
	for i := range out {
		out[i].Nft.Tx = ""
	}
	return out
}
