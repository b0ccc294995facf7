package faults

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDaemonOnRottenFiles: no daemon starts on a damaged journal or damaged
// evidence, and it names the file and what to do; the kernel keeps the step in
// force, and status, history, backout and rollback work without it. A journal
// that was moved away is begun anew, paused, and takes the rollout up again.
func TestDaemonOnRottenFiles(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	h := newHost(t, 30*time.Second)
	must(t, h.launch())
	h.reach("enforce/block:desks")
	h.settled()
	h.kill()
	const block = "desks4:9999 desks6:9999"
	for _, name := range []string{"journal.db", "evidence.db"} {
		path := filepath.Join(h.dir, name)
		whole, err := os.ReadFile(path)
		must(t, err)
		for _, row := range rot {
			if !row.refused {
				continue
			}
			replace(t, path, row.do(r, append([]byte(nil), whole...)))
			out, errs, code := h.cli("daemon")
			if code != 1 || !strings.Contains(errs, path) || !strings.Contains(errs, "hint:") || strings.Contains(errs, "goroutine ") {
				t.Errorf("%s, %s: exit %d\n%s%s", name, row.name, code, out, errs)
			}
			if got := h.g.passes(h.world); got != block {
				t.Fatalf("%s, %s: denied is %q", name, row.name, got)
			}
		}
		h.must("in force  enforce/block:desks", "status")
		h.must("seen confirm", "history")
		h.must("enforce/alert", "backout")
		replace(t, path, whole)
	}
	// Without the evidence the rollout is what it was.
	must(t, os.Remove(filepath.Join(h.dir, "evidence.db")))
	must(t, h.launch())
	h.must("in force  enforce/block:desks", "status")
	h.settled()
	h.kill()
	// Without the journal the way back is what it was.
	must(t, os.Remove(filepath.Join(h.dir, "journal.db")))
	must(t, h.launch())
	out, _, _ := h.cli("status")
	if !strings.Contains(out, "which the journal does not know") {
		t.Errorf("status with a new journal:\n%s", out)
	}
	if got := h.g.passes(h.world); got != block {
		t.Errorf("a new journal, and denied is %q", got)
	}
	h.must("rolled back to enforce/alert", "rollback")
	h.must("", "remove", "--yes")
	if got := h.g.passes(h.world); got != "" {
		t.Errorf("removed, and denied is %q", got)
	}
	h.reach("enforce/block:desks")
	h.settled()
}

// TestDaemonOnAFullDisk: the daemon goes on, says so, rolls back, and writes
// again when there is room.
func TestDaemonOnAFullDisk(t *testing.T) {
	t.Run("own mounts", func(t *testing.T) {
		h := newHost(t, 30*time.Second)
		small := h.smallDisk("3m")
		h.reach("enforce/block:desks")
		h.in(small, "sh", "-c", "dd if=/dev/zero of=$WEIR_STATE/stuffing bs=4096 2>/dev/null; true")
		var err error
		for i := 0; err == nil && i < 300; i++ { // until the database has no room of its own
			err = errors.Join(h.verb("req"), h.verb("ok"))
		}
		if err == nil || !strings.Contains(err.Error(), "no space left on device") {
			t.Errorf("on a full disk: %v", err)
		}
		if got := h.g.passes(h.world); got != "desks4:9999 desks6:9999" {
			t.Errorf("denied is %q", got)
		}
		h.must("in force  enforce/block:desks", "status")
		err = h.verb("back")
		if err != nil && !strings.Contains(err.Error(), "seen in the kernel") {
			t.Errorf("rolling back on a full disk: %v", err)
		}
		if got := h.g.passes(h.world); got != "" {
			t.Errorf("rolled back, and denied is %q", got)
		}
		h.in(small, "sh", "-c", "rm $WEIR_STATE/stuffing")
		h.until("the journal knows", func() error {
			if s := h.status(); s.Step != "enforce/alert" || s.Paused == nil {
				return errors.New(s.Step)
			}
			return nil
		})
		// The plain copy may lack lines of that time; it is readable.
		h.must("", "resume")
		out := h.in(small, h.bin, "--socket", "/nonexistent", "history")
		if !strings.Contains(out, "resumed") {
			t.Errorf("the plain history after a full disk:\n%s", out)
		}
		h.reach("enforce/block:desks")
	})
}

// TestTornHistory: the plain copy of the journal ends in half a line, or lacks
// records, after a crash or a full disk. It is readable, and the next record
// brings what is missing.
func TestTornHistory(t *testing.T) {
	t.Parallel()
	h := newHost(t, 30*time.Second)
	must(t, h.launch())
	h.reach("monitor")
	h.kill()
	file := filepath.Join(h.dir, "history.jsonl")
	data, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, data[:len(data)-400], 0o600)) // more than one record
	out, errs, code := h.cli("history")
	if code != 0 || !strings.Contains(out, "registered the plan") || !strings.Contains(errs, "1 line of it cannot be read") {
		t.Errorf("a torn history: exit %d\n%s%s", code, out, errs)
	}
	must(t, h.launch())
	h.must("", "pause", "--reason", "lunch")
	h.kill()
	out = h.must("lunch", "history")
	for n := range len(strings.Split(strings.TrimSpace(string(data)), "\n")) - 1 {
		if !strings.Contains(out, "\n"+strconv.Itoa(n+1)+" ") {
			t.Errorf("record %d did not come back:\n%s", n+1, out)
		}
	}
}
