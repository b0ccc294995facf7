package faults

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir/phases"
)

func (l *lab) script(text string) error {
	c := l.net.Gateway.Command("nft", "-f", "-")
	c.Stdin = strings.NewReader(text)
	out, err := c.CombinedOutput()
	if err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

// list is a chain of weir's table with its rules' handles.
func (l *lab) list(t testing.TB, chain string) string {
	t.Helper()
	out, err := l.net.Gateway.Command("nft", "-a", "list", "chain", "inet", "weir", chain).Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatal(chain, err, string(exit.Stderr))
	}
	return string(out)
}

// TestStory27ForeignHands: other programs change the ruleset under a confirmed step and
// under a trial. What it ends in is said by the machine, and the one command
// that closes the gate again closes it.
func TestStory27ForeignHands(t *testing.T) {
	const block = "desks4:9999 desks6:9999"
	rows := []struct {
		name, before string
		hand         func(t *testing.T, w *world, l *lab)
		denied       string // at once, before anybody looks
		after        view   // once the machine has looked
		close        string // the words that close the gate again
	}{
		{"the ruleset is flushed", "to:enforce/block:desks",
			func(t *testing.T, w *world, l *lab) { must(t, l.nft("flush", "ruleset")) }, "",
			view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks", Gone: true}, "restore"},
		{"the ruleset is flushed in a trial", "to:enforce/block:desks req ok arm",
			func(t *testing.T, w *world, l *lab) { must(t, l.nft("flush", "ruleset")) }, "",
			view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks", Gone: true}, "restore"},
		{"our table is deleted", "to:enforce/block:desks",
			func(t *testing.T, w *world, l *lab) { must(t, l.delete()) }, "",
			view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks", Gone: true}, "restore"},
		{"another table appears and goes", "to:enforce/block:desks",
			func(t *testing.T, w *world, l *lab) {
				must(t, l.script("table inet other { chain c { type filter hook forward priority 0; policy accept; }; }"))
				must(t, l.nft("delete", "table", "inet", "other"))
			}, block,
			view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks", Denied: block}, ""},
		{"half a trial is deleted", "to:enforce/block:desks req ok arm",
			func(t *testing.T, w *world, l *lab) {
				must(t, l.nft("delete", "element", "inet", "weir", "w_trial_f", "{ ipv4 }"))
			}, block + " srv6:9999",
			view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks", Paused: true, Denied: block + " srv6:9999"},
			"back:enforce/alert resume req:enforce/block:desks ok arm yes"},
		{"half of what is stable is deleted", "to:enforce/block:desks",
			func(t *testing.T, w *world, l *lab) {
				must(t, l.nft("delete", "element", "inet", "weir", "w_stable_f", "{ ipv6 }"))
			}, "desks4:9999",
			view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks", Paused: true, Denied: "desks4:9999"},
			"back:enforce/alert resume req:enforce/block:desks ok arm yes"},
		{"the maps are emptied", "to:enforce/block:desks",
			func(t *testing.T, w *world, l *lab) { must(t, l.nft("flush", "map", "inet", "weir", "w_stable_f")) }, "",
			view{Step: "off", Paused: true}, "resume to:enforce/block:desks"},
		{"the backout's file by hand, in a trial", "to:enforce/block:desks req ok arm",
			func(t *testing.T, w *world, l *lab) { w.run("hand:enforce/alert") }, "",
			view{Step: "enforce/alert", Stack: "monitor enforce/alert", Paused: true}, "resume req ok arm yes"},
	}
	l := newGround(t, true, nil).(*lab)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, l, 20*time.Second)
			defer w.stop()
			w.run("apply drill " + row.before)
			row.hand(t, w, l)
			if got := l.passes(w); got != row.denied {
				t.Errorf("denied is %q, want %q", got, row.denied)
			}
			w.stop()
			w.start()
			w.run("look")
			if got := w.view(); got != row.after {
				t.Errorf("is   %+v\nwant %+v", got, row.after)
			}
			// Nothing is armed over it.
			if s := w.m.State(); s.Gone || s.Pause != nil {
				if w.do("req") == nil {
					w.run("ok")
				}
				if err := w.do("arm"); err == nil {
					t.Error("armed over what somebody else changed")
				}
			}
			if s := w.m.State(); s.Gone && (len(s.Openings) == 0 || !s.Openings[len(s.Openings)-1].End.IsZero()) {
				t.Errorf("the gate is open and no opening says so: %+v", s.Openings)
			}
			if row.close == "" {
				return
			}
			w.run(row.close)
			w.holds()
			if got := l.passes(w); got != block {
				t.Errorf("after %q denied is %q, want %q", row.close, got, block)
			}
			for _, o := range w.m.State().Openings {
				if o.Open() && o.Kind != phases.OpenLapse { // a trial that ended stays ended
					t.Errorf("closed again, and an opening goes on: %+v", o)
				}
			}
		})
	}
}

