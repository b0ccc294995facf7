package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"weir/phases"
)

// Boots keeps the boot snapshot as plain files in a folder of mode 0700:
//
//	boot/snapshot   what a boot restores, self-contained and checked
//	boot/choice     what to do where that is damaged, and which frozen step it was
//	boot/nonces     what is spent (Nonces)
//
// The choice is written after the snapshot. A crash between the two leaves a
// choice of what was confirmed before, which counts only where the snapshot is
// damaged.
type Boots struct{ dir string }

var _ phases.Boots = (*Boots)(nil)

// BootDir is the folder below the state folder.
func BootDir(state string) string { return filepath.Join(state, "boot") }

// OpenBoots makes the folder where it is missing.
func OpenBoots(state string) (*Boots, error) {
	if err := os.MkdirAll(BootDir(state), 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep the boot snapshot: %w", err)
	}
	return ReadBoots(state), nil
}

// ReadBoots is OpenBoots for reading.
func ReadBoots(state string) *Boots { return &Boots{BootDir(state)} }

func (b *Boots) snapshot() string { return filepath.Join(b.dir, "snapshot") }
func (b *Boots) choice() string   { return filepath.Join(b.dir, "choice") }

// GetBoot reads both files. A choice that is missing is empty.
func (b *Boots) GetBoot() (snapshot, choice []byte, err error) {
	snapshot, err = os.ReadFile(b.snapshot())
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the boot snapshot: %w", err)
	}
	choice, err = b.GetChoice()
	return snapshot, choice, err
}

// GetChoice reads the small file alone; a missing one is empty.
func (b *Boots) GetChoice() ([]byte, error) {
	data, err := os.ReadFile(b.choice())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot read what a boot does: %w", err)
	}
	return data, nil
}

// PutBoot replaces both files. A snapshot of another version is kept beside
// them, with the version in its name.
func (b *Boots) PutBoot(snapshot, choice []byte) error {
	if err := b.keepOther(snapshot); err != nil {
		return err
	}
	if err := write(b.snapshot(), snapshot); err != nil {
		return err
	}
	return write(b.choice(), choice)
}

// DropBoot removes both, the snapshot first.
func (b *Boots) DropBoot() error {
	for _, path := range []string{b.snapshot(), b.choice()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return syncDir(b.dir)
}

var bootVersion = regexp.MustCompile(`^weir-boot-v([0-9]{1,9}) `)

// keepOther keeps what is there under another name, where its version is not
// that of what is to replace it.
func (b *Boots) keepOther(snapshot []byte) error {
	old, err := os.ReadFile(b.snapshot())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	was, is := bootVersion.FindSubmatch(old), bootVersion.FindSubmatch(snapshot)
	if was == nil || is == nil || string(was[1]) == string(is[1]) {
		return nil
	}
	return write(b.snapshot()+".v"+string(was[1]), old)
}
