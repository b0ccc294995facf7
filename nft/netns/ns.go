package netns

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ErrClosed is returned by every method of a namespace that was closed.
var ErrClosed = errors.New("the network namespace is closed")

// NS is a throw-away network namespace. All methods may be called from any
// goroutine.
type NS struct {
	name string
	at   inode
	tid  int
	path string
	fd   netns.NsHandle
	nl   *netlink.Handle // its sockets were made inside
	work chan *task
	gone chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex // guards what follows
	closed  bool
	closers []io.Closer // sockets and children to end with the namespace
}

type task struct {
	f        func() error
	err      error
	panicked any
	goexit   bool
	done     chan struct{}
}

// New makes a namespace with its loopback up, without duplicate address
// detection and router solicitations. The name is used in errors only. Without
// CAP_SYS_ADMIN it fails; EnsureUserns says what to do then.
func New(name string) (*NS, error) {
	n := &NS{name: name, work: make(chan *task), gone: make(chan struct{})}
	ready := make(chan error, 1)
	go n.live(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("cannot make network namespace %s: %w", name, err)
	}
	err := n.Do(n.prepare)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot prepare network namespace %s: %w", name, err), n.Close())
	}
	return n, nil
}

// live is the namespace's goroutine. It returns without unlocking its thread,
// so that the runtime ends the thread.
func (n *NS) live(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot be ended, and /proc/self would follow it into
		// the namespace. Hold it until another goroutine runs elsewhere.
		moved := make(chan struct{})
		go func() {
			defer close(moved)
			n.live(ready)
		}()
		<-n.gone
		<-moved
		runtime.UnlockOSThread() // unchanged: it never entered anything
		return
	}
	defer close(n.gone)
	if err := n.enter(); err != nil {
		ready <- err
		return
	}
	ready <- nil
	for t := range n.work {
		t.run()
	}
}

func (n *NS) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	at, err := here()
	if err != nil {
		return err
	}
	fd, err := netns.GetFromPath(threadNS)
	if err != nil {
		return err
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return errors.Join(err, fd.Close())
	}
	n.at, n.fd, n.nl, n.tid = at, fd, nl, unix.Gettid()
	n.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", unix.Getpid(), n.tid)
	return nil
}

func (n *NS) prepare() error {
	for path, v := range map[string]string{
		"net.ipv6.conf.all.accept_dad":               "0",
		"net.ipv6.conf.default.accept_dad":           "0",
		"net.ipv6.conf.default.router_solicitations": "0",
		"net.ipv4.ping_group_range":                  "0 0",
	} {
		if err := writeSysctl(path, v); err != nil {
			return err
		}
	}
	lo, err := n.nl.LinkByName("lo")
	if err != nil {
		return err
	}
	return n.nl.LinkSetUp(lo)
}

// Do runs f on the namespace's thread and returns its error. Calls wait for
// each other; from inside f further calls of Do run at once. A panic in f
// panics in the caller; runtime.Goexit in f (testing's FailNow) ends the
// caller and closes the namespace. Goroutines that f starts are elsewhere.
func (n *NS) Do(f func() error) error {
	checked := func() error {
		if err := n.inside(); err != nil {
			return err
		}
		return f()
	}
	if unix.Gettid() == n.tid {
		return checked()
	}
	t := &task{f: checked, done: make(chan struct{})}
	select {
	case <-n.gone:
		return fmt.Errorf("cannot enter %s: %w", n.name, ErrClosed)
	case n.work <- t:
	}
	<-t.done
	switch {
	case t.panicked != nil:
		panic(t.panicked)
	case t.goexit:
		runtime.Goexit()
	}
	return t.err
}

func (t *task) run() {
	returned := false
	defer func() {
		if !returned {
			if p := recover(); p != nil {
				t.panicked = fmt.Sprintf("%v\n\nin a network namespace:\n%s", p, debug.Stack())
			} else {
				t.goexit = true
			}
		}
		close(t.done)
	}()
	t.err = t.f()
	returned = true
}

// inside says whether the calling thread is where it should be.
func (n *NS) inside() error {
	at, err := here()
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	if at != n.at {
		return fmt.Errorf("%s: the thread is in another network namespace", n.name)
	}
	return nil
}

// Apart runs f on a new thread of its own in the namespace and waits for it;
// the thread ends with it. Blocking work that should not hold up Do belongs
// here.
func (n *NS) Apart(f func() error) error {
	t := &task{done: make(chan struct{})}
	t.f = func() error {
		if err := n.hold(); err != nil {
			return err
		}
		if err := netns.Set(n.fd); err != nil {
			return fmt.Errorf("cannot enter %s: %w", n.name, err)
		}
		if err := n.inside(); err != nil {
			return err
		}
		return f()
	}
	go func() {
		runtime.LockOSThread() // never unlocked
		if unix.Gettid() == unix.Getpid() {
			// See live: not on the main thread.
			moved := make(chan struct{})
			go func() {
				defer close(moved)
				runtime.LockOSThread()
				t.run()
			}()
			<-moved
			runtime.UnlockOSThread()
			return
		}
		t.run()
	}()
	<-t.done
	switch {
	case t.panicked != nil:
		panic(t.panicked)
	case t.goexit:
		runtime.Goexit()
	}
	return t.err
}

func (n *NS) hold() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return fmt.Errorf("cannot enter %s: %w", n.name, ErrClosed)
	}
	return nil
}

// Close ends the namespace: its servers and children, then its thread. The
// kernel removes links, rules and connections when the last socket made in it
// is closed. Closing twice is no error.
func (n *NS) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		<-n.gone
		return nil
	}
	n.closed = true
	closers := n.closers
	n.closers = nil
	n.mu.Unlock()
	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		if err := closers[i].Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	stop := &task{f: func() error { runtime.Goexit(); return nil }, done: make(chan struct{})}
	select {
	case <-n.gone:
	case n.work <- stop:
		<-n.gone
	}
	n.nl.Close()
	if err := n.fd.Close(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// adopt has c closed with the namespace.
func (n *NS) adopt(c io.Closer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.Join(ErrClosed, c.Close())
	}
	n.closers = append(n.closers, c)
	return nil
}

// Name returns the name given to New.
func (n *NS) Name() string { return n.name }

// Path returns the file that names the namespace while it lives, for setns in
// another process.
func (n *NS) Path() string { return n.path }

// FD returns an open file of the namespace, for libraries that enter it
// themselves. It is valid until Close.
func (n *NS) FD() int { return int(n.fd) }
