package faults

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/cmd/weir/internal/exit"
	"weir/nft/kernel"
	"weir/phases"
	"weir/store"
)

// both does two things at the same moment.
func both(a, b func() error) (error, error) {
	var wait sync.WaitGroup
	var ea, eb error
	gate := make(chan struct{})
	wait.Go(func() { <-gate; ea = a() })
	wait.Go(func() { <-gate; eb = b() })
	close(gate)
	wait.Wait()
	return ea, eb
}

// TestTwoOperators asks the real daemon for two things at once. Of two that
// advance one arms; where one confirms and the other rolls back, over the
// daemon or past it, the rollback wins.
func TestTwoOperators(t *testing.T) {
	t.Parallel()
	h := newHost(t, 30*time.Second)
	must(t, h.launch())
	h.reach("enforce/alert")
	h.newFlow()
	verb := func(word string) func() error { return func() error { return h.verb(word) } }
	past := func() error { // the command, which does not ask the daemon
		if out, errs, code := h.cli("rollback"); code != 0 {
			return errors.New(out + errs)
		}
		return nil
	}
	ready := func() {
		t.Helper()
		if h.status().Paused != nil {
			must(t, h.verb("resume"))
		}
		var err error
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			h.newFlow()
			if err = h.verb("req"); err == nil {
				if err = h.verb("ok"); err == nil {
					return
				}
			}
		}
		t.Fatal(err)
	}
	armed := func(n int) {
		t.Helper()
		s := h.status()
		if got := map[bool]int{true: 1}[s.Trial != nil]; got != n {
			t.Fatalf("%d trials, want %d", got, n)
		}
		h.settled()
	}
	for round := range 3 {
		ready()
		a, b := both(verb("arm"), verb("arm"))
		if (a == nil) == (b == nil) {
			t.Fatalf("two advanced: %v, %v", a, b)
		}
		if err := errors.Join(a, b); code(a)+code(b) != exit.Refused && code(a)+code(b) != exit.Approval {
			t.Errorf("the second is told %v", err)
		}
		armed(1)
		for name, back := range map[string]func() error{"over the daemon": verb("back"), "past it": past} {
			if h.status().Trial == nil {
				ready()
				must(t, h.verb("arm"))
			}
			yes, no := both(verb("yes"), back)
			if no != nil {
				t.Fatalf("%s: the rollback: %v (the confirm: %v)", name, no, yes)
			}
			if yes != nil && code(yes) != exit.Refused && code(yes) != exit.NotInForce && code(yes) != exit.Failed {
				t.Errorf("%s: the confirm: exit %d: %v", name, code(yes), yes)
			}
			armed(0)
			s := h.status()
			if s.Step != "enforce/alert" || s.Paused == nil {
				t.Fatalf("%s, round %d: %s is in force, paused %v (the confirm: %v)", name, round, s.Step, s.Paused, yes)
			}
			if got := h.g.passes(h.world); got != "" {
				t.Fatalf("%s: rolled back, and denied is %q", name, got)
			}
		}
	}
}

// settled: journal, kernel, files and packets are one.
func (h *host) settled() {
	h.t.Helper()
	records := h.records()
	h.agrees(phases.Fold(records), approvals(records), h.look())
}

// TestRollbackAgainstConfirmInTheKernel: the bytes of a rollback are sent by
// somebody else at the moment of the confirm. Whichever comes first, the step
// before is in force afterwards, and the machine knows.
func TestRollbackAgainstConfirmInTheKernel(t *testing.T) {
	t.Parallel()
	l := newGround(t, true, nil).(*lab)
	other, err := kernel.Open(kernel.Options{NetNS: l.net.Gateway.FD()})
	must(t, err)
	defer other.Close()
	r := seed(t)
	w := newWorld(t, l, time.Minute)
	defer w.stop()
	w.run("apply drill to:enforce/alert")
	late := 0
	for range bound(t, 15) {
		w.run("req ok arm")
		id := w.m.State().Heads[w.m.State().Trial.Digest].Revision
		raw, err := os.ReadFile(filepath.Join(w.dir, "backout", id, "default.msg"))
		must(t, err)
		delay := time.Duration(r.Int64N(int64(6 * time.Millisecond)))
		yes, back := both(func() error { return w.do("yes") }, func() error { time.Sleep(delay); return other.SendRaw(ctx, raw) })
		if back != nil && !strings.Contains(back.Error(), "is the last one") {
			t.Fatalf("the rollback: %v (the confirm: %v)", back, yes)
		}
		if yes == nil {
			late++
		}
		w.run("look")
		if v := w.view(); yes != nil && v.Step != "enforce/alert" || v.Trial != "" {
			t.Fatalf("%+v is in force (the confirm: %v, the rollback: %v)", v, yes, back)
		}
		if got := l.passes(w); got != "" && back == nil {
			t.Fatalf("rolled back, and denied is %q (the confirm: %v)", got, yes)
		}
		w.holds()
		if w.m.State().Pause != nil {
			w.run("resume")
		}
		if w.m.State().Stable != "" && w.view().Step != "enforce/alert" {
			w.run("back:enforce/alert resume")
		}
	}
	t.Logf("the confirm was told that it was done %d times", late)
}

