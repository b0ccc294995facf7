package kernel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// DecodeRollback reads what EncodeRollback wrote. It refuses bytes that do
// anything but flush and fill trial, stable, group and transaction maps of
// table inet weir, so a damaged or foreign file is never sent.
func DecodeRollback(raw []byte) (nft.Rollback, error) {
	r := nft.Rollback{Entry: map[string]string{}}
	n, ended := 0, false
	for h, p := range messages(raw) {
		n += (int(h.len) + 3) &^ 3
		var err error
		switch h.typ {
		case unix.NFNL_MSG_BATCH_BEGIN:
		case unix.NFNL_MSG_BATCH_END:
			ended = true
		case subsys | newElem, subsys | delElem:
			err = decodeWrite(&r, h, p)
		default:
			err = fmt.Errorf("they %s", describe(h, p))
		}
		if err != nil {
			return nft.Rollback{}, fmt.Errorf("cannot use the backout's bytes: %w", err)
		}
	}
	if n == 0 || n != len(raw) || !ended || r.Tx == "" || len(r.Hooks) == 0 {
		return nft.Rollback{}, errors.New("cannot use the backout's bytes: they are no complete rollback; run its nft file instead")
	}
	if len(r.Entry) == 0 {
		r.Entry = nil
	}
	return r, nil
}

func decodeWrite(r *nft.Rollback, h header, p []byte) error {
	if len(p) < 4 {
		return errors.New("a message is too short")
	}
	if name := text(attr(p[4:], unix.NFTA_SET_ELEM_LIST_TABLE)); name != nft.TableName || p[0] != familyInet {
		return fmt.Errorf("they write to table %q", name)
	}
	set := text(attr(p[4:], unix.NFTA_SET_ELEM_LIST_SET))
	list := attr(p[4:], unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	if h.typ == subsys|delElem {
		if hook, ok := strings.CutPrefix(set, nft.TrialMap("")); ok {
			r.Hooks = append(r.Hooks, hook)
		}
		if list != nil {
			return errors.New("they delete single elements of " + set)
		}
		return nil
	}
	for _, el := range attrs(list) {
		e := readElement(el)
		hook, stable := strings.CutPrefix(set, nft.StableMap(""))
		group, back := strings.CutPrefix(set, nft.BackMap(""))
		switch {
		case stable && e.verdict.Kind == "goto":
			r.Entry[hook], r.ID = e.verdict.Chain, target(e.verdict)
		case back && e.verdict == (nft.Verdict{Kind: "goto", Chain: nft.AlertChain(group)}):
			if len(r.Alert) == 0 || r.Alert[len(r.Alert)-1] != group {
				r.Alert = append(r.Alert, group)
			}
		case set == nft.TxMap:
			r.Tx, r.Kind = text(e.key), nft.TxKindOf(e.mark)
		default:
			return fmt.Errorf("they add elements to %s", set)
		}
	}
	return nil
}

// Rung is how far down Ladder had to go.
type Rung string

// The rungs, from the best to the last.
const (
	RungTarget Rung = "target" // the backout's revision is stable
	RungOpen   Rung = "open"   // trial and stable are empty: everything passes
	RungGone   Rung = "gone"   // the table is deleted: everything passes, the counters are lost
)

// Ladder rolls back by all means: the backout's bytes; where the kernel does
// not hold their target afterwards, both maps of every hook are emptied; where
// that cannot be seen either, the table is deleted. Each rung is left only when
// looking says so. raw nil begins at the second rung. The error tells why
// earlier rungs failed, even when a later one succeeded and rung is not "".
func (k *Kernel) Ladder(ctx context.Context, raw []byte) (rung Rung, err error) {
	if raw != nil {
		if err = k.SendRaw(ctx, raw); err == nil {
			return RungTarget, nil
		}
	}
	// The way back must not end because the caller's time did.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	openErr := k.open(ctx)
	if openErr == nil {
		return RungOpen, err
	}
	err = errors.Join(err, openErr)
	if goneErr := k.Remove(ctx); goneErr != nil {
		return "", errors.Join(err, goneErr)
	}
	return RungGone, err
}

// open empties every trial and stable map that there is.
//
//	flush map inet weir w_trial_X ; flush map inet weir w_stable_X ; flush set inet weir w_hp
func (k *Kernel) open(ctx context.Context) error {
	sets, err := k.c.sets(ctx, ours)
	if err != nil {
		return err
	}
	b := newBatch(false)
	var hooks []string
	for name := range sets {
		hook, trial := strings.CutPrefix(name, nft.TrialMap(""))
		if trial {
			hooks = append(hooks, hook)
		}
		if trial || strings.HasPrefix(name, nft.StableMap("")) || name == nft.HoneypotSet {
			b.flushSet(ours, name)
		}
	}
	if !b.empty() {
		if err := k.c.transact(ctx, b.finish(true)); err != nil && !errors.Is(err, errLost) {
			return fmt.Errorf("cannot empty trial and stable: %w", err)
		}
	}
	l, err := k.glance(ctx, hooks)
	if err != nil {
		return err
	}
	return rolled(l, nft.Rollback{Hooks: hooks})
}
