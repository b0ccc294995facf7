package honeypot_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/cmd/weir/internal/honeypot"
	"weir/nft"
	"weir/nft/kernel"
	"weir/nft/netns"
	"weir/phases/compile"
	"weir/phases/policy"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lab is a client, a gateway and an outside host, with weir's table in the
// gateway and a listener that may be opened.
type lab struct {
	*netns.Lab
	t      testing.TB
	k      *kernel.Kernel
	visits chan honeypot.Visit
	policy policy.Policy
	tx     int
}

var outside = []string{netns.OutsideIP4, netns.OutsideIP6}

func newLab(t testing.TB) *lab {
	t.Helper()
	l, err := netns.NewLab()
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	k, err := kernel.Open(kernel.Options{NetNS: l.Gateway.FD()})
	must(t, err)
	t.Cleanup(func() { must(t, k.Close()) })
	for _, p := range []string{"22", "23", "80", "443", "3389"} {
		must(t, l.Outside.EchoTCP(net.JoinHostPort(netns.OutsideIP4, p), net.JoinHostPort(netns.OutsideIP6, p)))
	}
	must(t, l.Outside.EchoUDP(net.JoinHostPort(netns.OutsideIP4, "3389"), net.JoinHostPort(netns.OutsideIP6, "3389")))
	return &lab{Lab: l, t: t, k: k, visits: make(chan honeypot.Visit, 100), policy: allow(t, "tcp/443")}
}

// listen opens the honeypot in the gateway.
func (l *lab) listen(opt honeypot.Options) *honeypot.Listener {
	l.t.Helper()
	if opt.Port == 0 {
		opt.Port = 2323
	}
	opt.Visit = func(v honeypot.Visit) { l.visits <- v }
	var h *honeypot.Listener
	must(l.t, l.Gateway.Do(func() (err error) {
		h, err = honeypot.Listen(opt)
		return err
	}))
	l.t.Cleanup(func() { must(l.t, h.Close()) })
	return h
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// step is a compiled step: the desks' treatment, and what is never allowed.
func (l *lab) step(treat compile.Treatment, never ...compile.Never) nft.Revision {
	l.t.Helper()
	rev, err := compile.Compile(compile.Input{
		Scope: compile.Scope{Hooks: []string{"forward"}, Inside: prefixes("10.20.0.0/16", "fd20::/48"),
			OutsideIfaces: []string{netns.OutsideIf}, Inbound: "observe"},
		Groups: []compile.Group{{Name: "desks", Members: prefixes("10.20.16.0/24", "fd20:0:0:16::/64"), Treatment: treat}},
		Policy: l.policy,
		Never:  never,
	})
	must(l.t, err)
	must(l.t, l.k.Load(context.Background(), rev))
	return rev
}

func (l *lab) next() string {
	l.tx++
	return "t" + strings.Repeat("i", l.tx)
}

func (l *lab) arm(rev nft.Revision, over string, lease time.Duration) {
	l.t.Helper()
	must(l.t, l.k.Arm(context.Background(), nft.Arm{ID: rev.ID, Entry: rev.Entry, Tx: l.next(), Lease: lease, Over: over}))
}

func (l *lab) confirm(rev nft.Revision) {
	l.t.Helper()
	must(l.t, l.k.Confirm(context.Background(), nft.Confirm{ID: rev.ID, Entry: rev.Entry, Tx: l.next()}))
}

// lease sets the honeypot's time.
func (l *lab) lease(d time.Duration) {
	l.t.Helper()
	must(l.t, l.k.Honeypot(context.Background(), d))
}

// reaches wants an answer from the outside host itself.
func (l *lab) reaches(network, port string) {
	l.t.Helper()
	for _, a := range outside {
		if err := l.Client.Try(network, net.JoinHostPort(a, port), time.Second); err != nil {
			l.t.Errorf("%s %s %s does not answer: %v", a, network, port, err)
		}
	}
}

// rejected wants a refusal, at once.
func (l *lab) rejected(network, port string) {
	l.t.Helper()
	for _, a := range outside {
		at := time.Now()
		err := l.Client.Try(network, net.JoinHostPort(a, port), time.Second)
		if err == nil || time.Since(at) > 700*time.Millisecond {
			l.t.Errorf("%s %s %s: %v after %v, want a refusal", a, network, port, err, time.Since(at))
		}
	}
}

// captured connects, says something and wants the honeypot to have heard it.
func (l *lab) captured(port string) {
	l.t.Helper()
	for _, a := range outside {
		c, err := l.Client.Dial("tcp", net.JoinHostPort(a, port), time.Second)
		if err != nil {
			l.t.Errorf("%s tcp %s: %v, want the honeypot", a, port, err)
			continue
		}
		_, err = c.Write([]byte("hello from " + a))
		must(l.t, err)
		must(l.t, c.(*net.TCPConn).CloseWrite())
		v := l.visit()
		if want := netip.MustParseAddrPort(net.JoinHostPort(a, port)); v.Asked != want || v.Client != netip.MustParseAddrPort(c.LocalAddr().String()) || v.Said() != "hello from "+a {
			l.t.Errorf("visit %+v, want %s from %s", v, want, c.LocalAddr())
		}
		c.Close()
	}
}

func (l *lab) visit() honeypot.Visit {
	l.t.Helper()
	select {
	case v := <-l.visits:
		return v
	case <-time.After(2 * time.Second):
		l.t.Fatal("nobody came to the honeypot")
	}
	return honeypot.Visit{}
}

// redirected wants so many connections redirected since the beginning, and all
// of them arrived: what the gate resets looks like a reject from outside.
func (l *lab) redirected(want uint64) {
	l.t.Helper()
	all, err := l.k.Counters(context.Background())
	must(l.t, err)
	if to, in := all["w_hpto"].Packets, all["w_hpin"].Packets; to != want || in != want {
		l.t.Errorf("%d connections redirected, %d arrived, want %d", to, in, want)
	}
}

// nobody wants that no visit was told of.
func (l *lab) nobody() {
	l.t.Helper()
	select {
	case v := <-l.visits:
		l.t.Errorf("the honeypot had a visitor: %+v", v)
	default:
	}
}

// nft runs the real nft in the gateway.
func (l *lab) nft(args ...string) string {
	l.t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		l.t.Fatal("these tests need nft in PATH; install it with: apt-get install nftables")
	}
	out, err := l.Gateway.Command("nft", args...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("nft %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// nftText runs text with the real nft in the gateway.
func (l *lab) nftText(text string) {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "rules.nft")
	must(l.t, os.WriteFile(file, []byte(text), 0o600))
	l.nft("-f", file)
}
