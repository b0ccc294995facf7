package phases

import (
	"testing"
	"time"
)

func TestWalkThroughAllSteps(t *testing.T) {
	w := newWorld()
	m := w.open(t)
	plan := planNamed("walk", nil)
	if err := m.Apply(ctx, w.now, anna, plan, []byte("walk")); err != nil {
		t.Fatal(err)
	}
	if err := m.Drilled(ctx, w.now, anna, time.Second); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"monitor", "enforce/alert", "enforce/block:cameras", "enforce/block:pilot", "enforce/block:desks",
		"enforce/block:core", "refactor/swap:desks", "watch"} {
		w.now = w.now.Add(time.Hour)
		h, _, err := m.Request(ctx, w.now, anna, "", material(w))
		if err != nil || h.Step.Name != want {
			t.Fatalf("request: %s, %v; want %s", h.Step.Name, err, want)
		}
		for _, a := range []Actor{ben, cleo} {
			if err := m.Approve(ctx, w.now, a, h.Digest()); err != nil {
				t.Fatal(want, err)
			}
		}
		if _, err := m.Advance(ctx, w.now, anna, h.Digest(), 0, facts(w)); err != nil {
			t.Fatal(want, err)
		}
		m = w.open(t) // the daemon may start again at any time
		if err := m.Confirm(ctx, w.now, anna); err != nil {
			t.Fatal(want, err)
		}
		if w.stable != h.Revision {
			t.Fatalf("%s: the kernel holds %s", want, w.words(m))
		}
	}
	if _, _, err := m.Request(ctx, w.now, anna, "", material(w)); err == nil {
		t.Fatal("a step after the last one")
	}
}
