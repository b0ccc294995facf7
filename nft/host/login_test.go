package host

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLogin(t *testing.T) {
	proc := t.TempDir()
	for pid, stat := range map[int]string{
		1:   "1 (systemd) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 3 100 200",
		10:  "10 (sshd) S 1 10 10 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 500 100 200",
		11:  "11 (sshd-session) S 10 10 10 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 900012 100 200",
		12:  "12 (a (sshd) sh) S 11 12 12 34816 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 900020 100 200",
		13:  "13 (sudo) S 12 13 13 34816 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 900100 100 200",
		20:  "20 (tmux: server) S 1 20 20 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 800 100 200",
		21:  "21 (bash) S 20 21 21 34816 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 900 100 200",
		30:  "30 (torn) S 1",
		40:  "40 (ring) S 41 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 900 100 200",
		41:  "41 (ring) S 40 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 900 100 200",
		50:  "50 (late) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99999999999999999999 100 200",
		999: "999 (orphan) S 998 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 900 100 200",
	} {
		dir := filepath.Join(proc, fmt.Sprint(pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(stat+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		pid   int
		since time.Duration
		ok    bool
		fails bool
	}{
		{13, 9000120 * time.Millisecond, true, false},
		{10, 5 * time.Second, true, false},
		{21, 0, false, false},
		{1, 0, false, false},
		{0, 0, false, false},
		{30, 0, false, true},
		{40, 0, false, true},
		{50, 0, false, true},
		{999, 0, false, true},
	} {
		since, ok, err := loginIn(proc, c.pid)
		if since != c.since || ok != c.ok || (err != nil) != c.fails {
			t.Errorf("process %d: %v, %v, %v", c.pid, since, ok, err)
		}
	}
}

// TestLoginOfThisProcess reads the real files.
func TestLoginOfThisProcess(t *testing.T) {
	if _, _, err := Login(os.Getpid()); err != nil {
		t.Error(err)
	}
}
