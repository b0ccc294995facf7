package honeypot_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/cmd/weir/internal/honeypot"
	"weir/nft"
	"weir/nft/capture"
	"weir/nft/netns"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/policy"
)

func allow(t testing.TB, services ...string) policy.Policy {
	t.Helper()
	r := policy.Rule{Group: "desks"}
	for _, s := range services {
		v, err := flow.ParseService(s)
		must(t, err)
		r.Services = append(r.Services, v)
	}
	return policy.Policy{Rules: []policy.Rule{r}}
}

func never(t testing.TB, deny compile.Treatment, services ...string) compile.Never {
	return compile.Never{Name: "no-rdp", Services: allow(t, services...).Rules[0].Services, Deny: deny}
}

// From the first trial to the end of the lease: denied at all times, redirected
// only when confirmed and only under the lease.
func TestLife(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.listen(honeypot.Options{})
	alert := l.step(compile.Alert, never(t, compile.Honeypot, "tcp/3389"))
	l.arm(alert, "", time.Minute)
	l.confirm(alert)
	l.reaches("tcp", "3389")
	if strings.Contains(l.nft("list", "ruleset"), "type nat") {
		t.Error("a nat chain before the first step that has a honeypot")
	}

	block := l.step(compile.Reject, never(t, compile.Honeypot, "tcp/3389", "udp/3389"))
	l.arm(block, alert.ID, time.Minute)
	l.lease(time.Minute) // even so
	l.rejected("tcp", "3389")
	l.rejected("tcp", "22")
	l.redirected(0)
	l.nobody()

	l.confirm(block)
	l.captured("3389")
	l.redirected(2)
	l.rejected("tcp", "22")
	l.rejected("udp", "3389")
	l.reaches("tcp", "443")
	l.redirected(2)

	l.lease(100 * time.Millisecond)
	time.Sleep(150 * time.Millisecond)
	l.rejected("tcp", "3389")
	l.redirected(2)
	l.nobody()
}

// blocked puts a step with a honeypot in force, under a lease.
func (l *lab) blocked(lease time.Duration, more ...string) (alert, block nft.Revision) {
	l.t.Helper()
	alert = l.step(compile.Alert)
	block = l.step(compile.Reject, never(l.t, compile.Honeypot, append(more, "tcp/3389")...))
	l.arm(alert, "", time.Minute)
	l.confirm(alert)
	l.arm(block, alert.ID, time.Minute)
	l.confirm(block)
	l.lease(lease)
	return alert, block
}

// A whole group may be sent there, and then everything else of it that is TCP.
func TestGroup(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.listen(honeypot.Options{})
	pot := l.step(compile.Honeypot)
	l.arm(pot, "", time.Minute)
	l.rejected("tcp", "22")
	l.confirm(pot)
	l.rejected("tcp", "22")
	l.lease(time.Minute)
	l.captured("22")
	l.captured("3389")
	l.rejected("udp", "3389")
	l.reaches("tcp", "443")
}

// While a trial runs nothing is redirected, although the confirmed step
// redirects and the lease holds: what the trial allows passes, what it denies is
// rejected. After the lapse the confirmed step redirects again.
func TestTrialOverRedirect(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.listen(honeypot.Options{})
	_, block := l.blocked(time.Minute)
	l.captured("3389")
	wider := l.step(compile.Alert)
	l.arm(wider, block.ID, 2*time.Second)
	l.reaches("tcp", "3389")
	l.nobody()
	time.Sleep(2100 * time.Millisecond)
	l.captured("3389")

	narrower := l.step(compile.Honeypot)
	l.arm(narrower, block.ID, 2*time.Second)
	l.rejected("tcp", "3389")
	l.rejected("tcp", "22")
	l.redirected(4)
	l.nobody()
	time.Sleep(2100 * time.Millisecond)
	l.captured("3389")

	l.arm(wider, block.ID, time.Minute)
	l.confirm(wider)
	l.reaches("tcp", "3389")
	l.nobody()
}

