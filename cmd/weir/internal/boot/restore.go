package boot

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"weir/nft"
	"weir/phases"
	"weir/phases/flow"
	"weir/plans"
)

// Kernel is what a boot needs of the kernel.
type Kernel interface {
	Look(ctx context.Context) (nft.Look, error)
	Load(ctx context.Context, r nft.Revision) error
	Rollback(ctx context.Context, r nft.Rollback) error
	Remove(ctx context.Context) error
}

// Files is where the snapshot and the frozen steps are.
type Files interface {
	GetBoot() (snapshot, choice []byte, err error)
	GetChoice() ([]byte, error)
	GetFrozen(digest string) ([]byte, error)
}

// Config says where a boot's world is.
type Config struct {
	Kernel    Kernel
	Files     Files
	Now       time.Time
	Off       string                          // by what weir is switched off; "" it is not
	Confirmed string                          // the step that the plain history has as confirmed; "" none, or it cannot be read
	Recall    func(ctx context.Context) error // opens again the exceptions that have time left
	Ways      func(h phases.Head) error       // writes the ways back that are missing as files
	Spent     func(nonces []string) error     // keeps what the snapshot knows as spent
}

// Restore does what a boot does and says what it came to. It does not return
// an error: every problem is in the report, and where the report says Open,
// nothing of weir denies anything.
func Restore(ctx context.Context, c Config) Report {
	r := Report{At: c.Now}
	problem := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Errorf(format, args...).Error()) }
	look, err := c.Kernel.Look(ctx)
	if err != nil {
		problem("cannot look at the kernel: %w", err)
		r.Outcome, r.Words = Open, "NOT RESTORED: the kernel cannot be read"
		return r
	}
	r.BootID = look.BootID
	if look.Present && look.Stale {
		// What a copy says of trials and times is of another boot. It is replaced
		// by what is confirmed, or by nothing.
		if err := c.Kernel.Remove(ctx); err != nil {
			problem("another program loaded a saved copy of weir's table, and it cannot be removed: %w", err)
			r.Outcome, r.Words = Open, "NOT RESTORED: a saved copy of weir's table is in the kernel; run: nft delete table inet weir"
			return r
		}
		look.Present = false
		r.Words = " in place of a copy of weir's table that another program had saved and loaded"
	}
	switch {
	case c.Off != "":
		r.Outcome, r.Words = Switched, "weir is switched off by "+c.Off+": nothing is loaded, everything passes"
		if look.Present {
			r.Words = "weir is switched off by " + c.Off + ": nothing is loaded; what is in the kernel already stays: weir rollback"
		}
		return r
	case look.Present:
		r.Outcome, r.Words = Left, "weir's table is in the kernel already, made since the machine was started: left as it is"
		return r
	}
	b, ok := c.find(&r, problem)
	if !ok {
		return r
	}
	replaced := r.Words
	if err := c.load(ctx, b, problem); err != nil {
		problem("%w", err)
		if err := c.Kernel.Remove(ctx); err != nil {
			problem("%w", err)
		}
		r.Outcome, r.Step, r.Words = Open, b.Step, fmt.Sprintf("NOT RESTORED: %s is confirmed, and the kernel does not take it; everything passes; close the gate: weir restore", b.Step)
		return r
	}
	r.Outcome, r.Step, r.Words = Restored, b.Step, "restored "+b.Step+replaced
	if c.Spent != nil {
		if err := c.Spent(b.Nonces); err != nil {
			problem("%w", err)
		}
	}
	if c.Recall != nil {
		if err := c.Recall(ctx); err != nil {
			problem("not every exception came back: %w", err)
		}
	}
	return r
}

