package daemon

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/phases/audit"
	"weir/plans"
)

func signedCheckpoint(t *testing.T, size uint64) (audit.Signed, audit.Public) {
	t.Helper()
	text, err := audit.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := audit.Sign(audit.Checkpoint{Machine: "m1", Size: size, Root: audit.Leaf(nil), At: time.Unix(1, 0)}, key)
	if err != nil {
		t.Fatal(err)
	}
	return c, key.PublicKey()
}

// A disk that hangs holds up a request for two seconds, and nothing else.
func TestWitnessThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	c, key := signedCheckpoint(t, 3)
	w := newWitness(plans.Witness{File: path}, "m1", key, nil, func(error) {})
	start := time.Now()
	for range 100 {
		w.tell(c)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("telling took %s", took)
	}
	if _, err := w.state(); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
	end, err := os.OpenFile(path, os.O_RDWR, 0) // lets go of the reader
	if err != nil {
		t.Fatal(err)
	}
	end.Close()
	w.close()
}

func TestWitnessSyslog(t *testing.T) {
	c, key := signedCheckpoint(t, 3)
	var told []string
	gone := errors.New("gone")
	w := newWitness(plans.Witness{Syslog: true}, "m1", key, func(line string) error {
		if gone == nil {
			told = append(told, line)
		}
		return gone
	}, func(error) {})
	w.tell(c)
	if _, err := w.state(); !errors.Is(err, gone) {
		t.Error("syslog was not told, and that is good enough:", err)
	}
	gone = nil
	if _, err := w.state(); err != nil {
		t.Error(err)
	}
	w.close()
	if len(told) != 1 || told[0] != c.Line() {
		t.Errorf("told %q", told)
	}
}
