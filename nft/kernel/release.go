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
		if strings.HasPrefix(name, "w_") || info.anonymous() || revisionOf(name) != "" {
			continue
		}
		if err := k.dropSet(ctx, name, s, true); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("cannot release set %s: %w", name, err)
		}
	}
	return nil
}

// revisionOf returns the revision that an object is named after, or "".
func revisionOf(name string) string {
	if id, _, ok := strings.Cut(name, "_"); ok && isRevision(id) {
		return id
	}
	return ""
}

// unload removes a revision's chains and the maps that lead to them, and its
// entry in the marker: one transaction, so that a revision which somebody makes
// stable meanwhile is refused (EBUSY) as a whole and never half there. Only one
// too large for the socket goes in pieces, its entry and its rules first.
func (k *Kernel) unload(ctx context.Context, id string, s state) error {
	var parts []func(*batch)
	unmark := func(key string) {
		if s.marks[key] != 0 {
			delete(s.marks, key)
			parts = append(parts, func(b *batch) {
				b.put(ours, markSet(nft.MarkerMap), delElem, 0, nft.Element{Key: ifname(key)})
			})
		}
	}
	unmark(id)
	var chains []string
	for name := range s.chains {
		if revisionOf(name) == id {
			chains = append(chains, name)
			parts = append(parts, func(b *batch) { b.flushChain(ours, name) })
		}
	}
	for name := range s.sets {
		if revisionOf(name) == id {
			parts = append(parts, func(b *batch) { b.deleteSet(ours, name) })
			unmark(setMark(name))
		}
	}
	for _, name := range chains {
		parts = append(parts, func(b *batch) { b.deleteChain(ours, name) })
	}
	const most = 192 // bytes of one of these messages, with two names of their longest
	whole := len(parts)*most < k.c.room
	l := k.loader(ctx)
	for _, p := range parts {
		p(l.b)
		if whole {
			continue
		}
		if err := l.room(); err != nil {
			return err
		}
	}
	return l.flush()
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
