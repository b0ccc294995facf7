package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/phases"
)

// seed is that of a random test: WEIR_FAULTS_SEED, else a new one. It is
// printed, so that a failure can be had again.
func seed(t testing.TB) *rand.Rand {
	t.Helper()
	n := rand.Uint64()
	if text := os.Getenv("WEIR_FAULTS_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WEIR_FAULTS_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 1))
}

// bound is a number of repetitions, or a time: WEIR_FAULTS_MORE multiplies it.
func bound[T int | time.Duration](t testing.TB, n T) T {
	t.Helper()
	text := os.Getenv("WEIR_FAULTS_MORE")
	if text == "" {
		return n
	}
	more, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n * T(more)
}

// TestKillTheDaemon kills the real daemon at random moments in the middle of
// what it was asked to do. After each start it answers, its journal, the kernel
// and the packets agree, and nothing that was confirmed is lost.
func TestKillTheDaemon(t *testing.T) {
	t.Parallel()
	r := seed(t)
	h := newHost(t, 20*time.Second)
	if err := h.launch(); err != nil {
		t.Fatal(err)
	}
	h.reach("enforce/alert")
	took := map[string]time.Duration{} // how long each verb takes, for aiming
	midway := 0                        // kills that came before the answer
	for kills := 0; kills < bound(t, 20); {
		before := phases.Fold(h.records())
		word := h.choose(before, r)
		if r.IntN(3) == 0 || took[word] == 0 {
			start := time.Now()
			if err := h.verb(word); err != nil && !waits(err) {
				t.Fatalf("%s: %v", word, err)
			}
			took[word] = time.Since(start)
			continue
		}
		kills++
		delay := time.Duration(r.Int64N(int64(took[word])))
		answered := make(chan error, 1)
		go func() { answered <- h.verb(word) }()
		time.Sleep(delay)
		h.kill()
		err := <-answered
		if err != nil && !waits(err) {
			midway++
		}
		at := fmt.Sprintf("kill %d, %v into %s (%v)", kills, delay, word, err)
		// With nobody alive the kernel holds a trial with an end, or none, and
		// denies nothing else than the step that it names.
		l := h.look()
		one(h.world, "trial", l)
		one(h.world, "stable", l)
		want := ""
		if id := decides(l); id != "" {
			want = denied(func(p probe) bool { return h.says(id, l.Back, p) })
		}
		if got := h.g.passes(h.world); got != want {
			t.Fatalf("%s: denied is %q, want %q", at, got, want)
		}
		if err := h.launch(); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		h.must("in force", "status")
		h.must("seen confirm", "history")
		h.must("the audit log holds", "audit", "verify")
		records := h.records()
		after := phases.Fold(records)
		l = h.look()
		h.agrees(after, approvals(records), l)
		if lost := confirmedLost(before, after, word); lost != "" {
			t.Errorf("%s: %s", at, lost)
		}
		if t.Failed() {
			t.Fatal(at)
		}
	}
	t.Logf("%d kills came before the answer", midway)
	// The way back works with the daemon dead, and the next start knows of it.
	h.reach("enforce/block:desks")
	h.kill()
	h.must("rolled back to", "rollback")
	if got := h.g.passes(h.world); got != "" {
		t.Errorf("rolled back, and denied is %q", got)
	}
	if err := h.launch(); err != nil {
		t.Fatal(err)
	}
	h.must("without the daemon", "history")
	if s := h.status(); s.Step != "enforce/alert" || s.Paused == nil {
		t.Errorf("after a rollback without the daemon: %s, paused %v", s.Step, s.Paused)
	}
}

// choose is something that makes sense in a state.
func (h *host) choose(s phases.State, r *rand.Rand) string {
	name, _, _, _ := s.Current()
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	switch {
	case s.Gone && s.Pause == nil:
		return "restore"
	case s.Trial != nil && s.Pause == nil:
		return pick("yes", "yes", "back")
	case s.Pause != nil:
		return "resume"
	case s.Request != nil && len(s.Request.Approvals) > 0:
		return "arm"
	case s.Request != nil:
		return "ok"
	case strings.HasPrefix(name, "enforce/block"):
		return pick("back", "back:enforce/alert", "group:desks", "req", "apply:"+strconv.Itoa(r.IntN(1000)))
	case name == "watch":
		return pick("back", "back:enforce/alert")
	}
	return "req"
}

// waits says whether an answer is a refusal that goes away by itself.
func waits(err error) bool {
	return err == nil || strings.Contains(err.Error(), "a gate does not let the step through") ||
		strings.Contains(err.Error(), "another revision is confirmed than") || strings.Contains(err.Error(), "too late")
}

// confirmedLost says what is wrong with the confirmed step after a word that
// was struck.
func confirmedLost(before, after phases.State, word string) string {
	word, _, _ = strings.Cut(word, ":")
	if before.Stable == after.Stable || word == "back" {
		return ""
	}
	if word == "yes" && before.Trial != nil && after.Stable == before.Trial.Digest {
		return ""
	}
	return fmt.Sprintf("%s was confirmed, now it is %s", before.Heads[before.Stable].Step.Name, after.Heads[after.Stable].Step.Name)
}
