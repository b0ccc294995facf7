package honeypot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a listener. Only Port must be set.
type Options struct {
	Port      uint16
	Wait      time.Duration    // for a visitor's first bytes; 0: 5 s
	PerSource int              // connections of one source at a time; 0: 8. An IPv6 source is its /64
	Total     int              // connections at a time; 0: 256
	Now       func() time.Time // stamps visits; nil: time.Now
	Visit     func(Visit)      // told of each visit when it has ended, from its goroutine; nil: nobody
}

// Stats count since the listener was opened.
type Stats struct {
	Visits   uint64 // redirected connections that were served
	Direct   uint64 // connections to the port itself, closed at once
	Refused  uint64 // redirected connections beyond the bounds, closed at once
	Probes   uint64 // own probes that were answered
	Failures uint64 // connections that could not be accepted or asked for their destination
}

// Listener serves one port on every address of both families. Its methods may
// be called from any goroutine.
type Listener struct {
	opt                               Options
	token                             [16]byte // what an own probe begins with
	socks                             []net.Listener
	all                               sync.WaitGroup
	visits                            atomic.Uint64
	direct, refused, probes, failures atomic.Uint64

	mu     sync.Mutex // guards what follows
	closed bool
	open   map[*net.TCPConn]bool
	from   map[netip.Prefix]int
}

// Listen opens the port in the calling thread's network namespace. IPv6 is left
// out where the machine has none. ErrTaken: another program has the port.
func Listen(opt Options) (*Listener, error) {
	if opt.Port == 0 {
		return nil, errors.New("cannot open the honeypot without a port")
	}
	if opt.Wait == 0 {
		opt.Wait = 5 * time.Second
	}
	if opt.PerSource == 0 {
		opt.PerSource = 8
	}
	if opt.Total == 0 {
		opt.Total = 256
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	l := &Listener{opt: opt, open: map[*net.TCPConn]bool{}, from: map[netip.Prefix]int{}}
	if _, err := rand.Read(l.token[:]); err != nil {
		return nil, fmt.Errorf("cannot open the honeypot: %w", err)
	}
	for _, network := range []string{"tcp4", "tcp6"} {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false) // its sockets do not know the original destination
		s, err := lc.Listen(context.Background(), network, ":"+strconv.Itoa(int(opt.Port)))
		if network == "tcp6" && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
			continue
		}
		if errors.Is(err, unix.EADDRINUSE) {
			err = fmt.Errorf("%w: %d", ErrTaken, opt.Port)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot open the honeypot: %w", err), l.Close())
		}
		l.socks = append(l.socks, s)
	}
	for _, s := range l.socks {
		l.all.Go(func() { l.accept(s) })
	}
	return l, nil
}

// ErrTaken is returned by Listen when another program has the port.
var ErrTaken = errors.New("another program listens to the honeypot's port; end it, or name another in the plan's capture.honeypotPort")

func (l *Listener) accept(s net.Listener) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		c, err := s.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// No file descriptors, or the visitor has gone again.
			l.failures.Add(1)
			pause.Reset(50 * time.Millisecond)
			<-pause.C
			continue
		}
		l.admit(c.(*net.TCPConn))
	}
}

// admit serves a connection or closes it with a reset. From this machine to
// itself nothing is redirected: that is a probe, or nobody.
func (l *Listener) admit(c *net.TCPConn) {
	client, local := addrPort(c.RemoteAddr()), addrPort(c.LocalAddr())
	asked, err := OriginalDestination(c)
	switch {
	case local.Addr().IsLoopback() && (err != nil || asked == local):
		l.serve(c, netip.Prefix{}, func() { l.answer(c) })
		return
	case err != nil:
		l.failures.Add(1)
		reset(c)
		return
	case asked == local:
		l.direct.Add(1)
		reset(c)
		return
	}
	at := l.opt.Now()
	l.serve(c, source(client.Addr()), func() {
		v := Visit{Client: client, Asked: asked, At: at}
		v.First, v.ServerName = listen(c, l.opt.Wait)
		v.Ended = l.opt.Now()
		l.visits.Add(1)
		if l.opt.Visit != nil {
			l.opt.Visit(v)
		}
	})
}

// source is what the bounds count: an IPv4 address, or an IPv6 link's /64, of
// which one machine may use every address.
func source(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// serve runs f in a goroutine of its own within the bounds, and closes c. The
// zero prefix counts as this machine.
func (l *Listener) serve(c *net.TCPConn, from netip.Prefix, f func()) {
	l.mu.Lock()
	full := l.closed || len(l.open) >= l.opt.Total && from.IsValid() || l.from[from] >= l.opt.PerSource
	if !full {
		l.open[c] = true
		l.from[from]++
		l.all.Add(1)
	}
	l.mu.Unlock()
	if full {
		l.refused.Add(1)
		reset(c)
		return
	}
	go func() {
		defer l.all.Done()
		defer func() {
			l.mu.Lock()
			delete(l.open, c)
			if l.from[from]--; l.from[from] <= 0 {
				delete(l.from, from)
			}
			l.mu.Unlock()
			reset(c)
		}()
		f()
	}()
}

// reset closes without leaving anything behind on either side.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// Close ends the listener and its connections, and waits for the calls of
// Visit.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.closed = true
	for c := range l.open {
		reset(c)
	}
	l.mu.Unlock()
	var errs []error
	for _, s := range l.socks {
		if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	l.all.Wait()
	return errors.Join(errs...)
}

// Stats returns what was counted so far.
func (l *Listener) Stats() Stats {
	return Stats{Visits: l.visits.Load(), Direct: l.direct.Load(), Refused: l.refused.Load(),
		Probes: l.probes.Load(), Failures: l.failures.Load()}
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}