// An exception is asked before the redirect, one group put back to alert too.
func TestOpeningsGoFirst(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := newLab(t)
	l.listen(honeypot.Options{})
	l.blocked(time.Minute)
	l.captured("3389")
	for i, pair := range [][2]string{{"10.20.16.10/32", "198.51.100.7/32"}, {"fd20:0:0:16::10/128", "2001:db8:1::7/128"}} {
		must(t, l.k.AddException(ctx, nft.Exception{ID: fmt.Sprintf("e%d", i), From: netip.MustParsePrefix(pair[0]), To: netip.MustParsePrefix(pair[1]),
			Service: flow.Single(flow.TCP, 3389), For: 2 * time.Second}))
	}
	l.reaches("tcp", "3389")
	time.Sleep(2100 * time.Millisecond)
	l.captured("3389")
	must(t, l.k.Back(ctx, "desks", true, "back"))
	l.reaches("tcp", "3389")
	must(t, l.k.Back(ctx, "desks", false, "forth"))
	l.captured("3389")
}

// stubborn is a honeypot's process that neither reads nor closes: only the
// kernel can end what it has. It has no part in what the tests below change.
func (l *lab) stubborn() {
	l.t.Helper()
	must(l.t, l.Gateway.EchoTCP(net.JoinHostPort(netns.InsideGW4, "2323"), net.JoinHostPort(netns.InsideGW6, "2323")))
}

// held opens a connection of each family to the honeypot.
func (l *lab) held() []net.Conn {
	l.t.Helper()
	var out []net.Conn
	for _, a := range outside {
		c, err := l.Client.Dial("tcp", net.JoinHostPort(a, "3389"), time.Second)
		must(l.t, err)
		l.t.Cleanup(func() { c.Close() })
		must(l.t, netns.Exchange(c, time.Second))
		out = append(out, c)
	}
	return out
}

// cut wants that the next packet of each connection ends it.
func (l *lab) cut(list []net.Conn) {
	l.t.Helper()
	for _, c := range list {
		if err := netns.Exchange(c, time.Second); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			l.t.Errorf("%s: %v, want a reset", c.RemoteAddr(), err)
		}
	}
}

// Captured connections live as long as the lease, and no longer: with nobody
// alive who could end them, the input gate does. A refresh carries them over.
func TestGate(t *testing.T) {
	t.Parallel()
	t.Run("lease", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		l.stubborn()
		l.blocked(500 * time.Millisecond)
		list := l.held()
		l.lease(1200 * time.Millisecond)
		time.Sleep(700 * time.Millisecond)
		for _, c := range list {
			must(t, netns.Exchange(c, time.Second))
		}
		time.Sleep(600 * time.Millisecond)
		l.cut(list)
		l.rejected("tcp", "3389")
		if text := l.nft("list", "counter", "inet", "weir", "w_hpcut"); strings.Contains(text, "packets 0") {
			t.Errorf("nothing was counted: %s", text)
		}
	})
	t.Run("rollback", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		l.stubborn()
		alert, _ := l.blocked(time.Minute)
		list := l.held()
		raw, err := l.k.EncodeRollback(nft.Rollback{ID: alert.ID, Entry: alert.Entry, Hooks: []string{"f", "n"}, Tx: "back", Kind: nft.TxRollback})
		must(t, err)
		must(t, l.k.SendRaw(context.Background(), raw))
		l.cut(list)
		l.reaches("tcp", "3389")
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		l.stubborn()
		alert, _ := l.blocked(time.Minute)
		list := l.held()
		l.nftText(nft.Rollback{ID: alert.ID, Entry: alert.Entry, Hooks: []string{"f", "n"}, Tx: "back", Kind: nft.TxHold}.Text())
		l.cut(list)
		l.reaches("tcp", "3389")
	})
	t.Run("open", func(t *testing.T) { // the last but one rung of the ladder
		t.Parallel()
		l := newLab(t)
		l.stubborn()
		l.blocked(time.Minute)
		list := l.held()
		rung, err := l.k.Ladder(context.Background(), nil)
		if rung != "open" {
			t.Fatalf("%s: %v", rung, err)
		}
		l.cut(list)
		l.reaches("tcp", "3389")
	})
	t.Run("lapse", func(t *testing.T) { // of a trial over the step, and then of the lease
		t.Parallel()
		l := newLab(t)
		l.stubborn()
		_, block := l.blocked(1500 * time.Millisecond)
		list := l.held()
		wider := l.step(compile.Reject)
		l.arm(wider, block.ID, 500*time.Millisecond)
		time.Sleep(1600 * time.Millisecond)
		l.cut(list)
		l.rejected("tcp", "3389")
	})
}

