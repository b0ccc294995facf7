package sd

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify(Ready); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	for _, name := range []string{path, "@weir-test-" + strconv.Itoa(os.Getpid())} {
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("NOTIFY_SOCKET", name)
		if err := Notify(Ready, "STATUS=one"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if err := l.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := l.Read(buf)
		if err != nil || string(buf[:n]) != "READY=1\nSTATUS=one" {
			t.Errorf("%q %v", buf[:n], err)
		}
		l.Close()
	}
	for _, bad := range []string{"relative", filepath.Join(t.TempDir(), "nobody")} {
		t.Setenv("NOTIFY_SOCKET", bad)
		if Notify(Ready) == nil {
			t.Errorf("%s took it", bad)
		}
	}
}

func TestWatchdog(t *testing.T) {
	me := strconv.Itoa(os.Getpid())
	for _, row := range []struct {
		usec, pid string
		want      time.Duration
		bad       bool
	}{
		{"", "", 0, false},
		{"30000000", "", 30 * time.Second, false},
		{"30000000", me, 30 * time.Second, false},
		{"30000000", "1", 0, false},
		{"soon", me, 0, true}, {"0", "", 0, true}, {"-1", "", 0, true}, {"9223372036854775807", "", 0, true},
	} {
		t.Setenv("WATCHDOG_USEC", row.usec)
		t.Setenv("WATCHDOG_PID", row.pid)
		if got, err := Watchdog(); got != row.want || (err != nil) != row.bad {
			t.Errorf("%+v: %v, %v", row, got, err)
		}
	}
}
