package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStoppedAtEveryCall: the process is stopped before each of its calls, and
// goes on when every lease is long over and what it knew is old. What is in
// force then is what some word left, or that without its trial; and the rollout
// goes on.
func TestStoppedAtEveryCall(t *testing.T) {
	for _, real := range []bool{true, false} {
		t.Run(map[bool]string{true: "kernel", false: "fake"}[real], func(t *testing.T) {
			t.Parallel()
			for _, row := range crashRows {
				if real && row.name != "a block step" && row.name != "ending a trial" {
					continue // the others have no lease to run out
				}
				t.Run(row.name, func(t *testing.T) {
					if real {
						t.Parallel()
					}
					stop(t, real, row.before, row.struck)
				})
			}
		})
	}
}

func stop(t *testing.T, real bool, before, struck string) {
	lease := time.Hour
	if real {
		lease = 4 * time.Second
	}
	words := strings.Fields(struck)
	g := newGround(t, real, nil)
	var allowed []view
	w := newWorld(t, g, lease)
	w.run(before)
	w.p.arm(0, "")
	allowed = append(allowed, w.view())
	for _, word := range words {
		w.run(word)
		allowed = append(allowed, w.view())
	}
	total, names := w.p.n, w.p.names
	w.stop()
	for k := range len(words) + 1 { // the same, with the lease over after each word
		w := newWorld(t, g, lease)
		w.run(before)
		for _, word := range words[:k] {
			w.run(word)
		}
		must(t, w.lapse())
		w.run("look")
		allowed = append(allowed, w.view())
		if k < len(words) { // or the word comes when it is over: as if it had been said then
			if err := w.do(words[k]); err == nil {
				allowed = append(allowed, w.view())
			}
		}
		w.stop()
	}
	for n := 1; n <= total; n++ {
		if !interesting(names, n-1) || real && !slices.Contains([]string{"kernel.Arm", "kernel.Confirm", "kernel.Rollback", "journal.Append seen"}, names[n-1]) {
			continue
		}
		t.Run(fmt.Sprintf("call %d", n), func(t *testing.T) {
			w := newWorld(t, g, lease)
			defer w.stop()
			w.run(before)
			w.p.stall = func() { must(t, w.lapse()) }
			w.p.arm(n, stopped)
			var err error
			i := 0
			for ; i < len(words) && err == nil; i++ {
				_, err = w.attempt(words[i])
			}
			defer func() {
				if t.Failed() {
					t.Logf("stopped before %s, in %s (%v)\n%s", names[n-1], words[i-1], err, w.history())
				}
			}()
			if w.p.fired == "" {
				t.Fatalf("call %d was not made", n)
			}
			w.p.arm(0, "")
			w.run("look")
			if got := w.view(); !slices.Contains(allowed, got) {
				t.Errorf("it is %+v, which no word leaves", got)
			}
			w.holds()
			w.goesOn()
		})
	}
}
