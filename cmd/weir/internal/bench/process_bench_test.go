package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/kernel"
	"weir/nft/netns"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/store"
)

// built is the folder of the program, once it was built.
var built string

// program builds weir once.
var program = sync.OnceValues(func() (bin string, err error) {
	if built, err = os.MkdirTemp("", "weir-bench"); err != nil {
		return "", err
	}
	bin = filepath.Join(built, "weir")
	out, err := exec.Command("go", "build", "-o", bin, "weir/cmd/weir").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("cannot build weir: %w\n%s", err, out)
	}
	return bin, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// office is a gateway on which a plan was rolled out to its block step.
type office struct {
	*netns.Lab
	b      *testing.B
	dir    string
	bin    string
	daemon *netns.Cmd
	kernel *kernel.Kernel
	block  string // revision of the block step
}

const officePlan = `apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: bench, owner: netsec@example.net}
timezone: UTC
environment: operational
scope:
  hooks: [forward]
  inside: {prefixes: [10.20.0.0/16, "fd20::/48"]}
  outside: {interfaces: [wan0]}
groups:
%s
monitor: {minimum: 1s}
enforce:
  rulesBy: [endpoint, destination, service]
  alert: {minimum: 1s, quiet: 0s}
  waves:
    - {name: all, groups: [%s]}
  leaveOpen: [unassigned]
  deny: drop
  established: cut
  soak: 0s
watch: {report: "0 7 * * MON"}
unblock: {longest: 24h, widest4: 24, widest6: 64}
confirmWithin: 5m
`

// newOffice rolls a plan out, with the program and its daemon, to a block step
// with so many exact flows, which are put into the evidence before the daemon
// starts.
func newOffice(b *testing.B, flows int) *office {
	b.Helper()
	o := &office{Lab: newLab(b), b: b, dir: b.TempDir()}
	var err error
	o.bin, err = program()
	must(b, err)
	o.observe(flows)
	var groups, names []string
	for g := range groupCount {
		m := members(g)
		groups = append(groups, fmt.Sprintf("  %s: {members: [%s, \"%s\"], allow: observed, owner: desk@example.net}", groupName(g), m[0], m[1]))
		names = append(names, groupName(g))
	}
	plan := filepath.Join(o.dir, "plan.yaml")
	must(b, os.WriteFile(plan, fmt.Appendf(nil, officePlan, strings.Join(groups, "\n"), strings.Join(names, ", ")), 0o600))
	o.start()
	o.weir("apply", plan)
	for i, step := range []string{"monitor", "enforce/alert", "enforce/block:all"} {
		if step == "enforce/block:all" {
			o.weir("unblock", "--drill")
		}
		for tries := 0; ; tries++ {
			o.speak(100*i + tries)
			out, err := o.try("advance", "--yes")
			if err == nil {
				break
			}
			if tries == 20 {
				b.Fatalf("%s cannot be armed:\n%s", step, out)
			}
			time.Sleep(200 * time.Millisecond)
		}
		if out := o.weir("confirm"); !strings.Contains(out, "confirmed "+step+"\n") {
			b.Fatal(out)
		}
	}
	o.kernel, err = kernel.Open(kernel.Options{NetNS: o.Gateway.FD()})
	must(b, err)
	b.Cleanup(func() { o.kernel.Close() })
	look, err := o.kernel.Look(context.Background())
	must(b, err)
	o.block, _ = nft.One(look.Stable)
	return o
}

// observe writes the evidence of flows that were seen and answered.
func (o *office) observe(flows int) {
	s, err := store.OpenEvidence(filepath.Join(o.dir, "evidence.db"))
	must(o.b, err)
	defer s.Close()
	e := monitor.New(time.UTC)
	now := time.Now()
	for _, f := range families {
		for _, t := range tuples(f)[:flows/2] {
			e.Add(flow.Record{Flow: flow.Flow{Client: t.from, Server: t.to, Proto: t.proto, Port: t.port},
				First: now.Add(-time.Hour), Last: now.Add(-time.Minute), BytesOut: 1000, BytesIn: 1000, New: true, Answered: true, Closed: true, Source: "kernel"})
		}
	}
	must(o.b, s.Append(e))
}

// speak makes a line in the log: without one, silence proves nothing to the
// gates. What outside hosts open is not judged.
func (o *office) speak(n int) {
	c, err := o.Outside.Dial("udp", fmt.Sprintf("%s:%d", netns.ClientIP4, 10000+n), time.Second)
	must(o.b, err)
	defer c.Close()
	_, err = c.Write([]byte("hello"))
	must(o.b, err)
}

func (o *office) command(args ...string) *netns.Cmd {
	c := o.Gateway.Command(o.bin, args...)
	c.Env = append(os.Environ(), "WEIR_SOCKET="+filepath.Join(o.dir, "weir.sock"), "WEIR_STATE="+o.dir)
	return c
}

func (o *office) start() {
	log, err := os.Create(filepath.Join(o.dir, "daemon.log"))
	must(o.b, err)
	defer log.Close()
	o.daemon = o.command("daemon")
	o.daemon.Stdout, o.daemon.Stderr = log, log
	must(o.b, o.daemon.Start())
	o.b.Cleanup(o.stop)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := o.try("status")
		if err == nil && strings.Contains(out, "no plan") {
			return
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			o.b.Fatalf("the daemon does not answer: %s\n%s", out, text)
		}
	}
}