// What another table translates stays as it is: masquerading outbound, a port
// forwarded to inside, and an outbound flow redirected to this machine.
func TestOtherTables(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.listen(honeypot.Options{})
	l.nftText(`table inet operator {
  chain pre { type nat hook prerouting priority dstnat; policy accept;
    iifname "wan0" tcp dport 8022 meta nfproto ipv4 dnat ip to 10.20.16.10:22
    iifname "lan0" ip daddr 198.51.100.7 tcp dport 23 redirect to :8023
    iifname "lan0" ip6 daddr 2001:db8:1::7 tcp dport 23 redirect to :8023
  }
  chain post { type nat hook postrouting priority srcnat; policy accept; oifname "wan0" masquerade; }
}`)
	must(t, l.Gateway.EchoTCP(net.JoinHostPort(netns.InsideGW4, "8023"), net.JoinHostPort(netns.InsideGW6, "8023")))
	must(t, l.Client.EchoTCP(net.JoinHostPort(netns.ClientIP4, "22")))
	for _, a := range []string{netns.InsideGW4, netns.InsideGW6, netns.OutsideGW4, netns.OutsideGW6} {
		must(t, l.Gateway.EchoTCP(net.JoinHostPort(a, "3389")))
	}
	from := make(chan string, 10)
	for _, a := range outside {
		must(t, l.Outside.ServeTCP(net.JoinHostPort(a, "8080"), func(c net.Conn) {
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			from <- host
		}))
	}
	check := func(when string) {
		t.Helper()
		for i, a := range outside {
			c, err := l.Client.Dial("tcp", net.JoinHostPort(a, "8080"), time.Second)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			if got, want := <-from, []string{netns.OutsideGW4, netns.OutsideGW6}[i]; got != want {
				t.Errorf("%s: %s came from %s, want %s", when, a, got, want)
			}
			c.Close()
		}
		if err := l.Outside.Try("tcp", net.JoinHostPort(netns.OutsideGW4, "8022"), time.Second); err != nil {
			t.Errorf("%s: the forwarded port: %v", when, err)
		}
		l.reaches("tcp", "23") // the operator's own redirect
		for _, a := range []string{netns.InsideGW4, netns.InsideGW6, netns.OutsideGW4, netns.OutsideGW6} {
			if err := l.Client.Try("tcp", net.JoinHostPort(a, "3389"), time.Second); err != nil {
				t.Errorf("%s: this machine's own service: %v", when, err)
			}
		}
	}
	check("before weir")
	l.policy = allow(t, "tcp/443", "tcp/8080")
	_, block := l.blocked(time.Minute, "tcp/23")
	// A connection that lives through the rollback.
	old, err := l.Client.Dial("tcp", net.JoinHostPort(netns.OutsideIP4, "443"), time.Second)
	must(t, err)
	defer old.Close()
	check("under the redirect")
	l.captured("3389")
	l.nobody()

	// Rolled back: only what was captured leaves the connection table.
	held, err := l.Client.Dial("tcp", net.JoinHostPort(netns.OutsideIP4, "3389"), time.Second)
	must(t, err)
	defer held.Close()
	must(t, l.k.Rollback(context.Background(), nft.Rollback{Hooks: []string{"f", "n"}, Tx: "off", Kind: nft.TxRollback}))
	before := l.entries()
	var n int
	must(t, l.Gateway.Do(func() error {
		r, err := honeypot.Find(2323)
		if err == nil {
			n, err = r.End(context.Background(), capture.Options{})
		}
		return err
	}))
	after := l.entries()
	gone := 0
	for k := range before {
		if strings.Contains(k, " 2323 ") {
			gone++
			if after[k] {
				t.Errorf("still there: %s", k)
			}
		} else if !after[k] {
			t.Errorf("taken out: %s", k)
		}
	}
	if gone == 0 || n != gone {
		t.Errorf("%d entries deleted, %d were captured: %v", n, gone, before)
	}
	must(t, netns.Exchange(old, time.Second))
	check("after the rollback of " + block.ID)
}

