package demo

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// reap ends what still runs in the gateway's namespace: what a person started
// there, such as a daemon in the background of a shell that was left.
func (s *stage) reap() error {
	if s.net.gateway == nil {
		return nil
	}
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left, err := s.inGateway()
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("cannot end the processes %v of the demo's gateway", left)
		}
		for _, pid := range left {
			unix.Kill(pid, unix.SIGKILL) //nolint:errcheck // looked at again
		}
	}
}

// inGateway lists the processes whose network is the gateway's, but this one,
// of which single threads are.
func (s *stage) inGateway() ([]int, error) {
	var want unix.Stat_t
	if err := unix.Stat(s.net.gateway.Path(), &want); err != nil {
		return nil, fmt.Errorf("cannot read the gateway's namespace: %w", err)
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		var is unix.Stat_t
		if unix.Stat("/proc/"+name+"/ns/net", &is) == nil && is.Dev == want.Dev && is.Ino == want.Ino {
			out = append(out, pid)
		}
	}
	return out, nil
}
