package honeypot_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/cmd/weir/internal/honeypot"
	"weir/nft/netns"
)

func (l *lab) dial(address string) *net.TCPConn {
	l.t.Helper()
	c, err := l.Client.Dial("tcp", address, time.Second)
	must(l.t, err)
	l.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// ended waits for the other side's end and returns what it sent before, and how
// it ended.
func ended(t testing.TB, c net.Conn, within time.Duration) (string, error) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(within)))
	got, err := io.ReadAll(c)
	return string(got), err
}

// Whoever comes to the port itself, from whichever side, gets a reset and is no
// visitor, with the rules in force and without.
func TestDirect(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := l.listen(honeypot.Options{})
	for _, rules := range []bool{false, true} {
		if rules {
			l.blocked(time.Minute)
		}
		for from, list := range map[*netns.NS][]string{l.Client: {netns.InsideGW4, netns.InsideGW6, netns.OutsideGW4}, l.Outside: {netns.OutsideGW4, netns.OutsideGW6}} {
			for _, a := range list {
				c, err := from.Dial("tcp", net.JoinHostPort(a, "2323"), time.Second)
				if err == nil {
					if _, err = c.Write([]byte("hello")); err == nil {
						_, err = ended(t, c, time.Second)
					}
					c.Close()
				}
				if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					t.Errorf("%s %s: %v, want a reset", from.Name(), a, err)
				}
			}
		}
	}
	l.nobody()
	if s := h.Stats(); s.Visits != 0 || s.Direct+s.Failures != 10 {
		t.Errorf("%+v", s)
	}
	l.captured("3389")
}

// What is written down of a visitor, and that nothing is sent.
func TestWhatIsHeard(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const wait = 400 * time.Millisecond
	l.listen(honeypot.Options{Wait: wait})
	l.blocked(time.Minute)
	to := net.JoinHostPort(netns.OutsideIP4, "3389")

	t.Run("nothing", func(t *testing.T) {
		at := time.Now()
		c := l.dial(to)
		got, err := ended(t, c, time.Second)
		if took := time.Since(at); got != "" || !errors.Is(err, syscall.ECONNRESET) || took < wait || took > wait+300*time.Millisecond {
			t.Errorf("%q %v after %v, want a reset after %v", got, err, took, wait)
		}
		if v := l.visit(); len(v.First) != 0 || v.Said() != "" || v.ServerName != "" || v.Ended.Sub(v.At) < wait {
			t.Errorf("%+v", v)
		}
	})
	t.Run("bytes in pieces", func(t *testing.T) {
		c := l.dial(to)
		for _, p := range []string{"\x03\x00\x00\x13", "\x0e\xe0", "Cookie: mstshash=\"x\\y\"\x1b]0;\x07é"} {
			must(t, err2(c.Write([]byte(p))))
			time.Sleep(20 * time.Millisecond)
		}
		if v := l.visit(); v.Said() != `\x03\x00\x00\x13\x0e\xe0Cookie: mstshash=\"x\\y\"\x1b]0;\x07\xc3\xa9` {
			t.Errorf("said %s", v.Said())
		}
	})
	t.Run("too much", func(t *testing.T) {
		at := time.Now()
		c := l.dial(to)
		c.Write([]byte(strings.Repeat("x", 1<<20))) // it may be reset meanwhile
		if v := l.visit(); len(v.First) != 256 || time.Since(at) > wait {
			t.Errorf("%d bytes after %v", len(v.First), time.Since(at))
		}
	})
	t.Run("slower than the time", func(t *testing.T) {
		c := l.dial(to)
		at := time.Now()
		for time.Since(at) < 3*wait {
			if _, err := c.Write([]byte("x")); err != nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if took := time.Since(at); took > 2*wait {
			t.Errorf("held for %v by one byte at a time", took)
		}
		l.visit()
	})
	for name, piece := range map[string]int{"a ClientHello": 1 << 16, "a ClientHello in pieces": 100} {
		t.Run(name, func(t *testing.T) {
			c := l.dial(to)
			at := time.Now()
			go tls.Client(pieces{c, piece}, &tls.Config{ServerName: "c2.example.net", NextProtos: []string{strings.Repeat("p", 200), strings.Repeat("q", 200)}}).Handshake()
			v := l.visit()
			if v.ServerName != "c2.example.net" || len(v.First) != 256 || time.Since(at) > wait {
				t.Errorf("%+v after %v", v, time.Since(at))
			}
		})
	}
}

func err2(_ int, err error) error { return err }

// pieces writes a few bytes at a time.
type pieces struct {
	*net.TCPConn
	n int
}

func (p pieces) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i += p.n {
		if _, err := p.TCPConn.Write(b[i:min(len(b), i+p.n)]); err != nil {
			return i, err
		}
		time.Sleep(time.Millisecond)
	}
	return len(b), nil
}

