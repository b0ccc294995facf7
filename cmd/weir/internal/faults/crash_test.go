package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/phases"
)

// crashRows are what goes well, and what is then struck at each of its calls.
var crashRows = []struct {
	name, before, struck string
}{
	{"the first step", "apply drill", "req ok arm yes"},
	{"a block step", "apply drill to:enforce/alert", "req ok arm yes"},
	{"ending a trial", "apply drill to:enforce/alert req ok arm", "back"},
	{"one step back", "apply drill to:enforce/block:desks", "back resume"},
	{"off", "apply drill to:enforce/block:desks", "back:off"},
	{"one group", "apply drill to:enforce/block:desks", "group:desks resume"},
	{"a changed plan", "apply drill to:enforce/block:desks", "apply:2 req ok arm yes"},
	{"restoring", "apply drill to:enforce/block:desks delete look", "restore"},
	{"seeing a lapse", "apply drill to:enforce/alert req ok arm lapse", "look"},
	{"seeing a deletion", "apply drill to:enforce/block:desks delete", "look"},
	{"seeing a rollback by hand", "apply drill to:enforce/block:desks hand", "look"},
}

// answers are what kernel and disk say when they refuse.
var answers = []error{syscall.ENOBUFS, syscall.EMSGSIZE, syscall.EPERM, syscall.ERESTART, syscall.EIO, syscall.ENOSPC}

// TestCrashSweep strikes call n of kernel, journal and files, for each n, in
// each way. Then a new process recovers; what must hold, holds; what is in
// force is what was before the struck word or after it; and the rollout goes on.
func TestCrashSweep(t *testing.T) {
	for _, real := range []bool{true, false} {
		t.Run(map[bool]string{true: "kernel", false: "fake"}[real], func(t *testing.T) {
			t.Parallel()
			for _, row := range crashRows {
				t.Run(row.name, func(t *testing.T) {
					if real {
						t.Parallel()
					}
					sweep(t, real, row.before, row.struck)
				})
			}
		})
	}
}

func sweep(t *testing.T, real bool, before, struck string) {
	lease := 10 * time.Second
	if strings.Contains(before, "lapse") {
		lease = 2 * time.Second
	}
	if !real {
		lease = time.Hour
	}
	words := strings.Fields(struck)
	g := newGround(t, real, nil)
	// What is seen before and after each word when nothing is struck.
	w := newWorld(t, g, lease)
	w.run(before)
	w.p.arm(0, "")
	views := []view{w.view()}
	for _, word := range words {
		w.run(word)
		views = append(views, w.view())
	}
	total, names := w.p.n, w.p.names
	w.stop()
	if total < 2 {
		t.Fatalf("%s: only %d calls", struck, total)
	}
	for _, m := range []mode{killAfter, failBefore, failAfter} {
		for n := 1; n <= total; n++ {
			if m != failBefore && slices.Contains(reads, names[n-1]) || !interesting(names, n-1) {
				continue
			}
			if real && strings.HasPrefix(names[n-1], "files.") && (m != killAfter || strings.Contains(before, "block")) {
				continue // no other than on the fake: the kernel is not asked
			}
			t.Run(fmt.Sprintf("%s call %d", m, n), func(t *testing.T) {
				w := newWorld(t, g, lease)
				defer w.stop()
				w.run(before)
				w.p.arm(n, m)
				w.p.err = answers[n%len(answers)]
				i, err := w.strike(words)
				defer func() {
					if t.Failed() {
						t.Logf("struck %s in %s (%v)\n%s", names[n-1], words[min(i, len(words)-1)], err, w.history())
					}
				}()
				if w.p.fired == "" {
					t.Fatalf("call %d was not made", n)
				}
				if w.p.fired == "journal.Append seen" && m != killAfter && !strings.Contains(fmt.Sprint(err), "seen in the kernel") {
					t.Errorf("%s: done, and the answer does not say so: %v", words[i], err)
				}
				fired := w.p.fired
				w.stop()
				w.start()
				// The recovery is struck as well, now and then.
				w.p.arm(n%3, []mode{killAfter, failBefore, failAfter}[n/3%3])
				if dead, _ := w.attempt("look"); dead != "" || n%2 == 0 {
					w.stop()
					w.start()
				}
				w.p.arm(0, "")
				if _, err := w.m.Recover(ctx, w.now); err != nil {
					t.Fatal(err)
				}
				got := w.view()
				if i == len(words) {
					i-- // everything was done though a call failed
				}
				if got != views[i] && got != views[i+1] {
					t.Errorf("struck %s in %s:\nbefore %+v\nafter  %+v\nis     %+v", fired, words[i], views[i], views[i+1], got)
				}
				w.holds()
				if !real && m == killAfter && n%2 == 1 {
					w.sameAfterBoot()
				}
				if m == killAfter && (!real || n%2 == 0) {
					w.goesOn()
				}
			})
		}
	}
}

// interesting leaves out the middle of a run of equal calls.
func interesting(names []string, i int) bool {
	return i == 0 || i == len(names)-1 || names[i] != names[i-1] || names[i] != names[i+1]
}

// strike does words until one fails or its process dies; it returns the index
// of that word, or len(words).
func (w *world) strike(words []string) (int, error) {
	for i, word := range words {
		dead, err := w.attempt(word)
		if dead != "" {
			return i, errors.New("died at " + dead)
		}
		if err != nil {
			if !errors.Is(err, errInjected) && !errors.Is(err, phases.ErrNotDone) && !errors.Is(err, phases.ErrUnknown) {
				w.t.Errorf("%s: the fault is not in the answer: %v", word, err)
			}
			return i, err
		}
	}
	return len(words), nil
}

// TestDeadline: whoever armed a step is killed, and nobody is left. Its end comes
// when the lease says, connections and all; the next process says so and
// confirms nothing.
func TestDeadline(t *testing.T) {
	for _, at := range []string{"kernel.Arm", "journal.Append seen"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, newGround(t, true, nil), 2*time.Second)
			defer w.stop()
			w.run("apply drill to:enforce/alert req ok")
			w.p.killAt = at
			if dead, _ := w.attempt("arm"); dead != at {
				t.Fatalf("died at %q", dead)
			}
			w.p.killAt = ""
			w.stop()
			if got := w.g.passes(w); got != "desks4:9999 desks6:9999" {
				t.Errorf("on trial, and denied is %q", got)
			}
			must(t, w.lapse())
			if took := time.Since(w.armed); took < w.lease-50*time.Millisecond || took > w.lease+time.Second {
				t.Errorf("a trial of %v ended after %v", w.lease, took)
			}
			if got := w.g.passes(w); got != "" {
				t.Errorf("after the deadline denied is %q", got)
			}
			w.start()
			w.run("look")
			if v, s := w.view(), w.m.State(); v.Step != "enforce/alert" || v.Trial != "" || !s.LastLapse {
				t.Errorf("afterwards %+v, lapsed %v", v, s.LastLapse)
			}
			if err := w.do("yes"); !errors.Is(err, phases.ErrLapsed) {
				t.Errorf("confirmed what is over: %v", err)
			}
			w.holds()
			w.goesOn()
		})
	}
}

// TestBackoutsComeFirst: the ways back that were written at the request are
// lost; they are on the disk again before the step is armed, which the wrapped
// kernel looks at.
func TestBackoutsComeFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newGround(t, false, nil), time.Hour)
	defer w.stop()
	w.run("apply drill to:enforce/alert req ok")
	s := w.m.State()
	must(t, os.RemoveAll(filepath.Join(w.dir, "backout", s.Heads[s.Request.Digest].Revision)))
	w.run("arm")
	w.holds()
}
