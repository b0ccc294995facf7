package netns_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft/netns"
)

// socketNS returns the namespace of a socket as the kernel says it.
func socketNS(t *testing.T, c any) string {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var at string
	err = raw.Control(func(fd uintptr) {
		const siocgskns = 0x894c // linux/sockios.h
		r, _, e := unix.Syscall(unix.SYS_IOCTL, fd, siocgskns, 0)
		if e != 0 {
			t.Error(e)
			return
		}
		f := os.NewFile(r, "ns")
		defer f.Close()
		at, err = os.Readlink("/proc/self/fd/" + itoa(int(r)))
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestSocketsAreMadeInside(t *testing.T) {
	n := newNS(t, "n")
	want, err := os.Readlink(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, c any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(what, err)
		}
		if at := socketNS(t, c); at != want {
			t.Errorf("%s: made in %s, want %s", what, at, want)
		}
	}
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		l, err := n.Listen(host + ":443")
		check("Listen", l, err)
		u, err := n.ListenUDP(host + ":53")
		check("ListenUDP", u, err)
		for range 20 {
			var c net.Conn
			c, err = n.Dial("tcp", host+":443", time.Second)
			check("Dial tcp", c, err)
			c.Close()
			c, err = n.Dial("udp", host+":53", time.Second)
			check("Dial udp", c, err)
			c.Close()
		}
	}
}

func TestDialWantsLiterals(t *testing.T) {
	n := newNS(t, "n")
	for _, a := range []string{"localhost:80", "127.0.0.1", "127.0.0.1:80@nowhere", ":80"} {
		if c, err := n.Dial("tcp", a, time.Second); err == nil {
			c.Close()
			t.Errorf("%q was dialled", a)
		}
	}
	if _, err := n.Dial("unix", "127.0.0.1:80", time.Second); err == nil {
		t.Error("unix was dialled")
	}
}

func TestCommandRunsInside(t *testing.T) {
	n := newNS(t, "n")
	want, err := os.Readlink(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	out, err := n.Command("readlink", "/proc/self/ns/net").Output()
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("child in %q, %v, want %s", out, err, want)
	}
	out, err = n.Command("sh", "-c", "echo said; echo more >&2; exit 3").CombinedOutput()
	var exit *exec.ExitError
	if string(out) != "said\nmore\n" || !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestCloseKillsChildren(t *testing.T) {
	n, err := netns.New("n")
	if err != nil {
		t.Fatal(err)
	}
	c := n.Command("sleep", "20")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	err = c.Wait() // hangs where the child lives on
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the child ended with %v, want killed", err)
	}
}

func TestPing(t *testing.T) {
	l := newLab(t)
	for _, to := range []string{netns.OutsideIP4, netns.OutsideIP6, netns.InsideGW4, "127.0.0.1", "::1"} {
		if err := l.Client.Ping(to, 2*time.Second); err != nil {
			t.Error(err)
		}
	}
	// Nobody has these addresses; the gateway says so, or nobody does.
	for _, to := range []string{"198.51.100.99", "2001:db8:1::99"} {
		if err := l.Client.Ping(to, 50*time.Millisecond); err == nil {
			t.Errorf("%s answered", to)
		}
	}
	if err := l.Client.Ping("outside", time.Second); err == nil {
		t.Error("a name was pinged")
	}
	if err := l.Gateway.Down(netns.OutsideIf); err != nil {
		t.Fatal(err)
	}
	if err := l.Client.Ping(netns.OutsideIP4, 2*time.Second); !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EHOSTUNREACH) {
		t.Errorf("behind a gateway without a way: %v, want unreachable", err)
	}
}

func TestBridgeAndMACs(t *testing.T) {
	sw, a, b := newNS(t, "switch"), newNS(t, "a"), newNS(t, "b")
	mac := net.HardwareAddr{2, 0, 0x5e, 0x10, 0, 7}
	for _, err := range []error{
		netns.Link(a, "eth0", sw, "p1", mac),
		netns.Link(b, "eth0", sw, "p2"),
		sw.Bridge("br0", "p1", "p2"),
		a.Addr("eth0", "10.0.0.1/24", "fd00::1/64"),
		b.Addr("eth0", "10.0.0.2/24", "fd00::2/64"),
		a.Ping("10.0.0.2", 2*time.Second),
		a.Ping("fd00::2", 2*time.Second),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if got, err := a.MAC("eth0"); err != nil || got.String() != mac.String() {
		t.Errorf("MAC is %s, %v", got, err)
	}
	if err := netns.Link(a, "eth0", b, "eth1"); err == nil {
		t.Error("an interface was made twice")
	}
}

// A thread that something moved back to the machine's own network must not
// touch it.
func TestHomeIsRefused(t *testing.T) {
	home, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	n := newNS(t, "n")
	if err := n.Do(func() error { return unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) }); err != nil {
		t.Fatal(err)
	}
	_, listen := n.Listen("127.0.0.1:0")
	_, sysctl := n.ReadSysctl("net.ipv4.ip_forward")
	for what, err := range map[string]error{
		"Do":          n.Do(func() error { t.Error("ran at home"); return nil }),
		"Up":          n.Up("lo"),
		"Addr":        n.Addr("lo", "192.0.2.1/32"),
		"Route":       n.Route("192.0.2.0/24", "127.0.0.1"),
		"Bridge":      n.Bridge("br9"),
		"Sysctl":      n.Sysctl("net.ipv4.conf.lo.accept_local", "0"),
		"ReadSysctl":  sysctl,
		"Listen":      listen,
		"Ping":        n.Ping("127.0.0.1", time.Second),
		"Command.Run": n.Command("true").Run(),
	} {
		if !errors.Is(err, netns.ErrHome) {
			t.Errorf("%s: %v, want ErrHome", what, err)
		}
	}
}

// Nor may it go on in somebody else's namespace.
func TestAnotherNamespaceIsRefused(t *testing.T) {
	a, b := newNS(t, "a"), newNS(t, "b")
	if err := a.Do(func() error { return unix.Setns(b.FD(), unix.CLONE_NEWNET) }); err != nil {
		t.Fatal(err)
	}
	if err := a.Do(func() error { t.Error("ran in b"); return nil }); err == nil {
		t.Error("Do in another namespace: no error")
	}
	if err := a.Sysctl("net.ipv4.ip_forward", "1"); err == nil {
		t.Error("Sysctl in another namespace: no error")
	}
	if v, err := b.ReadSysctl("net.ipv4.ip_forward"); err != nil || v != "0" {
		t.Errorf("b: %q, %v", v, err)
	}
}

func TestWithoutRoot(t *testing.T) {
	if os.Getuid() != 0 {
		if err := useLab(); err == nil {
			return // this very test runs where a user may
		}
	}
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), "NETNS_TEST_AS_USER=1")
	c.Dir = "/"
	if os.Getuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || string(out) != "lab works as uid 0\n" {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
}
