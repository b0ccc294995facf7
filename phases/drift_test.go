package phases

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/nft"
)

func diff(object, what string, lines ...string) nft.Difference {
	return nft.Difference{Object: object, What: what, After: "aa", Lines: lines}
}

// TestDrifting: what comparisons find becomes records once, opens the groups
// that it may, and is over when nothing differs.
func TestDrifting(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/block:desks")
	rev := s.m.State().StableID
	now := s.w.now
	hand := []Process{{PID: 7, Name: "nft", Whose: Unknown}}
	for _, row := range []struct {
		name  string
		diffs []nft.Difference
		words string // of the record; "" none
		open  string // openings that go on
	}{
		{"nothing", nil, "", ""},
		{"a rule of one group", []nft.Difference{diff("chain "+rev+"_d_desks", nft.Changed)},
			"nft (pid 7) changed the table inet weir: chain " + rev + "_d_desks was changed", "drift[desks]"},
		{"the same again", []nft.Difference{diff("chain "+rev+"_d_desks", nft.Changed)}, "", "drift[desks]"},
		{"and what is of all", []nft.Difference{diff("chain "+rev+"_d_desks", nft.Changed), diff("chain w_main_f", nft.Changed)},
			"nft (pid 7) changed the table inet weir: chain " + rev + "_d_desks was changed, chain w_main_f was changed", "drift[cameras desks]"},
		{"put back", nil, "the table inet weir is again what was recorded; it was not since ", ""},
		{"a chain of somebody's, which opens nothing", []nft.Difference{diff("chain mine", nft.Unexpected)},
			"nft (pid 7) changed the table inet weir: chain mine was added", ""},
		{"and the whole is switched off", []nft.Difference{diff("chain mine", nft.Unexpected), diff("table", nft.Dormant)},
			"nft (pid 7) changed the table inet weir: chain mine was added, the table is dormant: nothing in it filters", "drift[cameras desks]"},
		{"over", nil, "the table inet weir is again what was recorded; it was not since ", ""},
	} {
		now = now.Add(time.Minute)
		records, err := s.m.Compared(now, row.diffs, hand, now.Add(-time.Second))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, r := range records {
			got += r.Words
		}
		if row.words == "" && got != "" || !strings.HasPrefix(got, row.words) {
			t.Errorf("%s: %q", row.name, got)
		}
		var open []string
		for _, o := range s.m.State().Openings {
			if o.Open() {
				open = append(open, fmt.Sprint(o.Kind, o.Groups))
			}
		}
		if got := strings.Join(open, " "); got != row.open {
			t.Errorf("%s: open is %q, want %q", row.name, got, row.open)
		}
		again := Fold(must(s.m.History()))
		if (again.Foreign == nil) != (len(row.diffs) == 0) || len(again.Openings) != len(s.m.State().Openings) {
			t.Errorf("%s: another process says %+v", row.name, again.Foreign)
		}
	}
	ids := map[string]bool{}
	for _, o := range s.m.State().Openings {
		if ids[o.ID()] {
			t.Errorf("two openings are %s", o.ID())
		}
		ids[o.ID()] = true
	}
}

// What a record keeps of a large difference is bounded, and says so; the same
// difference is still the same.
func TestDriftingOfMuch(t *testing.T) {
	var lines []string
	for i := range 500 {
		lines = append(lines, fmt.Sprint("- ", i))
	}
	s := State{}
	s.init()
	d := []nft.Difference{diff("set x", nft.Changed, lines...)}
	r := Drifting(s, d, nil, time.Unix(1, 0), time.Unix(2, 0))
	if len(r) != 1 || len(r[0].Changes[0].Lines) != longestLines+1 || !slices.Contains(r[0].Changes[0].Lines, "… and 480 more: weir diff") {
		t.Fatalf("%+v", r)
	}
	if len(d[0].Lines) != 500 {
		t.Error("the caller's lines were cut")
	}
	s.apply(r[0])
	if again := Drifting(s, d, nil, time.Unix(1, 0), time.Unix(3, 0)); again != nil {
		t.Errorf("said twice: %+v", again)
	}
}

// Nothing is armed, and no trial is confirmed, over what somebody else changed.
func TestDriftStopsArmingAndConfirming(t *testing.T) {
	for _, row := range []struct{ before, then, refused string }{
		{"apply:p drill to:enforce/alert req ok:ben ok:cleo", "arm", "arm"},
		{"apply:p drill to:enforce/alert req ok:ben ok:cleo arm", "yes", "confirm"},
	} {
		s := newScript(t)
		s.run(row.before)
		records, err := s.m.Compared(s.w.now, []nft.Difference{diff("chain mine", nft.Unexpected)}, nil, s.w.now)
		if err != nil || len(records) != 1 {
			t.Fatal(records, err)
		}
		err = s.do(row.then)
		if err == nil || !strings.Contains(err.Error(), "cannot "+row.refused) || !strings.Contains(err.Error(), "weir diff --restore") {
			t.Errorf("%s: %v", row.then, err)
		}
		if _, err := s.m.Compared(s.w.now, nil, nil, s.w.now); err != nil {
			t.Fatal(err)
		}
		if err := s.do(row.then); err != nil {
			t.Errorf("%s, and nothing differs: %v", row.then, err)
		}
	}
}

