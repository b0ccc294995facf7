package faults

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/nft"
	"weir/phases"
)

// view is what a person sees of a rollout: the steps, and what does not pass.
// Two runs of the same words have equal views though ids differ.
type view struct {
	Step   string // in force by confirmation
	Trial  string
	Stack  string // confirmed steps that one can go back to
	Back   string
	Paused bool
	Gone   bool
	Denied string
}

func (w *world) view() view {
	s := w.m.State()
	name, _, _, _ := s.Current()
	v := view{Step: name, Paused: s.Pause != nil, Gone: s.Gone}
	var stack, back []string
	for _, c := range s.Stack {
		stack = append(stack, c.Step)
	}
	for g := range s.Back {
		back = append(back, g)
	}
	v.Stack, v.Back = strings.Join(stack, " "), sorted(back)
	if s.Trial != nil {
		v.Trial = s.Heads[s.Trial.Digest].Step.Name
	}
	v.Denied = w.g.passes(w)
	return v
}

func one(w *world, what string, l nft.Look) string {
	w.t.Helper()
	m := l.Stable
	if what == "trial" {
		m = l.Trial
	}
	id, ok := nft.One(m)
	if !ok {
		w.t.Fatalf("hooks or families have different revisions as %s: %v", what, m)
	}
	return id
}

// decides is the revision that judges packets.
func decides(l nft.Look) string {
	if id, _ := nft.One(l.Trial); id != "" {
		return id
	}
	id, _ := nft.One(l.Stable)
	return id
}

// holds is what must hold after each recovery, whatever happened before. The
// machine has recovered once.
func (w *world) holds() {
	w.t.Helper()
	l := w.look()
	one(w, "trial", l) // at most one of each
	one(w, "stable", l)

	// Recovery twice equals recovery once, in this process and in the next.
	again := func() {
		w.t.Helper()
		more, err := w.m.Recover(ctx, w.now)
		if err == nil && len(more) == 1 && more[0].Kind == phases.Lapsed {
			l = w.look() // the lease ended a moment ago
			more, err = w.m.Recover(ctx, w.now)
		}
		if err != nil || len(more) > 0 {
			w.t.Fatalf("a further recovery writes %+v, %v", more, err)
		}
	}
	again()
	w.stop()
	w.start()
	again()

	records, err := w.j.Records()
	if err != nil {
		w.t.Fatal(err)
	}
	w.agrees(phases.Fold(records), approvals(records), l)
	w.bootsWell(phases.Fold(records))
	if err := w.j.Check(); err != nil {
		w.t.Errorf("the journal is damaged: %v", err)
	}
}

// agrees: the journal's state, the kernel, the files and what packets meet are
// one.
func (w *world) agrees(s phases.State, approved map[string]bool, l nft.Look) {
	w.t.Helper()
	trial, stable := one(w, "trial", l), one(w, "stable", l)
	if s.Intent != nil {
		w.t.Fatalf("an intent is left open: %+v", s.Intent)
	}
	if s.StableID != stable || (s.Trial != nil) != (trial != "") {
		w.t.Fatalf("the machine says %q is stable, trial %v; the kernel holds %q, trial %q", s.StableID, s.Trial, stable, trial)
	}
	if got, want := sorted(l.Back), sorted(keys(s.Back)); got != want {
		w.t.Fatalf("back in alert are %q in the kernel, %q in the journal", got, want)
	}

	// The deadline of a trial is the one it was armed with.
	if trial != "" {
		if late := w.looked.Add(l.Left).Sub(w.armed.Add(w.lease)); w.g.real() && late > max(w.lease/4, time.Second) {
			w.t.Errorf("the trial has %v left, %v after its deadline", l.Left, late)
		}
		if l.Left <= 0 {
			w.t.Errorf("a trial without an end")
		}
		if h := s.Heads[s.Trial.Digest]; h.Revision != trial {
			w.t.Errorf("%s is on trial, the journal says %s", trial, h.Revision)
		}
	}

	// A confirmed step is never lost: its file is whole, it is loaded, and the
	// ways back from what decides are on the disk.
	if s.Stable != "" {
		data, err := os.ReadFile(filepath.Join(w.dir, "frozen", strings.TrimPrefix(s.Stable, "sha256:")+".json"))
		if err == nil {
			_, err = phases.DecodeFrozen(s.Stable, data)
		}
		if err != nil {
			w.t.Errorf("the confirmed step: %v", err)
		}
	}
	for _, id := range []string{trial, stable} {
		if id == "" {
			continue
		}
		if !has(l.Loaded, id) {
			w.t.Errorf("%s decides and is not loaded", id)
		}
		if h, frozen := headOf(s, id); frozen {
			for _, b := range h.Backouts {
				if !has(l.Loaded, b.Nft.ID) && !w.lame {
					w.t.Errorf("the way back from %s to %s leads to %s, which is not loaded", h.Step.Name, b.To, b.Nft.ID)
				}
			}
			for _, f := range []string{"off.msg", "off.nft", "default.nft"} {
				if _, err := os.Stat(filepath.Join(w.dir, "backout", id, f)); err != nil {
					w.t.Errorf("no way back from %s: %v", id, err)
				}
			}
		}
	}

	// Nothing is denied but what the deciding revision denies, and that was
	// confirmed, or approved and armed.
	want := ""
	if id := decides(l); id != "" {
		h, frozen := headOf(s, id)
		if !frozen && !isOff(s, id) {
			w.t.Errorf("revision %s decides, and nobody armed it", id)
		}
		if frozen && !approved[h.Digest()] {
			w.t.Errorf("%s decides, and nobody approved it", h.Step.Name)
		}
		want = denied(func(p probe) bool { return w.says(id, l.Back, p) })
	}
	if got := w.g.passes(w); got != want {
		w.t.Errorf("denied is %q, want %q; %s decides, back %v", got, want, decides(l), l.Back)
	}
}

func headOf(s phases.State, id string) (phases.Head, bool) {
	for _, d := range []string{s.Stable} {
		if s.Heads[d].Revision == id {
			return s.Heads[d], true
		}
	}
	if s.Trial != nil && s.Heads[s.Trial.Digest].Revision == id {
		return s.Heads[s.Trial.Digest], true
	}
	for _, h := range s.Heads {
		if h.Revision == id {
			return h, true
		}
	}
	return phases.Head{}, false
}

func isOff(s phases.State, id string) bool {
	for _, h := range s.Heads {
		if h.OffID == id {
			return true
		}
	}
	return false
}

// approvals lists the digests that a person said yes to, by the records alone.
func approvals(records []phases.Record) map[string]bool {
	out := map[string]bool{}
	for _, r := range records {
		if r.Kind == phases.Approved {
			out[r.Digest] = true
		}
	}
	return out
}

// goesOn: from here rolling back and advancing work.
func (w *world) goesOn() {
	w.t.Helper()
	s := w.m.State()
	if s.Trial != nil {
		w.run("back")
		if s = w.m.State(); s.Trial != nil {
			w.t.Fatalf("rolled back, and a trial is left")
		}
	}
	if s.Pause != nil {
		w.run("resume")
	}
	if s.Gone {
		w.run("restore")
	}
	if s.Drill.IsZero() {
		w.run("drill")
	}
	if s.Plan == "" {
		w.run("apply")
	}
	w.run("req ok arm yes")
	w.holds()
	w.run("back:off")
	if got := w.g.passes(w); got != "" {
		w.t.Errorf("rolled back to off, denied is %q, the kernel holds %+v", got, w.look())
	}
	w.holds()
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

func has(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
