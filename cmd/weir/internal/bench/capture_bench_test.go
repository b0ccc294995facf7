package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
	"weir/nft/capture"
	"weir/phases/compile"
	"weir/phases/flow"
)

// BenchmarkCapture is how many short TCP connections a second pass a gateway,
// with both processors busy, while weir observes them: client, servers, gateway
// and reader share the machine.
//
// "none" has no rules, "tracked" connection tracking alone, "rules" the monitor
// step without its capture, "sight" the monitor step with the reader of first
// sights, "bytes" in addition the sysctls and the reader of every connection's
// end, whose events are waited for. They are measured in turns, and the medians
// over the turns are compared.
//
//	conn/s-X      connections a second
//	%sight        how many fewer with sight than with rules: what capture costs
//	%bytes        how many fewer with bytes than with rules
//	%cpu-X        how much more processor time a connection takes than with rules
//	%sight-X      how many fewer than with X: none, tracked
//
// "known" opens connections of one tuple again and again, "fresh" each to a
// destination that was never seen.
func BenchmarkCapture(b *testing.B) {
	for _, f := range families {
		for _, kind := range []string{"known", "fresh"} {
			b.Run(fmt.Sprintf("%s/%s", f, kind), func(b *testing.B) {
				var all []*observed
				for _, name := range []string{"none", "tracked", "rules", "sight", "bytes"} {
					all = append(all, newObserved(b, name))
				}
				rates, cpu := times{}, times{}
				for b.Loop() {
					for range 2 * turns {
						slices.Reverse(all) // nobody is always the first
						for _, x := range all {
							rate, used := x.turn(b, f, kind == "fresh")
							rates[x.name], cpu[x.name] = append(rates[x.name], rate), append(cpu[x.name], used)
						}
					}
				}
				b.ReportMetric(0, "ns/op")
				for _, x := range all {
					b.ReportMetric(rates.of(x.name), "conn/s-"+x.name)
				}
				for _, x := range []string{"sight", "bytes"} {
					b.ReportMetric(loss(rates["rules"], rates[x]), "%"+x)
					b.ReportMetric(-loss(cpu["rules"], cpu[x]), "%cpu-"+x)
					b.ReportMetric(loss(rates["tracked"], rates[x]), "%"+x+"-tracked")
					b.ReportMetric(loss(rates["none"], rates[x]), "%"+x+"-none")
				}
				for _, x := range all {
					x.complete(b)
				}
			})
		}
	}
}

// loss is how many percent less now is than before.
func loss(before, now []float64) float64 { return 100 * (1 - median(now)/median(before)) }

// perTurn is how many connections one turn opens.
const perTurn = 600

// observed is a gateway with what weir observes it by.
type observed struct {
	*exchange
	log   *capture.PacketLog
	conns *capture.Connections
	ended uint64
}

func newObserved(b *testing.B, name string) *observed {
	b.Helper()
	x := &observed{exchange: newExchange(b, name)}
	opt := capture.Options{NetNS: x.Gateway.FD()}
	switch name {
	case "none":
		return x
	case "tracked":
		x.nft(b, tracking)
		return x
	case "bytes":
		_, err := capture.Prepare(context.Background(), opt)
		must(b, err)
	}
	in := input(nil)
	for i := range in.Groups {
		in.Groups[i].Treatment = compile.Open
	}
	rev := compiled(b, in)
	if name == "rules" {
		x.enforce(b, unobserved(rev))
		return x
	}
	x.enforce(b, rev)
	var err error
	x.log, err = capture.OpenPacketLog(opt, 100, 101)
	must(b, err)
	run := []func(context.Context, capture.Sink) error{x.log.Run}
	if name == "bytes" {
		x.conns, err = capture.OpenConnections(opt)
		must(b, err)
		run = append(run, x.conns.Run)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, r := range run {
		all.Go(func() {
			if err := r(ctx, capture.Sink{Record: func(flow.Record) {}}); err != nil {
				b.Error(err)
			}
		})
	}
	b.Cleanup(func() {
		cancel()
		all.Wait()
		x.log.Close()
		if x.conns != nil {
			x.conns.Close()
		}
	})
	return x
}

// unobserved is a revision without its capture.
func unobserved(rev nft.Revision) nft.Revision {
	for i := range rev.Ruleset.Chains {
		c := &rev.Ruleset.Chains[i]
		c.Rules = slices.DeleteFunc(slices.Clone(c.Rules), func(r nft.Rule) bool {
			return slices.Contains(r.Stmts, nft.Stmt(nft.Jump("w_capture")))
		})
	}
	return rev
}

// turn opens connections and returns how many a second passed and how much
// processor time each took. The end of each connection's entry, which the
// kernel would come to some time later, is part of it.
func (x *observed) turn(b *testing.B, f flow.Family, fresh bool) (rate, cpu float64) {
	b.Helper()
	if x.log != nil && fresh {
		x.nft(b, "flush set inet weir w_seen4\nflush set inet weir w_seen6")
	}
	before, start := processor(b), time.Now()
	must(b, x.open(f, perTurn, fresh))
	x.forget(b)
	if x.conns != nil {
		x.ended += perTurn
		for end := time.Now().Add(5 * time.Second); x.conns.Stats().Messages < x.ended; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(end) {
				b.Fatalf("%d of %d ends of connections were told: %+v", x.conns.Stats().Messages, x.ended, x.conns.Stats())
			}
		}
	}
	took := time.Since(start)
	return perTurn / took.Seconds(), (processor(b) - before).Seconds()
}

// complete fails where a reader lost something: a loss would be cheap.
func (x *observed) complete(b *testing.B) {
	b.Helper()
	if x.log == nil {
		return
	}
	if s := x.log.Stats(); s.Lost > 0 || s.Records == 0 {
		b.Errorf("%s: the packet log lost lines or has none: %+v", x.name, s)
	}
	if x.conns != nil {
		if s := x.conns.Stats(); s.Lost > 0 || s.Records == 0 {
			b.Errorf("%s: the connection reader lost events or has none: %+v", x.name, s)
		}
	}
}

// processor is the processor time that this process has used, the kernel's work
// for its packets included.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
