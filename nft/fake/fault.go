package fake

import (
	"context"
	"fmt"
	"slices"

	"weir/nft"
)

// Fault makes calls fail. The zero value makes none fail.
type Fault struct {
	// At is the number of the call that fails, counted from the next one,
	// which is 1. Every method of Kernel counts that phases.Kernel has, but
	// EncodeRollback.
	At int
	// Applied: the call takes effect, and the answer is lost.
	Applied bool
	// Stays: all later calls fail too, without effect, as after a crash.
	Stays bool
	// Err is what the call returns; nil means nft.ErrUnknown.
	Err error
}

// Inject replaces the fault and counts calls anew.
func (k *Kernel) Inject(f Fault) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fault, k.calls, k.fired = f, 0, false
}

// Calls returns the number of calls since Inject, or New.
func (k *Kernel) Calls() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls
}

// Fired says whether the fault has struck.
func (k *Kernel) Fired() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fired
}

// counted runs one call with its fault.
func (k *Kernel) counted(ctx context.Context, f func() error) error {
	k.calls++
	if err := ctx.Err(); err != nil {
		return err
	}
	hit := k.fault.At > 0 && (k.calls == k.fault.At || k.fault.Stays && k.calls > k.fault.At)
	if !hit {
		return f()
	}
	k.fired = true
	err := k.fault.Err
	if err == nil {
		err = nft.ErrUnknown
	}
	if k.fault.Applied && k.calls == k.fault.At {
		if real := f(); real != nil {
			return real
		}
	}
	return fmt.Errorf("call %d: %w", k.calls, err)
}

// Reboot empties the kernel and gives it another boot id.
func (k *Kernel) Reboot() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.s, k.gen = state{}, 1
	k.boots++
}

// Delete removes the table, as somebody else's program may.
func (k *Kernel) Delete() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.s = state{}
	k.gen++
}

// Forget removes a loaded revision's chains and its name from the marker, as
// after a load that was cut short.
func (k *Kernel) Forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.s.clone()
	for _, c := range s.loaded[id].Ruleset.Chains {
		delete(s.chains, c.Name)
	}
	delete(s.loaded, id)
	k.s = s
	k.gen++
}

// Loaded says whether all of the revisions are loaded.
func (k *Kernel) Loaded(ids ...string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !slices.ContainsFunc(ids, func(id string) bool { return k.s.loaded[id].ID == "" })
}