// TestOneRuleDeleted: a rule of the step in force is deleted. That opens at
// most; "weir diff" names it, and arming the same step again repairs it.
func TestOneRuleDeleted(t *testing.T) {
	t.Parallel()
	h := newHost(t, 20*time.Second)
	must(t, h.launch())
	h.reach("enforce/block:desks")
	h.must("every chain and set", "diff")
	l, err := h.g.Look(ctx)
	must(t, err)
	chain := decides(l) + "_d_desks"
	for _, rule := range regexp.MustCompile(`(?m)(reject|drop|goto|jump w_ld).*# handle (\d+)$`).FindAllStringSubmatch(h.lab.list(t, chain), -1) {
		must(t, h.lab.nft("delete", "rule", "inet", "weir", chain, "handle", rule[2]))
	}
	if got := h.lab.passes(h.world); got != "" {
		t.Errorf("denied is %q", got)
	}
	if out, errs, code := h.cli("diff"); code != 2 || !strings.Contains(out, "chain "+chain+" was changed") {
		t.Errorf("weir diff: exit %d\n%s%s", code, out, errs)
	}
	// The rollback does not need the rules that are gone.
	h.must("rolled back to enforce/alert", "rollback")
	h.must("", "resume")
	h.reach("enforce/block:desks")
	h.must("every chain and set", "diff")
	if got := h.lab.passes(h.world); got != "desks4:9999 desks6:9999" {
		t.Errorf("armed again, and denied is %q", got)
	}
}

// TestDormantTable: somebody switches the table off. Everything passes; nothing
// is armed over it, with the word that wakes it; waking it closes the gate.
func TestDormantTable(t *testing.T) {
	l := newGround(t, true, nil).(*lab)
	w := newWorld(t, l, 20*time.Second)
	defer w.stop()
	w.run("apply drill to:enforce/block:desks")
	must(t, l.script("add table inet weir { flags dormant ; }"))
	if got := l.passes(w); got != "" {
		t.Errorf("denied is %q", got)
	}
	w.run("look req ok")
	err := w.do("arm")
	_, wake, ok := strings.Cut(fmt.Sprint(err), "wake it with: nft ")
	if !ok {
		t.Fatalf("armed in a table that filters nothing: %v", err)
	}
	if s := w.m.State(); s.Trial != nil || s.Intent != nil {
		t.Errorf("a trial %v, an intent %v", s.Trial, s.Intent)
	}
	w.run("back:off") // works all the same
	must(t, l.nft(strings.Fields(wake)...))
	if got := l.passes(w); got != "" {
		t.Errorf("rolled back to off, woken, and denied is %q", got)
	}
	w.run("resume to:enforce/block:desks")
	w.holds()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestReboot: in every state the kernel is empty and has another boot id.
func TestReboot(t *testing.T) {
	for _, row := range []struct {
		before string
		after  view
		close  string
	}{
		{"apply", view{Step: "off"}, ""},
		{"apply req ok arm", view{Step: "off"}, ""},
		{"apply to:monitor", view{Step: "monitor", Stack: "monitor", Gone: true}, "restore"},
		{"apply drill to:enforce/block:desks", view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks", Gone: true}, "restore"},
		{"apply drill to:enforce/block:desks req ok arm", view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks", Gone: true}, "restore"},
		{"apply drill to:enforce/block:desks back", view{Step: "enforce/alert", Stack: "monitor enforce/alert", Paused: true, Gone: true}, "resume restore"},
		{"apply drill to:enforce/block:desks group:desks", view{Step: "enforce/block:desks", Stack: "monitor enforce/alert enforce/block:desks", Paused: true, Gone: true}, "resume restore"},
	} {
		t.Run(row.before, func(t *testing.T) {
			g := newGround(t, false, nil)
			w := newWorld(t, g, time.Hour)
			w.run(row.before)
			back := sorted(keys(w.m.State().Back))
			was := w.view().Denied
			if w.m.State().Trial != nil {
				was = strings.ReplaceAll(was, " srv4:9999 srv6:9999", "")
			}
			w.stop()
			g.(*imagined).Reboot()
			w.start()
			w.run("look")
			if got := w.view(); got != row.after {
				t.Errorf("is   %+v\nwant %+v", got, row.after)
			}
			if row.close == "" {
				return
			}
			records, err := w.m.History()
			must(t, err)
			if last := records[len(records)-1]; last.Kind != phases.Emptied || !strings.Contains(last.Words, "started again") {
				t.Errorf("the journal says %s: %s", last.Kind, last.Words)
			}
			w.run(row.close)
			w.holds()
			if got := w.view(); got.Denied != was || got.Back != back {
				t.Errorf("restored, and denied is %q, back %q; before %q, %q", got.Denied, got.Back, was, back)
			}
			w.goesOn()
		})
	}
}
