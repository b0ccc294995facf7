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

// Load makes the kernel hold a revision, with the skeleton that it needs, and
// enters it in the marker map when all of it was read back. No packet is
// decided differently by it, unless a chain of the skeleton changed, or the table
// is a copy from before the machine was started, which is deleted first. Load of
// what is loaded already only verifies; what is left of a load that was cut
// short is removed and loaded again.
func (k *Kernel) Load(ctx context.Context, rev nft.Revision) error {
	if !isRevision(rev.ID) {
		return fmt.Errorf("cannot load %q: a revision's id is r and twelve hex digits", rev.ID)
	}
	if err := k.load(ctx, rev); err != nil {
		return fmt.Errorf("cannot load revision %s: %w", rev.ID, err)
	}
	return nil
}

func (k *Kernel) load(ctx context.Context, rev nft.Revision) error {
	if err := names(rev); err != nil {
		return err
	}
	s, err := k.state(ctx)
	if err != nil {
		return err
	}
	if stale(s.marks, s.boot) {
		// Its trial, its sets and its marker tell of another boot: none of it counts.
		if err := k.Remove(ctx); err != nil {
			return err
		}
		if s, err = k.state(ctx); err != nil {
			return err
		}
	}
	if s.dormant {
		return ErrDormant
	}
	if err := k.skeleton(ctx, rev.Skeleton, s); err != nil {
		return err
	}
	if s, err = k.state(ctx); err != nil {
		return err
	}
	if err := verifySkeleton(rev.Skeleton, s); err != nil {
		return err
	}
	if s.marks[rev.ID] != 0 && k.verify(ctx, rev, s) == nil {
		return nil
	}
	if err := k.clear(ctx, rev, s); err != nil {
		return err
	}
	if s, err = k.state(ctx); err != nil {
		return err
	}
	if err := k.content(ctx, rev, s); err != nil {
		return err
	}
	if s, err = k.state(ctx); err != nil {
		return err
	}
	if err := k.verify(ctx, rev, s); err != nil {
		return err
	}
	b := newBatch(false)
	for _, set := range rev.Ruleset.Sets {
		b.mark(s.marks, setMark(set.Name), 1)
	}
	b.mark(s.marks, rev.ID, 1)
	if !b.empty() {
		if err := k.c.transact(ctx, b.finish(true)); err != nil && !errors.Is(err, errLost) {
			return err
		}
	}
	return k.loaded(ctx, rev.ID)
}

// names refuses a revision that would write where it must not.
func names(rev nft.Revision) error {
	for _, r := range []nft.Ruleset{rev.Skeleton, rev.Ruleset} {
		if r.Family != "inet" || r.Table != nft.TableName {
			return fmt.Errorf("it is for table %s %s, not for inet weir", r.Family, r.Table)
		}
	}
	for _, c := range rev.Ruleset.Chains {
		if !strings.HasPrefix(c.Name, rev.ID+"_") || c.Hook != "" {
			return fmt.Errorf("its chain %s is a base chain or is not named after it", c.Name)
		}
	}
	for _, set := range rev.Ruleset.Sets {
		if strings.HasPrefix(set.Name, "w_") {
			return fmt.Errorf("its set %s has a name of the skeleton", set.Name)
		}
		if other := revisionOf(set.Name); other != "" && other != rev.ID {
			return fmt.Errorf("its set %s is named after another revision", set.Name)
		}
		if set.Data != nft.VerdictType {
			continue
		}
		for _, e := range set.Elements {
			if e.Verdict != nil && revisionOf(e.Verdict.Chain) == rev.ID && revisionOf(set.Name) == "" {
				return fmt.Errorf("its map %s leads to its chain %s and is not named after it", set.Name, e.Verdict.Chain)
			}
		}
	}
	return nil
}

// content loads the sets that the marker does not list, then the chains.
// Chains come first without rules: maps lead to them.
func (k *Kernel) content(ctx context.Context, rev nft.Revision, s state) error {
	l := k.loader(ctx)
	for _, c := range rev.Ruleset.Counters {
		if _, ok := s.counters[c]; !ok {
			l.b.addCounter(ours, c)
		}
	}
	for _, c := range rev.Ruleset.Chains {
		if err := l.chain(c); err != nil {
			return err
		}
	}
	for _, v := range rev.Ruleset.Sets {
		if _, there := s.sets[v.Name]; there {
			continue
		}
		w, err := newSet(v)
		if err != nil {
			return err
		}
		if err := l.set(&w); err != nil {
			return err
		}
	}
	for _, c := range rev.Ruleset.Chains {
		if err := l.rules(c); err != nil {
			return err
		}
	}
	return l.flush()
}

// clear removes what is left of an earlier, incomplete load of the revision:
// its chains and the maps that lead to them, and its sets that the marker does
// not list or that lost elements. A set that another revision uses stays.
func (k *Kernel) clear(ctx context.Context, rev nft.Revision, s state) error {
	left := slices.Contains(s.revisions(), rev.ID) || slices.ContainsFunc(rev.Ruleset.Sets, func(v nft.Set) bool {
		_, there := s.sets[v.Name]
		return there || s.marks[setMark(v.Name)] != 0
	})
	if !left {
		return nil
	}
	if err := k.idle(ctx, rev.ID); err != nil {
		return err
	}
	if err := k.unload(ctx, rev.ID, s); err != nil {
		return err
	}
	for _, v := range rev.Ruleset.Sets {
		if revisionOf(v.Name) == rev.ID {
			continue // gone with the chains
		}
		if _, there := s.sets[v.Name]; !there {
			if s.marks[setMark(v.Name)] != 0 {
				if err := k.dropSet(ctx, v.Name, s, false); err != nil {
					return err
				}
			}
			continue
		}
		if s.marks[setMark(v.Name)] != 0 && k.whole(ctx, &v, s) == nil {
			continue
		}
		if err := k.dropSet(ctx, v.Name, s, true); err != nil && !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
	return nil
}

// idle refuses to take away what packets pass through, and lets go of what a
// lapsed trial still holds.
func (k *Kernel) idle(ctx context.Context, id string) error {
	l, err := k.Look(ctx)
	if err != nil {
		return err
	}
	if named(l, id) {
		return errors.New("it is in force, but not complete any more; roll back to another revision first")
	}
	return k.reap(ctx)
}