func (o *office) stop() {
	if o.daemon != nil {
		o.daemon.Process.Kill()
		o.daemon.Wait()
		o.daemon = nil
	}
}

func (o *office) try(args ...string) (string, error) {
	out, err := o.command(args...).CombinedOutput()
	return string(out), err
}

func (o *office) weir(args ...string) string {
	o.b.Helper()
	out, err := o.try(args...)
	if err != nil {
		o.b.Fatalf("weir %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// again puts the block step back in force.
func (o *office) again(n int) {
	must(o.b, o.kernel.Rollback(context.Background(), nft.Rollback{ID: o.block, Entry: map[string]string{"f": o.block + "_f"},
		Hooks: []string{"f"}, Tx: fmt.Sprintf("again%d", n), Kind: nft.TxRollback}))
}

// BenchmarkProcess is what a person waits for, with 50 groups in block:
//
//	rollback  "weir rollback" from starting the process to its end, with the
//	          daemon and with the daemon dead
//	unblock   from starting "weir unblock" until the first packet of the flow
//	          passes, which is tried each millisecond
func BenchmarkProcess(b *testing.B) {
	for _, flows := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("elements=%d/groups=%d", flows, groupCount), func(b *testing.B) {
			o := newOffice(b, flows)
			b.Run("unblock", o.unblock)
			b.Run("rollback/daemon=alive", o.rollback)
			o.stop()
			b.Run("rollback/daemon=dead", o.rollback)
		})
	}
}

func (o *office) rollback(b *testing.B) {
	o.b = b
	var took []time.Duration
	for b.Loop() {
		for range 20 {
			start := time.Now()
			out := o.weir("rollback")
			took = append(took, time.Since(start))
			if !strings.Contains(out, "rolled back to enforce/alert") {
				b.Fatal(out)
			}
			o.again(len(took))
		}
	}
	report(b, took)
}

func (o *office) unblock(b *testing.B) {
	o.b = b
	const port = "9999"
	var took []time.Duration
	ways := [][2]string{{netns.ClientIP4, netns.OutsideIP4}, {netns.ClientIP6, netns.OutsideIP6}}
	var probes []*probe
	for _, w := range ways {
		to := net.JoinHostPort(w[1], port)
		if err := o.Outside.EchoUDP(to); err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			b.Fatal(err)
		}
		probes = append(probes, newProbe(b, o.Lab, to))
	}
	for b.Loop() {
		for i, w := range ways {
			for range 5 {
				if probes[i].passes(20 * time.Millisecond) {
					b.Fatal("the flow passes before it is unblocked")
				}
				start := time.Now()
				done := make(chan string, 1)
				go func() {
					out, err := o.try("unblock", "--from", w[0], "--to", w[1], "--service", "udp/"+port, "--for", "1m", "--reason", "bench")
					if err != nil {
						out = "failed: " + out
					}
					done <- out
				}()
				ok := probes[i].passes(10 * time.Second)
				took = append(took, time.Since(start))
				out := <-done
				words := strings.Fields(out)
				if !ok || len(words) == 0 || strings.HasPrefix(out, "failed") {
					b.Fatalf("the flow passes: %t\n%s", ok, out)
				}
				o.weir("unblock", "--end", words[len(words)-1])
			}
		}
	}
	report(b, took)
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/p50")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms/max")
}

// probe is a UDP socket of the client that talks to an echo server outside.
type probe struct{ net.Conn }

func newProbe(b *testing.B, lab *netns.Lab, to string) *probe {
	c, err := lab.Client.Dial("udp", to, time.Second)
	must(b, err)
	b.Cleanup(func() { c.Close() })
	return &probe{c}
}

// passes sends until an answer comes, for so long at most.
func (p *probe) passes(patience time.Duration) bool {
	buf := make([]byte, 64)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		p.SetReadDeadline(time.Now()) // forget what came before
		for n, err := p.Read(buf); err == nil && n > 0; {
			n, err = p.Read(buf)
		}
		if _, err := p.Write([]byte("may I?")); err != nil {
			continue // an ICMP answer to an earlier packet
		}
		p.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := p.Read(buf); err == nil {
			return true
		}
	}
	return false
}
