// Package sd speaks to systemd: that the daemon is ready, alive, and about to
// end. Without systemd it does nothing. The protocol is sd_notify(3): words in
// one datagram to the socket that NOTIFY_SOCKET names.
package sd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// What the daemon says.
const (
	Ready    = "READY=1"
	Alive    = "WATCHDOG=1"
	Stopping = "STOPPING=1"
)

// Notify says words to systemd; nil where there is none.
func Notify(words ...string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@") {
		return fmt.Errorf("cannot tell systemd: NOTIFY_SOCKET is %q, which is no path", path)
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("cannot tell systemd: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(strings.Join(words, "\n"))); err != nil {
		return fmt.Errorf("cannot tell systemd: %w", err)
	}
	return nil
}

// Watchdog is how long systemd waits for Alive before it kills this process; 0:
// it does not watch it.
func Watchdog() (time.Duration, error) {
	text, pid := os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	if text == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > int64(time.Duration(1<<63-1)/time.Microsecond) {
		return 0, fmt.Errorf("cannot tell how long systemd waits: WATCHDOG_USEC is %q", text)
	}
	return time.Duration(n) * time.Microsecond, nil
}
