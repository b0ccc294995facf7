package phases

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"weir/nft"
)

// TestCrashSweep fails at call n of kernel, journal and files, for every n,
// before and after the call takes effect; then a new process recovers, and the
// machine and the kernel agree, nothing is denied that was not armed, and going
// back to off works.
func TestCrashSweep(t *testing.T) {
	rows := []struct{ before, crash string }{
		{"apply:p", "req ok:anna arm yes"},
		{"apply:p drill to:enforce/alert", "req ok:ben ok:cleo arm yes"},
		{"apply:p drill to:enforce/alert req ok:ben ok:cleo arm", "back"},
		{"apply:p drill to:enforce/block:desks", "back resume"},
		{"apply:p drill to:enforce/block:desks", "back:off"},
		{"apply:p drill to:enforce/block:core", "group:desks resume"},
		{"apply:widedesks drill to:refactor/swap:desks", "back"},
		{"apply:brown drill to:enforce/alert req ok:ben ok:cleo", "arm:2m wait:3m arm:15m wait:16m arm yes"},
		{"apply:p drill to:enforce/block:desks", "apply:moved req ok:ben arm yes"},
		{"apply:p drill to:enforce/block:desks reboot", "restore"},
	}
	for _, row := range rows {
		for _, after := range []bool{false, true} {
			calls := 0
			for n := 1; ; n++ {
				s := newScript(t)
				s.run(row.before)
				s.w.cut = cutter{at: n, after: after}
				err := s.until(row.crash)
				if err == nil {
					if calls = s.w.cut.n; n <= calls {
						t.Fatalf("%s: call %d failed and nobody was told", row.crash, n)
					}
					break
				}
				if !errors.Is(err, errCut) {
					t.Fatalf("%s at call %d: %v", row.crash, n, err)
				}
				s.w.cut = cutter{}
				at := fmt.Sprintf("%q, %q cut at call %d, after %v", row.before, row.crash, n, after)
				s.m = s.w.open(t)
				if _, err := s.m.Recover(ctx, s.w.now); err != nil {
					t.Fatalf("%s: %v", at, err)
				}
				s.check(at)
				if s.m.State().Intent != nil {
					t.Fatalf("%s: an intent is left open", at)
				}
				// Used approvals stay used: arming again needs a request or approvals.
				if tr := s.m.State().Trial; tr != nil && !tr.Brownout {
					if _, err := s.m.Advance(ctx, s.w.now, anna, "", 0, facts(s.w)); !errors.Is(err, ErrPending) {
						t.Fatalf("%s: armed beside a trial: %v", at, err)
					}
				}
				if err := s.m.Rollback(ctx, s.w.now, ben, StepOff); err != nil && !errors.Is(err, ErrNothing) {
					t.Fatalf("%s: %v", at, err)
				}
				if h := s.w.words(s.m); !strings.HasPrefix(h, "off") && !strings.HasPrefix(h, "-") {
					t.Fatalf("%s: rolled back to off, the kernel holds %s", at, h)
				}
				s.check(at)
			}
			if calls < 3 {
				t.Fatalf("%s: only %d calls were cut", row.crash, calls)
			}
		}
	}
}

// until runs words up to the first that fails.
func (s *script) until(row string) error {
	for _, word := range strings.Fields(row) {
		if err := s.do(word); err != nil {
			return err
		}
	}
	return nil
}

// TestApprovalIsUsedEvenIfTheCrashCameBeforeArming: the record that uses it up
// is the intent.
func TestApprovalIsUsedEvenIfTheCrashCameBeforeArming(t *testing.T) {
	s := newScript(t)
	s.run("apply:p req ok:anna")
	for n := 1; ; n++ {
		c := newScript(t)
		c.run("apply:p req ok:anna")
		records := len(c.w.records)
		c.w.cut = cutter{at: n}
		if c.do("arm") == nil {
			return
		}
		wrote := len(c.w.records) > records
		c.w.cut = cutter{}
		c.m = c.w.open(t)
		err := c.do("arm")
		if wrote != errors.Is(err, ErrUsed) && !errors.Is(err, ErrPending) {
			t.Fatalf("cut at call %d, intent written %v: %v", n, wrote, err)
		}
	}
}

// TestRollbackWithoutAJournal: the kernel is what counts.
func TestRollbackWithoutAJournal(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/block:desks")
	broken := s.m.Journal
	s.m.Journal = fullDisk{s.w}
	err := s.do("back:enforce/alert")
	if err == nil || !strings.Contains(err.Error(), "rolled back to enforce/alert, seen in the kernel") {
		t.Fatal("want the outcome and the trouble, got:", err)
	}
	s.m.Journal = broken
	s.m = s.w.open(t)
	s.run("look")
	if got := s.end(); got != "enforce/alert paused" {
		t.Fatal("the next process says", got)
	}
}

// fullDisk is a journal on a full disk.
type fullDisk struct{ *world }

func (fullDisk) Append(r Record) (Record, error) { return r, errors.New("no space left on device") }

// TestBlind: while the kernel cannot be read back the outcome is unknown, and
// one can still go back; what was done is seen later.
func TestBlind(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/alert req ok:ben ok:cleo")
	s.m.Kernel = &blind{world: s.w, looks: 1}
	if err := s.do("arm"); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	if got := s.w.words(s.m); got != "enforce/alert trial enforce/block:cameras" {
		t.Fatal(got)
	}
	for _, word := range []string{"req", "arm", "yes"} {
		if err := s.do(word); !errors.Is(err, ErrUnknown) {
			t.Fatal(word, err)
		}
	}
	if err := s.do("back"); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	if got := s.w.words(s.m); got != "enforce/alert" {
		t.Fatal("blind, but not rolled back:", got)
	}
	s.m.Kernel = s.w
	s.run("look")
	if got := s.end(); got != "enforce/alert paused" {
		t.Fatal(got)
	}
}

// blind is a kernel that can be read a few times and then no more.
type blind struct {
	*world
	looks int
}

func (b *blind) Look(ctx context.Context) (nft.Look, error) {
	if b.looks--; b.looks < 0 {
		return nft.Look{}, errors.New("no buffer space available")
	}
	return b.world.Look(ctx)
}
