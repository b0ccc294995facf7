package faults

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/cmd/weir/internal/boot"
	"weir/nft"
	"weir/phases"
	"weir/plans"
	"weir/store"
)

// bootKernel is a ground as the start of the machine finds it.
type bootKernel struct{ ground }

func (k bootKernel) Remove(ctx context.Context) error {
	if l, ok := k.ground.(*lab); ok {
		return l.Remove(ctx)
	}
	return k.delete()
}

type bootFiles struct {
	*store.Boots
	*store.Files
}

// boot is the end of every process and of the kernel's table, and what the boot
// unit does then.
func (w *world) boot() boot.Report {
	w.t.Helper()
	w.stop()
	must(w.t, bootKernel{w.g}.Remove(ctx))
	return w.restoreAtBoot(bootKernel{w.g})
}

func (w *world) restoreAtBoot(k boot.Kernel) boot.Report {
	return boot.Restore(ctx, boot.Config{Kernel: k, Files: bootFiles{store.ReadBoots(w.dir), store.ReadFiles(w.dir)}, Now: w.now, Confirmed: w.confirmed})
}

// bootsWell: the snapshot on the disk says what the journal has as confirmed.
func (w *world) bootsWell(s phases.State) {
	w.t.Helper()
	if err := w.m.KeepBoot(w.now); err != nil {
		w.t.Fatal(err)
	}
	if s.Drift != "" || len(s.Confirms) == 0 {
		return
	}
	data, choice, err := store.ReadBoots(w.dir).GetBoot()
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := phases.DecodeBoot(data)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := phases.DecodeChoice(choice)
	if err != nil {
		w.t.Fatal(err)
	}
	back := slices.Sorted(maps.Keys(s.Back))
	if s.Gone {
		back = s.WasBack
	}
	if s.Stable == "" {
		back = nil
	}
	if b.Digest != s.Stable || !slices.Equal(b.Back, back) || b.Digest != "" && c.From != b.Digest || c.Off != (s.Stable == "") {
		w.t.Errorf("a boot restores %s, back %v, or %+v; confirmed is %s, back %v", b.Step, b.Back, c, s.Heads[s.Stable].Step.Name, back)
	}
}

// sameAfterBoot: what packets meet after a boot is what they met before, less a
// trial.
func (w *world) sameAfterBoot() {
	w.t.Helper()
	if w.m.State().Trial != nil || w.m.State().Gone {
		return
	}
	before := w.view()
	w.run("boot")
	if got := w.view(); got != before {
		w.t.Errorf("before the boot %+v\nafter it        %+v", before, got)
	}
	w.holds()
}

