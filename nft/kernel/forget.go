package kernel

import (
	"context"
	"fmt"
	"regexp"
	"slices"
)

// deniedMemory are the sets in which the kernel remembers what it logged as
// denied.
var deniedMemory = regexp.MustCompile(`^w_d([46]_.*|[bi][46])$`)

// ForgetDenied lets every denied flow be logged again, also within the hour in
// which the kernel remembers that it was. Without a table there is nothing to
// forget.
//
//	flush set inet weir w_d4_G ; …
func (k *Kernel) ForgetDenied(ctx context.Context) error {
	sets, err := k.c.sets(ctx, ours)
	if err != nil {
		return fmt.Errorf("cannot list the memories of denied flows: %w", err)
	}
	b := newBatch(false)
	var names []string
	for name := range sets {
		if deniedMemory.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		b.flushSet(ours, name)
	}
	if b.empty() {
		return nil
	}
	if err := k.c.transact(ctx, b.finish(true)); err != nil {
		return fmt.Errorf("cannot forget which flows were denied: %w", err)
	}
	return nil
}
