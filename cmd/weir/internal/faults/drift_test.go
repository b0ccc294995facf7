package faults

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/phases"
)

// drift is the newest record of drift, from the plain history.
func (h *host) drift() (phases.Record, bool) {
	records := h.records()
	for _, r := range slices.Backward(records) {
		if r.Kind == phases.Drifted || r.Kind == phases.Mended {
			return r, r.Kind == phases.Drifted
		}
	}
	return phases.Record{}, false
}

// TestDriftWithinASecond: from another program's transaction to the journal.
// The best of three tries, on a machine that may do other things.
func TestDriftWithinASecond(t *testing.T) {
	t.Parallel()
	h := newHost(t, 20*time.Second)
	must(t, h.launch())
	h.reach("enforce/block:desks")
	best := time.Hour
	for try := range 3 {
		must(t, h.lab.nft("add", "chain", "inet", "weir", "mine"))
		done := time.Now()
		var r phases.Record
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			found := false
			if r, found = h.drift(); found {
				break
			}
			if time.Now().After(end) {
				t.Fatal("never noticed")
			}
		}
		if len(r.Processes) != 1 || r.Processes[0].Name != "nft" || len(r.Changes) != 1 || r.Changes[0].Object != "chain mine" {
			t.Errorf("try %d: %+v", try, r)
		}
		if r.Since.After(done) {
			t.Errorf("try %d: it is said to be since %v, and was done before %v", try, r.Since, done)
		}
		best = min(best, r.At.Sub(done))
		h.must("put back", "diff", "--restore")
	}
	t.Logf("noticed %v after nft had ended", best)
	if best > time.Second {
		t.Errorf("noticed %v after nft had ended", best)
	}
}

// TestDriftCannotBeTold: the frozen step's file is damaged under a running
// daemon. What the table should hold is then not known, and that is said.
func TestDriftCannotBeTold(t *testing.T) {
	t.Parallel()
	h := newHost(t, 20*time.Second)
	must(t, h.launch())
	h.reach("enforce/block:desks")
	h.kill()
	files, err := filepath.Glob(filepath.Join(h.dir, "frozen", "*.json"))
	must(t, err)
	for _, f := range files {
		must(t, os.WriteFile(f, []byte("{}\n"), 0o600))
	}
	must(t, h.launch())
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out, _, _ := h.cli("findings")
		if strings.Contains(out, "cannot be told whether the table holds what was recorded") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nothing says that it cannot be told:\n%s", out)
		}
	}
}
