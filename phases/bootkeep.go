package phases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// KeepBoot makes the boot snapshot say what is confirmed: after each confirm,
// and where a rollback or a restore has changed what is. It writes nothing
// where the snapshot says it already.
func (m *Machine) KeepBoot(now time.Time) error {
	if m.Boots == nil {
		return nil
	}
	s := m.state
	if s.Out {
		if m.boot == nil {
			return nil
		}
		m.boot = nil
		return m.Boots.DropBoot()
	}
	if s.Drift != "" || len(s.Confirms) == 0 {
		return nil // nothing is known of what the snapshot should say
	}
	h, off := s.Heads[s.Stable], s.Stable == ""
	if off {
		h = s.Heads[s.Confirms[len(s.Confirms)-1].Digest]
	}
	back := slices.Sorted(maps.Keys(s.Back))
	if s.Gone {
		back = s.WasBack
	}
	want := BootOf(h, off, back)
	p, err := m.PlanInForce()
	if err != nil {
		return fmt.Errorf("cannot keep the boot snapshot: %w", err)
	}
	if p.OnBoot != "" {
		want.OnBoot = p.OnBoot
	}
	if m.boot != nil && m.boot.same(want) && m.lacks == nil { // what it lacks may be there again
		// A rollback without the daemon writes, too.
		if now, err := m.Boots.GetChoice(); err == nil && bytes.Equal(now, m.choice) {
			return nil
		}
	}
	spent := maps.Clone(s.Nonces)
	if m.boot != nil {
		for _, n := range m.boot.Nonces {
			spent[n] = true
		}
	}
	want.At, want.Nonces = now, slices.Sorted(maps.Keys(spent))
	if err := m.putBoot(want); err != nil {
		return fmt.Errorf("cannot keep the boot snapshot: %w; a boot would restore what was confirmed before", err)
	}
	return m.lacks
}

func (m *Machine) putBoot(b Boot) error {
	snapshot, lacks, err := b.Encode(m.Files.GetFrozen)
	if err != nil {
		return err
	}
	choice, err := b.Choice().Encode()
	if err != nil {
		return err
	}
	if err := m.Boots.PutBoot(snapshot, choice); err != nil {
		return err
	}
	m.boot, m.choice, m.lacks = &b, choice, lacks
	return nil
}

// ReadBoot reads what the snapshot says now. What it knows as spent is spent:
// a journal that was put back from a copy may not know. The error says what is
// wrong with the snapshot; KeepBoot then writes it again.
func (m *Machine) ReadBoot() error {
	m.boot = nil
	if m.Boots == nil {
		return nil
	}
	snapshot, choice, err := m.Boots.GetBoot()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := DecodeBoot(snapshot)
	if err != nil {
		return err
	}
	for _, n := range b.Nonces {
		if err := m.spend(n); err != nil {
			return err
		}
	}
	if c, err := DecodeChoice(choice); err != nil {
		return err
	} else if c.OnBoot != b.OnBoot || c.From != b.From || c.Off != (b.Digest == "") || !slices.Equal(c.Back, b.Back) || c.ByHand != b.ByHand {
		return fmt.Errorf("%w: the file beside it says something else", ErrBoot)
	}
	if !b.whole() {
		return nil // it is written again
	}
	m.boot, m.choice, m.lacks = &b, choice, nil
	return nil
}

// kept adds to what an act came to that the snapshot could not follow. Where the
// act opened something, the snapshot goes: a boot must not deny again what a
// person let through.
func (m *Machine) kept(now time.Time, opened bool, done string) error {
	err := m.KeepBoot(now)
	if err == nil {
		return nil
	}
	if opened && m.Boots != nil && !(m.lacks != nil && errors.Is(err, m.lacks)) {
		m.boot = nil
		if drop := m.Boots.DropBoot(); drop != nil {
			err = errors.Join(err, drop)
		} else {
			err = fmt.Errorf("%w; it was removed instead: everything passes after a boot", err)
		}
	}
	return fmt.Errorf("%s, seen in the kernel; but: %w", done, err)
}

// unkept is kept where a way back was taken, or may have been, and the journal
// could not follow: the snapshot stays only if the kernel holds what it says.
func (m *Machine) unkept(ctx context.Context, err error) error {
	if m.boot == nil {
		return err
	}
	look, lerr := m.Kernel.Look(context.WithoutCancel(ctx))
	id, one := Held(look.Stable)
	if lerr == nil && look.Present && one && id == m.boot.Revision && slices.Equal(slices.Sorted(slices.Values(look.Back)), m.boot.Back) {
		return err
	}
	m.boot = nil
	return errors.Join(err, m.Boots.DropBoot())
}