// find reads the snapshot or, where it is damaged and the plan chose so, makes
// it again from the recorded frozen steps.
func (c Config) find(r *Report, problem func(string, ...any)) (phases.Boot, bool) {
	snapshot, choice, err := c.Files.GetBoot()
	if errors.Is(err, os.ErrNotExist) {
		if choice, err = c.Files.GetChoice(); err == nil && len(choice) == 0 {
			if c.Confirmed == "" {
				r.Outcome, r.Words = Nothing, "nothing is confirmed on this machine, so nothing is restored; everything passes"
				return phases.Boot{}, false
			}
			problem("the boot snapshot is missing, though %s was confirmed", c.Confirmed)
			r.Outcome, r.Step, r.Words = Open, c.Confirmed, "NOT RESTORED: the boot snapshot is missing; everything passes; close the gate: weir restore"
			return phases.Boot{}, false
		}
		err = errors.New("the boot snapshot is missing")
	}
	var b phases.Boot
	if err == nil {
		b, err = phases.DecodeBoot(snapshot)
	}
	if err == nil {
		return b, true
	}
	problem("%w", err)
	open := func(step, why string) (phases.Boot, bool) {
		r.Outcome, r.Step, r.Words = Open, step, "NOT RESTORED: "+why+"; everything passes; close the gate: weir restore"
		return phases.Boot{}, false
	}
	what, err := phases.DecodeChoice(choice)
	if err != nil {
		problem("%w", err)
		return open(c.Confirmed, "the boot snapshot is damaged, and so is the file that says what to do then")
	}
	if what.OnBoot == plans.OnBootOpen {
		return open(what.Step, "the boot snapshot is damaged, and the plan says onBoot: open")
	}
	if b, err = what.Boot(c.Files.GetFrozen); err != nil {
		problem("%w", err)
		return open(what.Step, "the boot snapshot is damaged, and so are the recorded files of "+what.Step)
	}
	return b, true
}

// load brings the snapshot into the kernel. What is missing of the ways back
// does not keep the gate open.
func (c Config) load(ctx context.Context, b phases.Boot, problem func(string, ...any)) error {
	f, err := b.Main()
	if err != nil {
		return err
	}
	need := []nft.Revision{f.OffRev}
	if b.Digest != "" {
		need = append(need, f.Rules)
	}
	for _, rev := range need {
		if err := c.Kernel.Load(ctx, rev); err != nil {
			return err
		}
	}
	var done []string
	for _, w := range f.Backouts {
		if b.Digest == "" || w.Digest == "" || slices.Contains(done, w.Digest) {
			continue
		}
		done = append(done, w.Digest)
		way, err := b.Way(w.Digest)
		if err == nil {
			err = c.Kernel.Load(ctx, way.Rules)
		}
		if err != nil {
			problem("the way back to %s is not loaded: %w", w.To, err)
		}
	}
	if c.Ways != nil && b.Digest != "" {
		if err := c.Ways(f.Head); err != nil {
			problem("%w", err)
		}
	}
	tx, err := newTx()
	if err != nil {
		return err
	}
	if err := c.Kernel.Rollback(ctx, b.Rollback(f, tx)); err != nil {
		return err
	}
	look, err := c.Kernel.Look(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", nft.ErrUnknown, err)
	}
	return holds(look, b, tx)
}

// holds is nil where the kernel shows what the snapshot says.
func holds(l nft.Look, b phases.Boot, tx string) error {
	for hook, fam := range l.Stable {
		for _, f := range []flow.Family{flow.IPv4, flow.IPv6} {
			if fam[f] != b.Revision && hook != nft.HookNAT {
				return fmt.Errorf("hook %s holds %q for %s, not %s", hook, fam[f], f, b.Revision)
			}
		}
	}
	if back := slices.Sorted(slices.Values(l.Back)); l.Tx != tx || !slices.Equal(back, b.Back) {
		return fmt.Errorf("the kernel shows the transaction %q and %v in alert, not %q and %v", l.Tx, back, tx, b.Back)
	}
	return nil
}

// newTx makes a transaction id: 12 hex digits.
func newTx() (string, error) {
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("cannot make a transaction id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}
