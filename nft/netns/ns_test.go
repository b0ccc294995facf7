package netns_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/nft/netns"
)

func newNS(t testing.TB, name string) *netns.NS {
	t.Helper()
	n, err := netns.New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func newLab(t testing.TB) *netns.Lab {
	t.Helper()
	l, err := netns.NewLab()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func threadNS() string {
	s, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return err.Error()
	}
	return s
}

func TestDoRunsInside(t *testing.T) {
	home := threadNS()
	a, b := newNS(t, "a"), newNS(t, "b")
	seen := map[string]bool{home: true}
	for _, n := range []*netns.NS{a, b} {
		var at, again, apart string
		if err := n.Do(func() error {
			at = threadNS()
			return n.Do(func() error { again = threadNS(); return nil })
		}); err != nil {
			t.Fatal(err)
		}
		if err := n.Apart(func() error { apart = threadNS(); return nil }); err != nil {
			t.Fatal(err)
		}
		if seen[at] || again != at || apart != at {
			t.Errorf("%s: in %s, nested %s, apart %s; home is %s", n.Name(), at, again, apart, home)
		}
		seen[at] = true
		if p, err := os.Readlink(n.Path()); err != nil || p != at {
			t.Errorf("Path: %s, %v, want %s", p, err, at)
		}
	}
}

// No goroutine of the program may find itself in a namespace, however many
// are made and closed.
func TestNoThreadLeaks(t *testing.T) {
	home := threadNS()
	for i := range 20 {
		n, err := netns.New(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Apart(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				runtime.Gosched()
				if at := threadNS(); at != home {
					t.Errorf("a goroutine runs in %s, home is %s", at, home)
				}
			})
		}
		all.Wait()
	}
}

func TestErrorsAndPanicsComeBack(t *testing.T) {
	n := newNS(t, "n")
	want := errors.New("mine")
	for _, in := range []func(func() error) error{n.Do, n.Apart} {
		if err := in(func() error { return want }); err != want {
			t.Errorf("got %v", err)
		}
		func() {
			defer func() {
				if p := fmt.Sprint(recover()); !strings.Contains(p, "boom") || !strings.Contains(p, "ns_test.go") {
					t.Errorf("panic came back as %q", p)
				}
			}()
			_ = in(func() error { panic("boom") })
			t.Error("no panic")
		}()
	}
	if err := n.Do(func() error { return nil }); err != nil {
		t.Errorf("unusable after a panic: %v", err)
	}
}

func TestGoexitEndsTheCaller(t *testing.T) {
	n := newNS(t, "n")
	ended := make(chan bool, 1)
	go func() {
		ok := false
		defer func() { ended <- ok }()
		err := n.Do(func() error { runtime.Goexit(); return nil })
		ok = err == nil || err != nil // reached only when Do returned
	}()
	if <-ended {
		t.Error("the caller went on after Goexit")
	}
	if err := n.Do(func() error { return nil }); !errors.Is(err, netns.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestClosed(t *testing.T) {
	n, err := netns.New("n")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.EchoTCP("127.0.0.1:7"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Do":     n.Do(func() error { return nil }),
		"Apart":  n.Apart(func() error { return nil }),
		"Up":     n.Up("lo"),
		"Sysctl": n.Sysctl("net.ipv4.ip_forward", "1"),
		"Try":    n.Try("tcp", "127.0.0.1:7", time.Second),
	} {
		if !errors.Is(err, netns.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
}

func TestSysctlIsTheNamespacesOwn(t *testing.T) {
	const name = "net.ipv4.ip_forward"
	a, b := newNS(t, "a"), newNS(t, "b")
	home, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Forward(); err != nil {
		t.Fatal(err)
	}
	va, erra := a.ReadSysctl(name)
	vb, errb := b.ReadSysctl("net/ipv4/ip_forward")
	if erra != nil || errb != nil || va != "1" || vb != "0" {
		t.Errorf("a %q %v, b %q %v", va, erra, vb, errb)
	}
	if now, _ := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); string(now) != string(home) {
		t.Errorf("the machine's own value went from %q to %q", home, now)
	}
	for _, bad := range []string{"kernel.panic", "net/../kernel/panic", "vm.swappiness", "", "net/"} {
		if err := a.Sysctl(bad, "0"); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestLab(t *testing.T) {
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if err := l.Outside.EchoTCP(netns.OutsideIP4+":443", "["+netns.OutsideIP6+"]:443"); err != nil {
				t.Fatal(err)
			}
			if err := l.Outside.EchoUDP(netns.OutsideIP4+":53", "["+netns.OutsideIP6+"]:53"); err != nil {
				t.Fatal(err)
			}
			for _, to := range []string{"tcp " + netns.OutsideIP4 + ":443", "tcp [" + netns.OutsideIP6 + "]:443",
				"udp " + netns.OutsideIP4 + ":53", "udp [" + netns.OutsideIP6 + "]:53"} {
				network, addr, _ := strings.Cut(to, " ")
				if err := l.Client.Try(network, addr, 2*time.Second); err != nil {
					t.Errorf("%s: %v", to, err)
				}
			}
			c, err := l.Client.Dial("tcp", netns.OutsideIP4+":443@"+netns.ClientIP4+":40000", time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := c.LocalAddr().String(); got != netns.ClientIP4+":40000" {
				t.Errorf("source is %s", got)
			}
			if err := l.Client.Try("tcp", netns.OutsideIP4+":444", time.Second); err == nil {
				t.Error("a closed port answered")
			}
		})
	}
}

func BenchmarkLab(b *testing.B) {
	for b.Loop() {
		l, err := netns.NewLab()
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
