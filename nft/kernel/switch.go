package kernel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
	"weir/phases/flow"
)

// maxTries bounds how often a generation-checked transaction is tried again
// because somebody else's commit came between.
const maxTries = 32

// familyMap is the shape of trial, stable and group maps.
func familyMap(name string) *set {
	l, _ := keyLayout([]nft.Type{nft.NFProto})
	return &set{Set: nft.Set{Name: name, Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType}, layout: l}
}

// point makes both families of a map lead to one verdict.
//
//	flush map inet weir NAME ; add element inet weir NAME { ipv4 timeout T : V, ipv6 timeout T : V }
func (b *batch) point(name string, v nft.Verdict, timeout time.Duration) {
	b.flushSet(ours, name)
	for _, f := range families {
		b.put(ours, familyMap(name), newElem, create, nft.Element{Key: f.key, Verdict: &v, Timeout: timeout})
	}
}

// unpoint deletes both families of a map, which must exist and not be lapsed.
func (b *batch) unpoint(name string) {
	for _, f := range families {
		b.put(ours, familyMap(name), delElem, 0, nft.Element{Key: f.key})
	}
}

func sortedHooks(entry map[string]string) []string { return slices.Sorted(maps.Keys(entry)) }

// switched returns the hook letters that a step switches: its own, and nat where
// an earlier step brought a honeypot, which the step may end.
func (k *Kernel) switched(ctx context.Context, entry map[string]string) ([]string, error) {
	hooks := sortedHooks(entry)
	if _, own := entry[nft.HookNAT]; own {
		return hooks, nil
	}
	nat, err := k.c.hasSet(ctx, ours, nft.TrialMap(nft.HookNAT))
	if nat {
		hooks = append(hooks, nft.HookNAT)
		slices.Sort(hooks)
	}
	return hooks, err
}

// Arm puts a loaded revision on trial: one transaction that is applied only if
// nothing at all changed since the kernel was looked at. Nothing changed with
// ErrPending, ErrChanged, ErrNotLoaded and ErrDormant. ErrLapsed: it was armed
// and the lease ended before it could be read back.
func (k *Kernel) Arm(ctx context.Context, a nft.Arm) error {
	if err := errors.Join(checkTx(a.Tx), checkEntry(a.ID, a.Entry)); err != nil {
		return fmt.Errorf("cannot arm %s: %w", a.ID, err)
	}
	if a.Lease < time.Millisecond {
		return fmt.Errorf("cannot arm %s: a lease of %v is no lease", a.ID, a.Lease)
	}
	hooks, err := k.switched(ctx, a.Entry)
	if err != nil {
		return fmt.Errorf("cannot arm %s: %w", a.ID, err)
	}
	b := newBatch(true)
	for _, h := range hooks {
		v := nft.Verdict{Kind: "goto", Chain: a.Entry[h]}
		if h == nft.HookNAT {
			v = nft.Verdict{Kind: "accept"} // nothing is redirected while a trial runs, whichever
		}
		b.point(nft.TrialMap(h), v, a.Lease)
	}
	for _, g := range a.Spare {
		b.point(nft.SpareMap(g), nft.Verdict{Kind: "jump", Chain: "w_spare"}, a.Lease)
	}
	b.setTx(a.Tx, nft.TxArm)
	check := func(l nft.Look) error {
		if id, ok := nft.One(l.Trial); !ok || id != "" {
			return nft.ErrPending
		}
		if id, ok := nft.One(l.Stable); !ok || id != a.Over {
			return fmt.Errorf("%w: %q is stable, not %q", nft.ErrChanged, id, a.Over)
		}
		return k.loaded(ctx, a.ID)
	}
	l, err := k.checked(ctx, b, hooks, a.Tx, check)
	if err != nil {
		return fmt.Errorf("cannot arm %s: %w", a.ID, err)
	}
	switch trialOf(l, a.ID) {
	case running:
		return nil
	case lapsed:
		return fmt.Errorf("armed %s, and read back too late: %w", a.ID, nft.ErrLapsed)
	}
	return fmt.Errorf("armed %s, but the kernel holds %v on trial: %w", a.ID, l.Trial, nft.ErrUnknown)
}

