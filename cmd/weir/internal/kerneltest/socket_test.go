package kerneltest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"weir/nft"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/policy"
)

// peers gives the far ends addresses to speak with: a desk inside and echo
// servers outside.
func (g *gateway) peers(t *testing.T, ports ...string) {
	t.Helper()
	must(t, g.far["lan0"].Addr("far0", "10.20.1.9/32", "fd20:0:0:1::9/128"))
	must(t, g.far["wan0"].Addr("far0", "198.51.100.9/32", "2001:db8:1::9/128"))
	must(t, g.far["lan0"].Route("default4", "172.16.0.1"))
	must(t, g.far["lan0"].Route("default6", "fd99::1"))
	must(t, g.far["wan0"].Route("default4", "172.16.2.1"))
	must(t, g.far["wan0"].Route("default6", "fd99:0:0:2::1"))
	for _, p := range ports {
		must(t, g.far["wan0"].EchoTCP("198.51.100.9:"+p, "[2001:db8:1::9]:"+p))
	}
}

func ends(v4 bool, port string) string {
	if v4 {
		return "198.51.100.9:" + port + "@10.20.1.9:0"
	}
	return "[2001:db8:1::9]:" + port + "@[fd20:0:0:1::9]:0"
}

// desks is a step for one group that may use port 1001 outside.
func desks(treatment compile.Treatment) compile.Input {
	return compile.Input{
		Scope:  compile.Scope{Hooks: []string{"forward"}, Inside: prefixes("10.20.0.0/16", "fd20::/48"), OutsideIfaces: []string{"wan0"}, Inbound: "observe"},
		Groups: []compile.Group{{Name: "desks", Members: prefixes("10.20.1.0/24", "fd20:0:0:1::/64"), Treatment: treatment}},
		Policy: policy.Policy{Rules: []policy.Rule{{Group: "desks", Services: []flow.Service{flow.Single(flow.TCP, 1001)}}}},
	}
}

func (g *gateway) step(t *testing.T, in compile.Input) {
	t.Helper()
	rev, err := compile.Compile(in)
	must(t, err)
	g.stable(rev)
}

func exchange(c net.Conn, d time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}

// TestDeniedConnectionStallsAndResumes: what is denied in mid-connection is
// dropped, never reset, so a rollback brings the same sockets back.
func TestDeniedConnectionStallsAndResumes(t *testing.T) {
	for _, treatment := range []compile.Treatment{compile.Reject, compile.Drop, compile.Honeypot} {
		g := newGateway(t)
		g.peers(t, "1001", "1002")
		for _, v4 := range []bool{true, false} {
			off := desks(compile.Open)
			off.Off = true
			g.step(t, off)
			good, err := g.far["lan0"].Dial("tcp", ends(v4, "1001"), time.Second)
			must(t, err)
			defer good.Close()
			bad, err := g.far["lan0"].Dial("tcp", ends(v4, "1002"), time.Second)
			must(t, err)
			defer bad.Close()
			must(t, exchange(good, time.Second))
			must(t, exchange(bad, time.Second))

			g.step(t, desks(treatment))
			if err := exchange(good, time.Second); err != nil {
				t.Errorf("%s, v4 %t: the allowed connection: %v", treatment, v4, err)
			}
			if err := exchange(bad, 150*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, v4 %t: the denied connection: %v, want a stall", treatment, v4, err)
			}
			_, err = g.far["lan0"].Dial("tcp", ends(v4, "1002"), 150*time.Millisecond)
			if refused := errors.Is(err, syscall.ECONNREFUSED); err == nil || refused != (treatment != compile.Drop) {
				t.Errorf("%s, v4 %t: a new connection: %v", treatment, v4, err)
			}

			g.step(t, desks(compile.Alert))
			must(t, bad.SetDeadline(time.Now().Add(5*time.Second)))
			if _, err := io.ReadFull(bad, make([]byte, 4)); err != nil {
				t.Errorf("%s, v4 %t: the same socket after a rollback: %v", treatment, v4, err)
			}
		}
	}
}