// One source has its bound, all have theirs; the rest is reset at once and the
// listener goes on answering its own probes.
func TestBounds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := l.listen(honeypot.Options{PerSource: 2, Total: 3})
	l.blocked(time.Minute)
	open := func(a string) net.Conn {
		c, err := l.Client.Dial("tcp", net.JoinHostPort(a, "3389"), time.Second)
		if err != nil {
			return nil // reset before it was said to be open
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	open4, open6 := func() net.Conn { return open(netns.OutsideIP4) }, func() net.Conn { return open(netns.OutsideIP6) }
	lives := func(c net.Conn, want bool) {
		t.Helper()
		if c == nil {
			if want {
				t.Error("was reset at once")
			}
			return
		}
		_, err := ended(t, c, 200*time.Millisecond)
		var timeout net.Error
		if is := errors.As(err, &timeout) && timeout.Timeout(); is != want {
			t.Errorf("held %t, want %t: %v", is, want, err)
		}
	}
	a, b := open4(), open4()
	lives(a, true)
	lives(b, true)
	lives(open4(), false) // the third of one source
	c := open6()
	lives(c, true)
	lives(open6(), false) // the fourth of all
	probe := func() error {
		return l.Gateway.Apart(func() error { return h.Probe(context.Background()) })
	}
	must(t, probe())
	a.Close()
	l.visit()
	time.Sleep(50 * time.Millisecond) // its place is free a moment after the visit was told of
	lives(open6(), true)
	if s := h.Stats(); s.Refused != 2 || s.Probes != 2 {
		t.Errorf("%+v", s)
	}
	b.Close()
	if v := l.visit(); v.Client.Addr() != netip.MustParseAddr(netns.ClientIP4) {
		t.Errorf("%+v", v)
	}
}

// A probe is answered by the listener that was asked, or fails.
func TestProbe(t *testing.T) {
	t.Parallel()
	n, err := netns.New("host")
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	listen := func(opt honeypot.Options) (*honeypot.Listener, error) {
		var h *honeypot.Listener
		err := n.Do(func() (err error) {
			h, err = honeypot.Listen(opt)
			return err
		})
		return h, err
	}
	probe := func(h *honeypot.Listener) error {
		return n.Apart(func() error { return h.Probe(context.Background()) })
	}
	if _, err := listen(honeypot.Options{}); err == nil {
		t.Error("a listener without a port")
	}
	h, err := listen(honeypot.Options{Port: 2323})
	must(t, err)
	must(t, probe(h))
	if _, err := listen(honeypot.Options{Port: 2323}); !errors.Is(err, honeypot.ErrTaken) {
		t.Errorf("a second listener: %v", err)
	}
	other, err := listen(honeypot.Options{Port: 2324})
	must(t, err)
	must(t, h.Close())
	if probe(h) == nil {
		t.Error("a closed listener answers")
	}
	must(t, h.Close())
	// Another program has taken the port since.
	must(t, other.Close())
	foreign, err := listen(honeypot.Options{Port: 2323})
	must(t, err)
	defer foreign.Close()
	if err := probe(h); err == nil {
		t.Error("another listener answered for this one")
	}
	must(t, probe(foreign))
	// Whoever is on this machine and does not know the word gets nothing.
	c, err := n.Dial("tcp", "127.0.0.1:2323", time.Second)
	must(t, err)
	defer c.Close()
	must(t, err2(c.Write(make([]byte, 32))))
	if got, err := ended(t, c, time.Second); got != "" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%q, %v", got, err)
	}
	// An echo server answers too, and is not believed.
	must(t, foreign.Close())
	must(t, n.EchoTCP("127.0.0.1:2323", "[::1]:2323"))
	if probe(h) == nil {
		t.Error("an echo server was taken for the listener")
	}
}

// Close ends the connections at once, and what they said is still told.
func TestClose(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := l.listen(honeypot.Options{Wait: time.Hour})
	l.blocked(time.Minute)
	c := l.dial(net.JoinHostPort(netns.OutsideIP6, "3389"))
	must(t, err2(c.Write([]byte("hello"))))
	time.Sleep(50 * time.Millisecond)
	at := time.Now()
	must(t, h.Close())
	if took := time.Since(at); took > time.Second {
		t.Errorf("took %v", took)
	}
	if v := l.visit(); v.Said() != "hello" {
		t.Errorf("%+v", v)
	}
	if _, err := ended(t, c, time.Second); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
}