// trial is how the kernel's trial stands to one revision.
type trial string

const (
	running trial = "running" // every hook and both families
	lapsed  trial = "lapsed"  // some or all elements have ended, none is another's
	foreign trial = "foreign"
)

func trialOf(l nft.Look, id string) trial {
	out := running
	for _, fam := range l.Trial {
		for _, f := range families {
			switch fam[f.f] {
			case id:
			case "", "accept": // nat's accept, where the filter hooks have ended
				out = lapsed
			default:
				return foreign
			}
		}
	}
	return out
}

// Confirm makes the running trial stable, in one transaction whose first part
// deletes the trial's elements: where they have lapsed nothing is applied and
// the error is ErrLapsed. ErrChanged: another revision is on trial.
func (k *Kernel) Confirm(ctx context.Context, c nft.Confirm) error {
	if err := errors.Join(checkTx(c.Tx), checkEntry(c.ID, c.Entry)); err != nil {
		return fmt.Errorf("cannot confirm %s: %w", c.ID, err)
	}
	hooks, err := k.switched(ctx, c.Entry)
	if err != nil {
		return fmt.Errorf("cannot confirm %s: %w", c.ID, err)
	}
	b := confirmBatch(c, hooks)
	check := func(l nft.Look) error {
		switch trialOf(l, c.ID) {
		case running:
			return nil
		case lapsed:
			return nft.ErrLapsed
		}
		return fmt.Errorf("%w: %v is on trial", nft.ErrChanged, l.Trial)
	}
	l, err := k.checked(ctx, b, hooks, c.Tx, check)
	var refused *Refused
	if errors.As(err, &refused) && refused.Errno == unix.ENOENT && slices.ContainsFunc(hooks, func(h string) bool {
		return refused.What == deletesFrom(nft.TrialMap(h))
	}) {
		err = nft.ErrLapsed
	}
	if err != nil {
		return fmt.Errorf("cannot confirm %s: %w", c.ID, err)
	}
	if id, ok := nft.One(l.Stable); !ok || id != c.ID {
		return fmt.Errorf("confirmed %s, but the kernel holds %v: %w", c.ID, l.Stable, nft.ErrUnknown)
	}
	return nil
}

// confirmBatch writes a confirm. The kernel refuses the whole of it when an
// element of the trial is not there any more.
//
//	delete element inet weir w_trial_X { ipv4, ipv6 }
//	flush map inet weir w_stable_X ; add element inet weir w_stable_X { ipv4 : goto rID_X, ipv6 : goto rID_X }
//	flush map inet weir w_trial_n ; flush map inet weir w_stable_n        # where the step has no honeypot
//	flush map inet weir w_s_G ; add element inet weir w_s_G { ipv4 timeout T : jump w_spare, ipv6 timeout T : jump w_spare }
//	flush map inet weir w_g_G
//	flush map inet weir w_tx ; add element inet weir w_tx { TX : 2 }
func confirmBatch(c nft.Confirm, hooks []string) *batch {
	b := newBatch(true)
	for _, h := range hooks {
		if c.Entry[h] == "" {
			b.flushSet(ours, nft.TrialMap(h))
			b.flushSet(ours, nft.StableMap(h))
			continue
		}
		b.unpoint(nft.TrialMap(h))
	}
	for _, h := range hooks {
		if c.Entry[h] == "" {
			continue
		}
		b.point(nft.StableMap(h), nft.Verdict{Kind: "goto", Chain: c.Entry[h]}, 0)
	}
	for _, g := range c.Spare {
		if c.SpareFor > 0 {
			b.point(nft.SpareMap(g), nft.Verdict{Kind: "jump", Chain: "w_spare"}, c.SpareFor)
		} else {
			b.flushSet(ours, nft.SpareMap(g))
		}
	}
	for _, g := range c.NoBack {
		b.flushSet(ours, nft.BackMap(g))
	}
	b.setTx(c.Tx, nft.TxConfirm)
	return b
}