// TestHoneypot: under the lease a denied TCP connection ends in the honeypot,
// an allowed one does not; without it the connection is refused; what was
// captured ends with the lease.
func TestHoneypot(t *testing.T) {
	g := newGateway(t)
	g.peers(t, "1001", "3389")
	caught := func(c net.Conn) { io.WriteString(c, "pot!"); io.Copy(c, c) }
	must(t, g.ns.ServeTCP("172.16.0.1:2323", caught))
	must(t, g.ns.ServeTCP("[fd99::1]:2323", caught))
	ctx := context.Background()
	for _, c := range []struct {
		name string
		in   compile.Input
	}{
		{"group", desks(compile.Honeypot)},
		{"never", func() compile.Input {
			in := desks(compile.Reject)
			in.Never = []compile.Never{{Name: "rdp", Services: []flow.Service{flow.Single(flow.TCP, 3389)}, Deny: compile.Honeypot}}
			in.Scope.OutsideIfaces, in.Scope.InsideIfaces, in.Scope.Inside = []string{"wan0"}, []string{"lan0"}, nil
			return in
		}()},
	} {
		g.step(t, c.in)
		for _, v4 := range []bool{true, false} {
			dial := func(port string) (net.Conn, error) { return g.far["lan0"].Dial("tcp", ends(v4, port), time.Second) }
			must(t, g.k.Honeypot(ctx, 0))
			if _, err := dial("3389"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s, v4 %t: without the lease: %v, want a refusal", c.name, v4, err)
			}
			must(t, g.k.Honeypot(ctx, time.Minute))
			pot, err := dial("3389")
			must(t, err)
			defer pot.Close()
			word := make([]byte, 4)
			must(t, pot.SetDeadline(time.Now().Add(time.Second)))
			if _, err := io.ReadFull(pot, word); err != nil || string(word) != "pot!" {
				t.Errorf("%s, v4 %t: under the lease: %q %v", c.name, v4, word, err)
			}
			if a := pot.RemoteAddr().String(); a != ends(v4, "3389")[:len(a)] {
				t.Errorf("the client sees %s", a)
			}
			allowed, err := dial("1001")
			must(t, err)
			if err := exchange(allowed, time.Second); err != nil {
				t.Errorf("%s, v4 %t: an allowed connection: %v", c.name, v4, err)
			}
			allowed.Close()
			must(t, g.k.Honeypot(ctx, 0))
			err = exchange(pot, time.Second)
			if err == nil {
				_, err = pot.Read(word)
			}
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("%s, v4 %t: after the lease: %v, want a reset", c.name, v4, err)
			}
		}
	}
}

// TestNothingIsRedirectedDuringATrial: nat holds accept while a trial runs, so
// a trial may widen past what stable redirects.
func TestNothingIsRedirectedDuringATrial(t *testing.T) {
	g := newGateway(t)
	g.peers(t, "1001", "3389")
	must(t, g.ns.ServeTCP("0.0.0.0:2323", func(c net.Conn) { io.WriteString(c, "pot!") }))
	ctx := context.Background()
	stable, err := compile.Compile(desks(compile.Honeypot))
	must(t, err)
	wider := desks(compile.Honeypot)
	wider.Policy.Rules[0].Services = append(slices.Clone(wider.Policy.Rules[0].Services), flow.Single(flow.TCP, 3389))
	trial, err := compile.Compile(wider)
	must(t, err)
	g.stable(stable)
	must(t, g.k.Load(ctx, trial))
	must(t, g.k.Honeypot(ctx, time.Minute))
	must(t, g.k.Arm(ctx, nft.Arm{ID: trial.ID, Entry: trial.Entry, Tx: "arm", Lease: time.Minute, Over: stable.ID}))
	c, err := g.far["lan0"].Dial("tcp", ends(true, "3389"), time.Second)
	must(t, err)
	defer c.Close()
	if err := exchange(c, time.Second); err != nil {
		t.Errorf("what the trial allows goes elsewhere: %v", err)
	}
}
