package phases

import (
	"fmt"
	"strings"
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
		if w.stable() != h.Revision {
			t.Fatalf("%s: the kernel holds %s", want, w.words(m))
		}
	}
	if _, _, err := m.Request(ctx, w.now, anna, "", material(w)); err == nil {
		t.Fatal("a step after the last one")
	}
}

// TestOpenConnections: a trial spares those of the groups that it narrows; what
// happens to them then is the wave's choice and begins with the confirm.
func TestOpenConnections(t *testing.T) {
	planNamed("kept", func(p *planT) { p.Enforce.Waves[3].Established = "keep" })
	s := newScript(t)
	s.run("apply:kept drill")
	for _, row := range []struct {
		step, spared string
		after        time.Duration
	}{
		{StepAlert, "[]", 0},
		{"enforce/block:cameras", "[cameras]", 0},     // cut
		{"enforce/block:pilot", "[desks]", time.Hour}, // drain
		{"enforce/block:core", "[servers]", KeepFor},  // keep
		{"refactor/swap:desks", "[desks]", 0},         // the plan's own choice: none here
	} {
		for {
			s.run("wait:1h req ok:ben ok:cleo arm")
			l, err := s.w.k.Look(ctx)
			if err != nil {
				t.Fatal(err)
			}
			name := s.m.State().Heads[s.m.State().Trial.Digest].Step.Name
			if name == row.step {
				if got := fmt.Sprint(l.Spared); !strings.Contains(got, strings.Trim(row.spared, "[]")) {
					t.Errorf("%s: the trial spares %s, want %s", row.step, got, row.spared)
				}
			}
			s.run("yes")
			if name != row.step {
				continue
			}
			if s.w.last.SpareFor != row.after && row.step != "refactor/swap:desks" {
				t.Errorf("%s: spared for %s, want %s", row.step, s.w.last.SpareFor, row.after)
			}
			break
		}
	}
}

// TestTransactionIDs: twelve hex digits, never twice, and an error when there
// is no randomness.
func TestTransactionIDs(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:watch back:enforce/alert group:desks")
	seen := map[string]bool{}
	for _, r := range s.w.records {
		if r.Kind != Intent {
			continue
		}
		if seen[r.Tx] || len(r.Tx) != 12 || strings.Trim(r.Tx, "0123456789abcdef") != "" {
			t.Errorf("%s is no new transaction id", r.Tx)
		}
		seen[r.Tx] = true
	}
	if len(seen) < 18 {
		t.Error("only", len(seen), "transactions")
	}
	s.m.Rand = strings.NewReader("")
	writes := s.w.writes
	if err := s.do("back:off"); err == nil || s.w.writes != writes {
		t.Error("acted without an id")
	}
}

// TestStatus: what a page shows, in each state.
func TestStatus(t *testing.T) {
	s := newScript(t)
	show := func() string {
		st := s.m.Status(s.w.now, facts(s.w))
		out := st.Step
		if st.Trial != nil {
			out += fmt.Sprintf(" trial %s left %s", st.Trial.Step, st.Trial.Left)
		}
		if st.Request != nil {
			out += fmt.Sprintf(" waits %s %d/%d %s", st.Request.Step, len(st.Request.Have), st.Request.Quorum, st.Request.Refused)
		}
		if st.Next != "" {
			out += " next " + st.Next
		}
		if st.Paused != nil {
			out += " paused by " + st.Paused.By.Name
		}
		for _, o := range st.Openings {
			out += fmt.Sprint(" ", o.Kind, o.Groups)
		}
		if st.Lapsed {
			out += " lapsed"
		}
		return out
	}
	for _, row := range [][2]string{
		{"look", "off"},
		{"apply:p drill", "off next monitor"},
		{"to:enforce/alert", "enforce/alert next enforce/block:cameras"},
		{"req ok:ben", "enforce/alert waits enforce/block:cameras 1/2  next enforce/block:cameras"},
		{"ok:cleo arm look", "enforce/alert trial enforce/block:cameras left 9m59s next enforce/block:pilot"},
		{"wait:11m look", "enforce/alert next enforce/block:cameras lapse[cameras] lapsed"},
		{"to:enforce/block:desks", "enforce/block:desks next enforce/block:core"},
		{"req ok:ben back", "enforce/block:pilot waits enforce/block:core 1/2 " + ErrOverChanged.Error() + " next enforce/block:desks paused by ben rollback[desks]"},
		{"back:enforce/alert", "enforce/alert waits enforce/block:core 1/2 " + ErrOverChanged.Error() + " next enforce/block:cameras paused by ben rollback[desks] rollback[cameras desks]"},
		{"resume to:enforce/block:cameras", "enforce/block:cameras next enforce/block:pilot"},
		{"to:enforce/block:desks", "enforce/block:desks next enforce/block:core"},
	} {
		s.run(row[0])
		if got := show(); got != row[1] {
			t.Errorf("after %s\ngot  %s\nwant %s", row[0], got, row[1])
		}
	}
}
