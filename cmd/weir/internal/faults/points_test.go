package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weir/nft"
	"weir/phases"
)

// mode is what happens at a fault point. That a process dies before a call is
// the same as that it dies after the one before.
type mode string

const (
	killAfter  mode = "killed after"      // the call was made, and nobody read the answer
	failBefore mode = "failed before"     // the call fails and does nothing; the process goes on
	failAfter  mode = "answered in error" // the call is done, its answer is an error; the process goes on
	stopped    mode = "stopped before"    // SIGSTOP; the process goes on when every lease is long over
)

// reads are the calls that change nothing: struck after them is struck before.
var reads = []string{"kernel.Look", "files.GetFrozen"}

// errInjected is the answer of a call that a fault point made fail.
var errInjected = errors.New("injected fault")

// killed is the panic with which a process ends. It unwinds nothing that the
// real SIGKILL would not: everything in memory is thrown away.
type killed struct{ at string }

// points are the calls that a machine makes of the world, counted and named.
type points struct {
	n     int
	at    int // the call at which the fault is; 0: none
	mode  mode
	err   error    // with which it fails; nil: errInjected alone
	fired string   // the name of the call that it struck
	names []string // of the calls so far

	killAt string // a call by name after which the process dies; "": none
	stall  func() // what goes on while the process is stopped
}

// arm puts the fault at the nth call from now; n 0 takes it away.
func (p *points) arm(n int, m mode) { *p = points{at: n, mode: m, stall: p.stall} }

func (p *points) pass(name string, do func() error) error {
	p.n++
	p.names = append(p.names, name)
	if p.killAt == name {
		_ = do()
		panic(killed{name})
	}
	if p.at == 0 || p.n != p.at {
		return do()
	}
	p.fired = name
	switch p.mode {
	case stopped:
		p.stall()
		return do()
	case killAfter:
		// A call that is refused does nothing; the process ends all the same.
		_ = do()
		panic(killed{name})
	case failAfter:
		if err := do(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: %w", name, errors.Join(errInjected, p.err))
}

// brittleKernel, brittleJournal, brittleFiles and brittleBoots are the production parts with
// a fault point at each call.
type brittleKernel struct {
	phases.Kernel
	p *points
	w *world
}

func (k brittleKernel) Look(ctx context.Context) (l nft.Look, err error) {
	err = k.p.pass("kernel.Look", func() (err error) { l, err = k.Kernel.Look(ctx); return err })
	return l, err
}

func (k brittleKernel) Load(ctx context.Context, r nft.Revision) error {
	return k.p.pass("kernel.Load", func() error { return k.Kernel.Load(ctx, r) })
}

// Arm looks first whether the ways back are on the disk.
func (k brittleKernel) Arm(ctx context.Context, a nft.Arm) error {
	return k.p.pass("kernel.Arm", func() error {
		for _, name := range []string{"default.msg", "default.nft", "off.msg", "off.nft"} {
			if st, err := os.Stat(filepath.Join(k.w.dir, "backout", a.ID, name)); err != nil || st.Size() == 0 {
				k.w.t.Errorf("armed %s without a way back: %s: %v", a.ID, name, err)
			}
		}
		return k.Kernel.Arm(ctx, a)
	})
}

func (k brittleKernel) Confirm(ctx context.Context, c nft.Confirm) error {
	return k.p.pass("kernel.Confirm", func() error { return k.Kernel.Confirm(ctx, c) })
}

func (k brittleKernel) Rollback(ctx context.Context, r nft.Rollback) error {
	return k.p.pass("kernel.Rollback", func() error { return k.Kernel.Rollback(ctx, r) })
}

func (k brittleKernel) Back(ctx context.Context, group string, on bool, tx string) error {
	return k.p.pass("kernel.Back", func() error { return k.Kernel.Back(ctx, group, on, tx) })
}

type brittleJournal struct {
	phases.Journal
	p *points
}

func (j brittleJournal) Append(r phases.Record) (out phases.Record, err error) {
	err = j.p.pass("journal.Append "+string(r.Kind), func() (err error) { out, err = j.Journal.Append(r); return err })
	if err != nil {
		return r, err
	}
	return out, nil
}

type brittleFiles struct {
	phases.Files
	p *points
}

func (f brittleFiles) PutFrozen(digest string, data []byte) error {
	return f.p.pass("files.PutFrozen", func() error { return f.Files.PutFrozen(digest, data) })
}

func (f brittleFiles) GetFrozen(digest string) (data []byte, err error) {
	err = f.p.pass("files.GetFrozen", func() (err error) { data, err = f.Files.GetFrozen(digest); return err })
	return data, err
}

func (f brittleFiles) PutBackout(from, to string, message, text []byte) error {
	return f.p.pass("files.PutBackout", func() error { return f.Files.PutBackout(from, to, message, text) })
}

type brittleBoots struct {
	phases.Boots
	p *points
}

func (b brittleBoots) PutBoot(snapshot, choice []byte) error {
	return b.p.pass("boot.Put", func() error { return b.Boots.PutBoot(snapshot, choice) })
}

func (b brittleBoots) DropBoot() error { return b.p.pass("boot.Drop", b.Boots.DropBoot) }
