package kernel_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/netns"
)

// exact is a revision with n exact tuples, half IPv4 and half IPv6, spread over
// some groups, each behind its own chain.
func exact(t testing.TB, id string, n, groups int) nft.Revision {
	return content(t, id, n, groups, false)
}

// ranged is a revision with n disjoint ranges of destinations and ports.
func ranged(t testing.TB, id string, n, groups int) nft.Revision {
	return content(t, id, n, groups, true)
}

func content(t testing.TB, id string, n, groups int, ranges bool) nft.Revision {
	rs := nft.Ruleset{Family: "inet", Table: nft.TableName}
	top := nft.Chain{Name: id + "_f"}
	at := 0
	for g := range groups {
		chain := nft.Chain{Name: fmt.Sprintf("%s_g_%d", id, g)}
		for _, six := range []bool{false, true} {
			s := nft.Set{Name: fmt.Sprintf("x%v_%d_%s", map[bool]int{false: 4, true: 6}[six], g, id[7:]), Key: []nft.Type{nft.IPv4Addr, nft.InetProto, nft.InetService}, Interval: ranges}
			field := nft.IPDaddr
			if six {
				s.Key[0], field = nft.IPv6Addr, nft.IP6Daddr
			}
			per := n / groups / 2
			if per == 0 && at < n {
				per = 1 // fewer elements than sets: the first sets get one
			}
			for range per {
				s.Elements = append(s.Elements, tuple(at, six, ranges))
				at++
			}
			if !ranges {
				s.Size = uint32(len(s.Elements)*5/4 + 1)
			}
			rs.Sets = append(rs.Sets, s)
			chain.Rules = append(chain.Rules, nft.R(nft.In(s.Name, field, nft.L4Proto, nft.ThDport), nft.Count{Name: "w_c_desks_allowed"}, nft.Accept()))
		}
		rs.Chains = append(rs.Chains, chain)
		top.Rules = append(top.Rules, nft.R(nft.Jump(chain.Name)))
	}
	top.Rules = append(top.Rules, nft.R(nft.Goto("w_a_desks")))
	rs.Chains = append(rs.Chains, top)
	return nft.Revision{ID: id, Skeleton: parse(t, skeletonText), Ruleset: rs, Entry: map[string]string{"f": top.Name}, Groups: []string{"desks"}}
}

// tuple is the i-th flow: a server, tcp, and a port; as a range a /28 or /124
// with ten ports.
func tuple(i int, six, ranges bool) nft.Element {
	key := make([]byte, 4, 24)
	binary.BigEndian.PutUint32(key, 0x14000000+uint32(i)<<4)
	if six {
		key = make([]byte, 16, 24)
		copy(key, []byte{0x20, 0x01, 0x0d, 0xb8})
		binary.BigEndian.PutUint32(key[12:], uint32(i)<<4)
	}
	port := 1024 + i%1000
	key = append(key, 6, 0, 0, 0, byte(port>>8), byte(port), 0, 0)
	e := nft.Element{Key: key}
	if ranges {
		e.KeyEnd = slices.Clone(key)
		n := len(key) - 8
		e.KeyEnd[n-1] |= 15
		binary.BigEndian.PutUint16(e.KeyEnd[n+4:], uint16(port+9))
	}
	return e
}

// peak is the most memory that a child process had, in MiB.
func peak(c *exec.Cmd) float64 {
	return float64(c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024
}

// nftLoad times "nft -f" of the same revision in a namespace of its own.
func nftLoad(b *testing.B, rev nft.Revision) (time.Duration, float64) {
	n, err := netns.New("nft")
	must(b, err)
	defer n.Close()
	file := filepath.Join(b.TempDir(), "rev.nft")
	must(b, os.WriteFile(file, []byte(rev.Ruleset.String()), 0o600))
	nftIn(b, n, rev.Skeleton.String(), "-f", "-")
	var took time.Duration
	var mem float64
	must(b, n.Do(func() error {
		c := exec.Command("nft", "-f", file)
		start := time.Now()
		out, err := c.CombinedOutput()
		took = time.Since(start)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		mem = peak(c)
		return nil
	}))
	return took, mem
}

// BenchmarkLoad loads a revision and verifies it; each round compares with
// "nft -f" of the same text. "times" is how many times longer nft takes.
// Memory is what loading allocated in all, what the revision holds, and the
// most that nft had.
func BenchmarkLoad(b *testing.B) {
	for _, row := range []struct {
		name   string
		make   func(testing.TB, string, int, int) nft.Revision
		n, grp int
	}{
		{"exact=100000/groups=50", exact, 100_000, 50},
		{"exact=1000000/groups=50", exact, 1_000_000, 50},
		{"ranges=100000/groups=100", ranged, 100_000, 100},
	} {
		b.Run(row.name, func(b *testing.B) {
			var empty, full runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&empty)
			rev := row.make(b, idA, row.n, row.grp)
			runtime.GC()
			runtime.ReadMemStats(&full)
			var ours, theirs time.Duration
			var alloc uint64
			var theirMem float64
			for range b.N {
				n, err := netns.New("load")
				must(b, err)
				k := open(b, n)
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				must(b, k.Load(context.Background(), rev))
				ours += time.Since(start)
				runtime.ReadMemStats(&after)
				alloc = max(alloc, after.TotalAlloc-before.TotalAlloc)
				k.Close()
				must(b, n.Close())
				took, mem := nftLoad(b, rev)
				theirs += took
				theirMem = max(theirMem, mem)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms/load")
			b.ReportMetric(float64(theirs.Milliseconds())/float64(b.N), "ms/nft-f")
			b.ReportMetric(float64(theirs)/float64(ours), "times")
			b.ReportMetric(float64(alloc)/(1<<20), "MiB")
			b.ReportMetric(float64(full.HeapAlloc-empty.HeapAlloc)/(1<<20), "MiB/revision")
			b.ReportMetric(theirMem, "MiB/nft-f")
		})
	}
}

// BenchmarkRollback is one rollback from sending to verified, and the arming
// and confirming that it undoes, at three sizes.
func BenchmarkRollback(b *testing.B) {
	for _, n := range []int{10, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("elements=%d/groups=50", n), func(b *testing.B) {
			_, k := newNS(b)
			ctx := context.Background()
			rev, base := exact(b, idA, n, 50), wide(b, idB)
			must(b, k.Load(ctx, base))
			must(b, k.Load(ctx, rev))
			must(b, k.Rollback(ctx, nft.Rollback{ID: idB, Entry: base.Entry, Hooks: []string{"f"}, Tx: "first", Kind: nft.TxRollback}))
			var back, arm []time.Duration
			for b.Loop() {
				start := time.Now()
				must(b, k.Arm(ctx, nft.Arm{ID: idA, Entry: rev.Entry, Tx: "arm", Lease: time.Minute, Over: idB}))
				arm = append(arm, time.Since(start))
				start = time.Now()
				must(b, k.Rollback(ctx, nft.Rollback{ID: idB, Entry: base.Entry, Hooks: []string{"f"}, Tx: "back", Kind: nft.TxRollback}))
				back = append(back, time.Since(start))
			}
			b.ReportMetric(0, "ns/op")
			for _, m := range []struct {
				name string
				d    []time.Duration
			}{{"rollback", back}, {"arm", arm}} {
				slices.Sort(m.d)
				b.ReportMetric(float64(m.d[len(m.d)/2].Nanoseconds())/1e6, "ms/"+m.name+"-p50")
				b.ReportMetric(float64(m.d[len(m.d)*99/100].Nanoseconds())/1e6, "ms/"+m.name+"-p99")
			}
		})
	}
}
