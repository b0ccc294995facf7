package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// EncodeRollback returns a rollback as netlink bytes for SendRaw: one
// transaction that fits any state in which its revision is loaded. It checks no
// generation, no trial and no stable. The bytes stay good until the revision is
// released.
//
//	flush map inet weir w_trial_X
//	flush map inet weir w_stable_X ; add element inet weir w_stable_X { ipv4 : goto rID_X, ipv6 : goto rID_X }
//	flush set inet weir w_hp                                             # where X is n: what was captured ends
//	flush map inet weir w_g_G ; add element inet weir w_g_G { ipv4 : goto w_a_G, ipv6 : goto w_a_G }
//	flush map inet weir w_tx ; add element inet weir w_tx { TX : 3 }
func EncodeRollback(r nft.Rollback) ([]byte, error) {
	if err := checkTx(r.Tx); err != nil {
		return nil, err
	}
	if r.Kind != nft.TxRollback && r.Kind != nft.TxBoot && r.Kind != nft.TxHold {
		return nil, fmt.Errorf("a rollback cannot be of kind %q", r.Kind)
	}
	if len(r.Hooks) == 0 {
		return nil, errors.New("a rollback needs the hooks whose maps it writes")
	}
	if r.ID != "" {
		if err := checkEntry(r.ID, r.Entry); err != nil {
			return nil, err
		}
	}
	b := newBatch(false)
	for _, h := range r.Hooks {
		b.flushSet(ours, nft.TrialMap(h))
		if c, ok := r.Entry[h]; ok && r.ID != "" {
			b.point(nft.StableMap(h), nft.Verdict{Kind: "goto", Chain: c}, 0)
		} else {
			b.flushSet(ours, nft.StableMap(h))
		}
		if h == nft.HookNAT {
			b.flushSet(ours, nft.HoneypotSet)
		}
	}
	for _, g := range r.Alert {
		b.point(nft.BackMap(g), nft.Verdict{Kind: "goto", Chain: nft.AlertChain(g)}, 0)
	}
	b.setTx(r.Tx, r.Kind)
	return b.finish(true), nil
}

// Rollback makes a loaded revision stable and ends any trial, whatever the
// kernel holds and whoever else is changing it. With ID "" everything passes;
// then a table that does not exist is a success. ErrNotLoaded: nothing changed.
func (k *Kernel) Rollback(ctx context.Context, r nft.Rollback) error {
	raw, err := EncodeRollback(r)
	if err != nil {
		return fmt.Errorf("cannot roll back: %w", err)
	}
	return k.rollback(ctx, r, raw)
}

func (k *Kernel) rollback(ctx context.Context, r nft.Rollback, raw []byte) error {
	l, err := k.after(ctx, r.Hooks, r.Tx, k.c.transact(ctx, raw))
	if errors.Is(err, unix.ENOENT) {
		present, _, perr := k.c.tableFlags(ctx, ours)
		switch {
		case perr != nil:
			return errors.Join(err, perr)
		case !present && r.ID == "":
			return nil
		}
		err = fmt.Errorf("%w: %w", nft.ErrNotLoaded, err)
	}
	if err != nil {
		return fmt.Errorf("cannot roll back to %q: %w", r.ID, err)
	}
	if err := rolled(l, r); err != nil {
		return fmt.Errorf("rolled back to %q, but %w: %w", r.ID, err, nft.ErrUnknown)
	}
	return nil
}

// rolled is nil where the kernel holds what the rollback asked for.
func rolled(l nft.Look, r nft.Rollback) error {
	for _, h := range r.Hooks {
		want := ""
		if _, ok := r.Entry[h]; ok {
			want = r.ID
		}
		for _, f := range families {
			if l.Trial[h][f.f] != "" {
				return fmt.Errorf("%s of hook %s is on trial", l.Trial[h][f.f], h)
			}
			if got := l.Stable[h][f.f]; got != want {
				return fmt.Errorf("hook %s has %q as stable for %s", h, got, f.f)
			}
		}
	}
	return nil
}

// SendRaw sends the bytes of EncodeRollback and reads back what they say. It
// needs no database and no plan. Errors are those of Rollback.
func (k *Kernel) SendRaw(ctx context.Context, raw []byte) error {
	r, err := DecodeRollback(raw)
	if err != nil {
		return err
	}
	return k.rollback(ctx, r, slices.Clone(raw))
}

// EncodeRollback is the function of that name, for callers that hold a Kernel.
// It sends nothing.
func (k *Kernel) EncodeRollback(r nft.Rollback) ([]byte, error) { return EncodeRollback(r) }