// TestMayRepair: what may be put back with nobody asked.
func TestMayRepair(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	program, person, unknown := Process{1, "dockerd", "", Program}, Process{2, "nft", "", Person}, Process{3, "nft", "", Unknown}
	foreign := func(groups []string, who ...Process) State {
		return State{Foreign: &Foreign{Since: at.Add(-time.Second), At: at, Processes: who, Groups: groups}}
	}
	desks := []string{"desks"}
	for _, row := range []struct {
		name  string
		s     State
		look  nft.Look
		after time.Duration
		want  string // part of why not; "" it may
	}{
		{"nothing", State{}, nft.Look{Present: true}, 0, "nothing differs"},
		{"a program", foreign(desks, program), nft.Look{Present: true}, 0, ""},
		{"a person", foreign(desks, person), nft.Look{Present: true}, 0, "left alone for an hour, until 10:00 UTC"},
		{"a person, and a program as well", foreign(desks, program, person), nft.Look{Present: true}, 0, "left alone"},
		{"who was gone", foreign(desks, unknown), nft.Look{Present: true}, 0, "left alone"},
		{"nobody known", foreign(desks), nft.Look{Present: true}, 0, "left alone"},
		{"a person, 59 minutes ago", foreign(desks, person), nft.Look{Present: true}, 59 * time.Minute, "left alone"},
		{"a person, an hour ago", foreign(desks, person), nft.Look{Present: true}, time.Hour, ""},
		{"a person, the clock went back", foreign(desks, person), nft.Look{Present: true}, -24 * time.Hour, "left alone"},
		{"a person, who opened nothing", foreign(nil, person), nft.Look{Present: true}, 0, ""},
		{"on hold", foreign(desks, program), nft.Look{Present: true, Kind: nft.TxHold}, 0, "says hold"},
		{"paused", State{Foreign: foreign(desks, program).Foreign, Pause: &Pause{Words: "a fire"}}, nft.Look{Present: true}, 0, "paused: a fire"},
		{"the table is gone", State{Gone: true, Foreign: foreign(desks, program).Foreign}, nft.Look{}, 0, "deleted as a whole"},
		{"no table", foreign(desks, program), nft.Look{}, 2 * time.Hour, "deleted as a whole"},
		{"maps that differ", State{Foreign: foreign(desks, program).Foreign, Drift: "x"}, nft.Look{Present: true}, 0, "not known what is in force"},
	} {
		ok, why := MayRepair(row.s, row.look, at.Add(row.after))
		if ok != (row.want == "") || !strings.Contains(why, row.want) {
			t.Errorf("%s: %t, %s", row.name, ok, why)
		}
	}
}

// What was put back is asked for in the journal and seen in the kernel; not while
// weir is switched off, nor while the rollout is paused.
func TestRepair(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/block:desks")
	if _, err := s.m.Compared(s.w.now, []nft.Difference{diff("chain mine", nft.Unexpected)}, []Process{{PID: 7, Name: "nft"}}, s.w.now); err != nil {
		t.Fatal(err)
	}
	sent := 0
	send := func(string) error { sent++; return nil }
	s.m.SwitchOff("/etc/weir/off")
	if err := s.m.Repair(t.Context(), s.w.now, anna, send); !errors.Is(err, ErrOff) || sent != 0 {
		t.Errorf("switched off: %v, sent %d times", err, sent)
	}
	s.m.SwitchOff("")
	s.run("pause")
	if err := s.m.Repair(t.Context(), s.w.now, anna, send); !errors.Is(err, ErrPaused) || sent != 0 {
		t.Errorf("paused: %v, sent %d times", err, sent)
	}
	s.run("resume")
	// What was sent and is not in the table is not done.
	if err := s.m.Repair(t.Context(), s.w.now, anna, send); !errors.Is(err, ErrNotDone) || sent != 1 {
		t.Errorf("sent %d times: %v", sent, err)
	}
	records := must(s.m.History())
	intent, seen := records[len(records)-2], records[len(records)-1]
	if intent.Op != OpRepair || intent.Actor != anna || !strings.Contains(intent.Words, "put back what nft (pid 7) changed") || seen.Done {
		t.Errorf("%+v\n%+v", intent, seen)
	}
	if s.m.State().Foreign == nil {
		t.Error("it is called over, and no comparison said so")
	}
}
