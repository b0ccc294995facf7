package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// Release removes every loaded revision that is neither in keep nor on trial
// nor stable, and every content set that no chain uses any more. The marker
// forgets a revision before the first part of it goes.
func (k *Kernel) Release(ctx context.Context, keep []string) error {
	l, err := k.Look(ctx)
	if err != nil {
		return err
	}
	s, err := k.state(ctx)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(s.revisions(), func(id string) bool {
		return slices.Contains(keep, id) || named(l, id)
	})
	if len(gone) > 0 {
		if err := k.reap(ctx); err != nil {
			return err
		}
	}
	for _, id := range gone {
		if err := k.unload(ctx, id, s); err != nil {
			return fmt.Errorf("cannot release revision %s: %w", id, err)
		}
	}
	for name, info := range s.sets {
		if strings.HasPrefix(name, "w_") || info.anonymous() {
			continue
		}
		if err := k.dropSet(ctx, name, s, true); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("cannot release set %s: %w", name, err)
		}
	}
	for _, id := range gone {
		if err := k.dropChains(ctx, id, s); err != nil {
			return fmt.Errorf("cannot release revision %s: %w", id, err)
		}
	}
	return nil
}

// unload takes a revision out of the marker and empties its chains.
func (k *Kernel) unload(ctx context.Context, id string, s state) error {
	b := newBatch(false)
	if s.marks[id] != 0 {
		b.put(ours, markSet(nft.MarkerMap), delElem, 0, nft.Element{Key: ifname(id)})
		delete(s.marks, id)
	}
	for name := range s.chains {
		if strings.HasPrefix(name, id+"_") && s.rules[name] > 0 {
			b.flushChain(ours, name)
		}
	}
	if b.empty() {
		return nil
	}
	return k.c.transact(ctx, b.finish(true))
}

// dropSet removes a content set, where exists says that it is there, together
// with its entry in the marker. EBUSY: a chain uses it, nothing changed.
func (k *Kernel) dropSet(ctx context.Context, name string, s state, exists bool) error {
	b := newBatch(false)
	if exists {
		b.deleteSet(ours, name)
	}
	if s.marks[setMark(name)] != 0 {
		b.put(ours, markSet(nft.MarkerMap), delElem, 0, nft.Element{Key: ifname(setMark(name))})
	}
	if b.empty() {
		return nil
	}
	err := k.c.transact(ctx, b.finish(true))
	if err == nil {
		delete(s.marks, setMark(name))
	}
	return err
}

// dropChains removes the empty chains of a revision.
func (k *Kernel) dropChains(ctx context.Context, id string, s state) error {
	l := k.loader(ctx)
	for name := range s.chains {
		if strings.HasPrefix(name, id+"_") {
			l.b.deleteChain(ours, name)
			if err := l.room(); err != nil {
				return err
			}
		}
	}
	return l.flush()
}

// Remove deletes the table inet weir with everything in it: nothing is
// filtered any more. No table is a success.
func (k *Kernel) Remove(ctx context.Context) error {
	b := newBatch(false)
	b.deleteTable(ours)
	err := k.c.transact(ctx, b.finish(true))
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, errLost) {
		return fmt.Errorf("cannot remove table inet weir: %w", err)
	}
	present, _, perr := k.c.tableFlags(ctx, ours)
	if perr != nil {
		return errors.Join(nft.ErrUnknown, err, perr)
	}
	if present {
		return fmt.Errorf("cannot remove table inet weir: it is still there: %w", nft.ErrUnknown)
	}
	return nil
}
