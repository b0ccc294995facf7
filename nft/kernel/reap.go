package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// reap takes lapsed elements out of the trial maps. The kernel stops applying
// them in time but keeps them, and with them the chains that they name, until
// its garbage collection comes by. The transaction is applied only if nothing
// changed since every trial was seen to be over: it never ends a trial.
//
//	flush map inet weir w_trial_X
func (k *Kernel) reap(ctx context.Context) error {
	for range maxTries {
		l, err := k.Look(ctx)
		if err != nil {
			return err
		}
		if id, ok := nft.One(l.Trial); !ok || id != "" || len(l.Trial) == 0 {
			return nil
		}
		b := newBatch(true)
		for h := range l.Trial {
			b.flushSet(ours, nft.TrialMap(h))
		}
		b.setGen(l.Gen)
		if err = k.c.transact(ctx, b.finish(true)); !errors.Is(err, unix.ERESTART) {
			return err
		}
	}
	return fmt.Errorf("cannot clean the trial maps: the ruleset changed %d times meanwhile; stop the program that keeps changing nftables, then try again", maxTries)
}

// named says whether a map of trial or stable holds the revision.
func named(l nft.Look, id string) bool {
	for _, m := range []map[string]map[flowFamily]string{l.Trial, l.Stable} {
		for _, fam := range m {
			for _, v := range fam {
				if v == id {
					return true
				}
			}
		}
	}
	return false
}

// revisions returns the ids of the revisions of which anything is there.
func (s state) revisions() []string {
	var out []string
	for name := range s.chains {
		if id := revisionOf(name); id != "" {
			out = append(out, id)
		}
	}
	for name := range s.marks {
		if isRevision(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