// TestStoppedDaemon: the daemon is stopped in the middle of a trial. The lease
// ends by itself, the way back works meanwhile, and when it goes on it says
// what happened and confirms nothing that is over.
func TestStoppedDaemon(t *testing.T) {
	t.Parallel()
	h := newHost(t, 4*time.Second)
	must(t, h.launch())
	h.reach("enforce/alert")
	h.newFlow()
	for _, rollback := range []bool{false, true} {
		if h.status().Paused != nil {
			must(t, h.verb("resume"))
		}
		h.until("arms", func() error {
			h.newFlow()
			return errors.Join(h.verb("req"), h.verb("ok"), h.verb("arm"))
		})
		h.signal(syscall.SIGSTOP)
		if got := h.g.passes(h.world); got != "desks4:9999 desks6:9999" {
			t.Errorf("on trial, and denied is %q", got)
		}
		if rollback {
			start := time.Now()
			h.must("rolled back to enforce/alert", "rollback")
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("the rollback took %v while the daemon was stopped", took)
			}
		} else {
			must(t, h.lapse())
			if late := time.Since(h.armed) - h.lease; late > time.Second {
				t.Errorf("the trial ended %v after its deadline", late)
			}
		}
		if got := h.g.passes(h.world); got != "" {
			t.Errorf("ended, and denied is %q", got)
		}
		h.signal(syscall.SIGCONT)
		want := "not confirmed in time: the kernel fell back by itself"
		if rollback {
			want = "rolled back to enforce/alert without the daemon"
		}
		h.until("says it", func() error {
			if out, _, _ := h.cli("history"); !strings.Contains(out, want) {
				return errors.New(out)
			}
			return nil
		})
		if err := h.verb("yes"); code(err) != exit.NotInForce && code(err) != exit.Refused {
			t.Errorf("confirmed what is over: %v", err)
		}
		h.settled()
	}
}

// until repeats f until it succeeds.
func (h *host) until(what string, f func() error) {
	h.t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	h.t.Fatalf("not in time: %s: %v", what, err)
}

// TestLockedJournal: somebody holds the journal. No second daemon starts, the
// first is not disturbed, and nothing waits for ever.
func TestLockedJournal(t *testing.T) {
	t.Parallel()
	h := newHost(t, 30*time.Second)
	must(t, h.launch())
	h.reach("monitor")
	out, errs, code := h.cli("daemon", "--socket", h.dir+"/other.sock")
	if code != int(exit.Refused) || !strings.Contains(errs, "another process has the file open") {
		t.Errorf("a second daemon: exit %d\n%s%s", code, out, errs)
	}
	out, errs, code = h.cli("daemon")
	if code != int(exit.Refused) || !strings.Contains(errs, "another daemon answers") && !strings.Contains(errs, "another process has the file open") {
		t.Errorf("a second daemon on the same socket: exit %d\n%s%s", code, out, errs)
	}
	h.must("in force  monitor", "status")
	h.kill()
	j, err := store.OpenJournal(filepath.Join(h.dir, "journal.db"))
	must(t, err)
	if err := h.launch(); err == nil || !strings.Contains(err.Error(), "another process has the file open") {
		t.Errorf("a daemon beside another program: %v", err)
	}
	must(t, j.Close())
	must(t, h.launch())
	h.must("in force  monitor", "status")
	h.settled()
}