// checkEntry refuses what could half switch: no hook, or a chain of another
// revision.
func checkEntry(id string, entry map[string]string) error {
	if len(entry) == 0 {
		return errors.New("it has no entry chains")
	}
	for h, c := range entry {
		if target(nft.Verdict{Chain: c}) != id {
			return fmt.Errorf("the entry chain %q of hook %q is not of revision %q", c, h, id)
		}
	}
	return nil
}

// loaded is nil where the marker lists the revision as complete.
func (k *Kernel) loaded(ctx context.Context, id string) error {
	m, err := k.marks(ctx)
	if err != nil {
		return err
	}
	if m[id] == 0 {
		return fmt.Errorf("%w: %s is not in the marker map", nft.ErrNotLoaded, id)
	}
	return nil
}

// checked sends b only under the generation under which check agreed, and
// returns what the kernel holds afterwards. It tries again when somebody's
// commit came between; when the outcome is unknown it looks.
func (k *Kernel) checked(ctx context.Context, b *batch, hooks []string, tx string, check func(nft.Look) error) (nft.Look, error) {
	raw := b.finish(true)
	for range maxTries {
		present, flags, err := k.c.tableFlags(ctx, ours)
		if err != nil {
			return nft.Look{}, err
		}
		if !present {
			return nft.Look{}, fmt.Errorf("%w: there is no table inet weir", nft.ErrNotLoaded)
		}
		if flags&unix.NFT_TABLE_F_DORMANT != 0 {
			return nft.Look{}, ErrDormant
		}
		l, err := k.glance(ctx, hooks)
		if err != nil {
			return l, err
		}
		if err := check(l); err != nil {
			return l, err
		}
		b.setGen(l.Gen)
		err = k.c.transact(ctx, raw)
		if errors.Is(err, unix.ERESTART) {
			continue
		}
		return k.after(ctx, hooks, tx, err)
	}
	return nft.Look{}, fmt.Errorf("the ruleset changed between looking and sending %d times; stop the program that keeps changing nftables, then try again", maxTries)
}

// after looks at what a write left. sent is the write's own answer, believed
// only where it is a refusal.
func (k *Kernel) after(ctx context.Context, hooks []string, tx string, sent error) (nft.Look, error) {
	var refused *Refused
	if errors.As(sent, &refused) {
		return nft.Look{}, sent
	}
	if sent != nil && !errors.Is(sent, errLost) {
		return nft.Look{}, sent
	}
	// A cancelled caller still wants to know what happened: that takes
	// microseconds, and a bound of its own.
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	l, err := k.glance(look, hooks)
	if err != nil {
		return l, errors.Join(nft.ErrUnknown, sent, err)
	}
	if l.Tx == tx {
		return l, nil
	}
	if sent != nil {
		return l, fmt.Errorf("the transaction was not applied: %w", sent)
	}
	return l, fmt.Errorf("%w: transaction %q was sent and %q is the last one", nft.ErrUnknown, tx, l.Tx)
}

const lookTime = 2 * time.Second

// Back puts one group back to alert (on), or ends that, for both families.
// Nobody else's packets are decided differently.
func (k *Kernel) Back(ctx context.Context, group string, on bool, tx string) error {
	if err := checkTx(tx); err != nil {
		return err
	}
	b := newBatch(false)
	if on {
		b.point(nft.BackMap(group), nft.Verdict{Kind: "goto", Chain: nft.AlertChain(group)}, 0)
	} else {
		b.flushSet(ours, nft.BackMap(group))
	}
	b.setTx(tx, nft.TxGroup)
	if _, err := k.after(ctx, nil, tx, k.c.transact(ctx, b.finish(true))); err != nil {
		return fmt.Errorf("cannot put group %s back to alert: %w", group, err)
	}
	m, _, err := k.verdicts(ctx, nft.BackMap(group))
	if err != nil {
		return errors.Join(nft.ErrUnknown, err)
	}
	id, ok := nft.One(map[string]map[flow.Family]string{"": m})
	if want := map[bool]string{true: nft.AlertChain(group)}[on]; !ok || id != want {
		return fmt.Errorf("%w: the map %s holds %v", nft.ErrUnknown, nft.BackMap(group), m)
	}
	return nil
}