// TestBoot: in every state the machine is started again, with the boot unit. On
// the kernel, packets say what holds before any process runs.
func TestBoot(t *testing.T) {
	for _, real := range []bool{true, false} {
		for _, row := range []struct {
			before string
			after  view
		}{
			{"apply", view{Step: "off"}},
			{"apply req ok arm", view{Step: "off"}},
			{"apply to:monitor", view{Step: "monitor", Stack: "monitor"}},
			{"apply drill to:enforce/block:desks", view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks"}},
			{"apply drill to:enforce/block:desks req ok arm", view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks"}},
			{"apply drill to:enforce/block:desks back", view{Step: "enforce/alert", Stack: "monitor enforce/alert", Paused: true}},
			{"apply drill to:enforce/block:desks group:desks", view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks", Back: "desks", Paused: true}},
			{"apply drill to:enforce/block:desks back:off", view{Step: "off", Paused: true}},
			{"apply drill to:enforce/block:desks hand look keep", view{Step: "enforce/alert", Stack: "monitor enforce/alert", Paused: true}},
			{"apply drill to:enforce/block:desks delete look", view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks"}},
		} {
			t.Run(fmt.Sprintf("%v %s", map[bool]string{true: "kernel", false: "fake"}[real], row.before), func(t *testing.T) {
				w := newWorld(t, newGround(t, real, nil), 20*60*1e9)
				defer w.stop()
				w.run(row.before)
				s := w.m.State()
				row.after.Denied = ""
				if h, ok := s.Heads[s.Stable]; ok && row.after.Step != "off" {
					row.after.Denied = denied(func(p probe) bool { return w.says(h.Revision, slices.Collect(maps.Keys(s.Back)), p) })
				}
				r := w.boot()
				if len(r.Problems) > 0 {
					t.Errorf("%v", r.Problems)
				}
				// Nobody of weir is alive.
				if got := w.g.passes(w); got != row.after.Denied {
					t.Errorf("after the boot denied is %q, want %q", got, row.after.Denied)
				}
				w.start()
				w.run("look")
				if got := w.view(); got != row.after {
					t.Errorf("is   %+v\nwant %+v", got, row.after)
				}
				w.holds()
				if real {
					return
				}
				w.goesOn()
			})
		}
	}
}

// TestWhatABootFinds: whatever a crash or the disk left of the snapshot and the
// file beside it, a boot restores a step that was confirmed, or opens and says
// so.
func TestWhatABootFinds(t *testing.T) {
	const was, is = "enforce/block:desks", "enforce/block:srv"
	w := newWorld(t, newGround(t, false, nil), 20*60*1e9)
	defer w.stop()
	w.run("apply drill to:" + was)
	files := func() (out [2][]byte) {
		a, b, err := store.ReadBoots(w.dir).GetBoot()
		must(t, err)
		return [2][]byte{a, b}
	}
	old := files()
	w.run("to:" + is)
	now := files()
	frozen := filepath.Join(w.dir, "frozen", strings.TrimPrefix(w.m.State().Stable, "sha256:")+".json")
	step, err := os.ReadFile(frozen)
	must(t, err)
	w.stop()

	half := func(b []byte) []byte { return b[:len(b)/2] }
	flip := func(b []byte) []byte { c := bytes.Clone(b); c[len(c)*3/4] ^= 4; return c }
	newer := func(b []byte) []byte { return bytes.Replace(b, []byte("-v1 "), []byte("-v2 "), 1) }
	open := func(b []byte) []byte {
		c, err := phases.DecodeChoice(b)
		must(t, err)
		c.OnBoot = plans.OnBootOpen
		out, err := c.Encode()
		must(t, err)
		return out
	}
	for name, row := range map[string]struct {
		snapshot, choice, step []byte
		confirmed              string
		outcome                boot.Outcome
		want                   string
		quiet                  bool
	}{
		"whole":                             {now[0], now[1], step, is, boot.Restored, is, true},
		"killed before the first file":      {old[0], old[1], step, is, boot.Restored, was, true},
		"killed between the two":            {now[0], old[1], step, is, boot.Restored, is, true},
		"no choice":                         {now[0], nil, step, is, boot.Restored, is, true},
		"half a choice":                     {now[0], half(now[1]), step, is, boot.Restored, is, true},
		"truncated":                         {half(now[0]), now[1], step, is, boot.Restored, is, false},
		"a bit":                             {flip(now[0]), now[1], step, is, boot.Restored, is, false},
		"empty":                             {[]byte{}, now[1], step, is, boot.Restored, is, false},
		"of a newer weir":                   {newer(now[0]), now[1], step, is, boot.Restored, is, false},
		"missing":                           {nil, now[1], step, is, boot.Restored, is, false},
		"truncated, open":                   {half(now[0]), open(now[1]), step, is, boot.Open, is, false},
		"missing, open":                     {nil, open(now[1]), step, is, boot.Open, is, false},
		"truncated, and the choice":         {half(now[0]), half(now[1]), step, is, boot.Open, is, false},
		"truncated, no choice":              {half(now[0]), nil, step, is, boot.Open, is, false},
		"truncated, choice of a newer weir": {half(now[0]), newer(now[1]), step, is, boot.Open, is, false},
		"truncated, the step changed":       {half(now[0]), now[1], flip(step), is, boot.Open, is, false},
		"truncated, the step missing":       {half(now[0]), now[1], nil, is, boot.Open, is, false},
		"both missing":                      {nil, nil, step, is, boot.Open, is, false},
		"both missing, nothing confirmed":   {nil, nil, step, "", boot.Nothing, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			for path, data := range map[string][]byte{filepath.Join(w.dir, "boot", "snapshot"): row.snapshot, filepath.Join(w.dir, "boot", "choice"): row.choice, frozen: row.step} {
				if data == nil {
					if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
						t.Fatal(err)
					}
					continue
				}
				must(t, os.WriteFile(path, data, 0o600))
			}
			w.confirmed = row.confirmed
			must(t, w.g.delete())
			r := w.restoreAtBoot(bootKernel{w.g})
			if r.Outcome != row.outcome || r.Step != row.want || (len(r.Problems) == 0) != row.quiet {
				t.Fatalf("%+v", r)
			}
			l, err := w.g.Look(ctx)
			must(t, err)
			id, _ := phases.Held(l.Stable)
			if row.outcome != boot.Restored {
				if l.Present || !strings.Contains(r.Words, "everything passes") {
					t.Errorf("%s, and the kernel holds %+v", r.Words, l)
				}
				return
			}
			if got := w.stepOf(id); got != row.want {
				t.Errorf("in force is %s, want %s", got, row.want)
			}
			if left := l.Trial; len(l.Loaded) < 3 || l.Kind != nft.TxBoot || id == "" {
				t.Errorf("%+v %v", l, left)
			}
		})
	}
}

func (w *world) stepOf(id string) string {
	for _, text := range []string{"enforce/block:desks", "enforce/block:srv"} {
		if in, ok := w.input(id); ok {
			n := 0
			for _, g := range in.Groups {
				if g.Treatment.Denies() {
					n++
				}
			}
			if n == map[string]int{"enforce/block:desks": 1, "enforce/block:srv": 2}[text] {
				return text
			}
		}
	}
	return "?"
}
