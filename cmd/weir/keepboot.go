package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"weir/nft/kernel"
	"weir/phases"
	"weir/store"
)

// keepBoot makes the boot snapshot say what the kernel holds after a rollback
// that no daemon has written down yet: a reboot before it does must not deny
// again what a person let through. A snapshot that cannot be written goes.
func (e *env) keepBoot(ctx context.Context) {
	boots := store.ReadBoots(e.state)
	old, choice, err := boots.GetBoot()
	if errors.Is(err, os.ErrNotExist) && len(choice) == 0 {
		return
	}
	if err == nil {
		err = e.rewriteBoot(ctx, boots, old)
	}
	if err == nil {
		return
	}
	fmt.Fprintf(e.err, "weir: the boot snapshot cannot be written: %v\n", err)
	if err := boots.DropBoot(); err != nil {
		fmt.Fprintf(e.err, "weir: nor can it be removed: %v; a boot would deny again what it denied before: touch /etc/weir/off keeps it open\n", err)
		return
	}
	fmt.Fprintln(e.err, "weir: it was removed instead: everything passes after a boot, until the daemon writes it again")
}

func (e *env) rewriteBoot(ctx context.Context, boots *store.Boots, old []byte) error {
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return err
	}
	defer k.Close()
	look, err := k.Look(ctx)
	if err != nil {
		return err
	}
	was, wasErr := phases.DecodeBoot(old)
	id, one := phases.Held(look.Stable)
	if !one {
		return errors.New("hooks or families differ")
	}
	if wasErr == nil && id == was.Revision && slices.Equal(look.Back, was.Back) {
		return nil
	}
	hs := heads(e.state)
	h, known := hs[id]
	off := !known
	if off {
		for _, o := range hs { // off, or nothing: by any step's own
			if o.OffID == id || id == "" && (h.At.IsZero() || o.At.After(h.At)) {
				h, known = o, true
			}
		}
	}
	if !known {
		return fmt.Errorf("no frozen step is recorded for revision %s", id)
	}
	b := phases.BootOf(h, off, look.Back)
	b.ByHand, b.At = true, e.now()
	if wasErr == nil {
		b.OnBoot, b.Nonces = was.OnBoot, was.Nonces
	}
	snapshot, _, err := b.Encode(store.ReadFiles(e.state).GetFrozen)
	if err != nil {
		return err
	}
	text, err := b.Choice().Encode()
	if err != nil {
		return err
	}
	return boots.PutBoot(snapshot, text)
}
