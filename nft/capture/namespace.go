package capture

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// within runs fn in the options' network namespace. The thread is locked, never
// unlocked, and ends with fn, so no other goroutine can meet the namespace.
// Inside fn, /proc/thread-self/net, /proc/sys/net and new sockets are the
// namespace's.
func (o Options) within(fn func() error) error {
	if o.NetNS == 0 {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(o.NetNS, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("cannot enter the network namespace: %w", err)
			return
		}
		done <- fn()
	}()
	return <-done
}

// path puts a path of proc or sys under the options' root.
func (o Options) path(p string) string {
	if o.Root == "" {
		return p
	}
	return o.Root + p
}

func closing(c *netlink.Conn, err error) error { return errors.Join(err, c.Close()) }