// entries lists the connection table: reply tuple's source and what was asked.
func (l *lab) entries() map[string]bool {
	l.t.Helper()
	out := map[string]bool{}
	must(l.t, capture.Dump(context.Background(), capture.Options{NetNS: l.Gateway.FD()}, func(r flow.Record) error {
		out[fmt.Sprint(r.Client, " ", r.SrcPort, " ", r.Server, " ", r.Port, " ", r.Asked)] = true
		return nil
	}))
	return out
}

// On a host, and for what a gateway sends itself, the honeypot is a reject.
func TestOutput(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.listen(honeypot.Options{})
	rev, err := compile.Compile(compile.Input{
		Scope:  compile.Scope{Hooks: []string{"output"}, Inside: prefixes("10.20.0.0/16", "fd20::/48"), OutsideIfaces: []string{netns.OutsideIf}},
		Groups: []compile.Group{{Name: "desks", Self: true, Treatment: compile.Honeypot}},
		Policy: allow(t, "tcp/443"),
		Never:  []compile.Never{never(t, compile.Honeypot, "tcp/3389")},
	})
	must(t, err)
	if _, ok := rev.Entry[nft.HookNAT]; ok {
		t.Error("a nat entry on a host")
	}
	must(t, l.k.Load(context.Background(), rev))
	l.arm(rev, "", time.Minute)
	l.confirm(rev)
	for _, a := range outside {
		must(t, l.Gateway.Try("tcp", net.JoinHostPort(a, "443"), time.Second))
		if err := l.Gateway.Try("tcp", net.JoinHostPort(a, "3389"), time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want a refusal", a, err)
		}
	}
	l.nobody()
}

// The switches of a lease under new connections: each is taken or refused,
// none hangs and none gets through.
func TestLeaseUnderLoad(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.listen(honeypot.Options{PerSource: 1000, Total: 1000, Wait: time.Millisecond})
	go func() {
		for range l.visits {
		}
	}()
	l.blocked(time.Minute)
	var wait sync.WaitGroup
	stop := make(chan struct{})
	taken, refused := make([]int, 2), make([]int, 2)
	for i, a := range outside {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				at := time.Now()
				c, err := l.Client.Dial("tcp", net.JoinHostPort(a, "3389"), time.Second)
				switch {
				case err == nil:
					taken[i]++
					c.SetDeadline(time.Now().Add(time.Second))
					if n, _ := c.Read(make([]byte, 1)); n > 0 {
						t.Error("somebody answered")
					}
					c.Close()
				case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET):
					refused[i]++
				default:
					t.Errorf("%s: %v after %v", a, err, time.Since(at))
				}
			}
		})
	}
	for i := range 60 {
		l.lease(time.Duration(i%2) * time.Minute)
		time.Sleep(10 * time.Millisecond)
	}
	close(stop)
	wait.Wait()
	for i := range outside {
		if taken[i] == 0 || refused[i] == 0 {
			t.Errorf("%s: %d taken, %d refused, want both", outside[i], taken[i], refused[i])
		}
	}
}
