package infer

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"weir/phases/flow"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/sample"
)

// large makes a ruleset of narrow rules, and one in which some are changed.
func large(n int) (a, b rules.Ruleset) {
	r := rand.New(rand.NewPCG(5, uint64(n)))
	a = sample.Ruleset(r, sample.Shape{Rules: n, Hosts: n / 10, Narrow: true})
	b = a
	for range 20 {
		b = mutate(r, b)
	}
	return a, b
}

func BenchmarkCompare(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			x, y := large(n)
			for b.Loop() {
				d, err := Compare(x, y, "FORWARD", "FORWARD")
				if err != nil || d.Equal() {
					b.Fatal(d, err)
				}
			}
		})
	}
}

func BenchmarkInfer(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			x := sample.Ruleset(rand.New(rand.NewPCG(6, uint64(n))), sample.Shape{Rules: n, Hosts: 20, Narrow: true})
			for b.Loop() {
				if _, err := Infer(x, "FORWARD"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMatrix(b *testing.B) {
	x, _ := large(5000)
	for b.Loop() {
		if _, err := MatrixOf(x, "FORWARD", flow.Single(flow.TCP, 22), flow.IPv4); err != nil {
			b.Fatal(err)
		}
	}
}

// busy is the time that processors worked for this process: unlike the clock it
// does not count what others do on the machine.
func busy(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// slower is by how much the process may be slower than its limits.
var slower = 1

// TestLargeSnapshotsInTime compares two snapshots of 5,000 rules.
func TestLargeSnapshotsInTime(t *testing.T) {
	a, b := large(5000)
	var after runtime.MemStats
	start := busy(t)
	d, err := Compare(a, b, "FORWARD", "FORWARD")
	took := busy(t) - start
	runtime.ReadMemStats(&after)
	t.Logf("%v, %d MB from the system, %d and %d boxes", took, after.Sys>>20, len(d.OnlyA), len(d.OnlyB))
	if err != nil || d.Equal() {
		t.Fatalf("%v %v", d, err)
	}
	if took > time.Duration(slower)*5*time.Second {
		t.Errorf("it took %v, more than 5 s", took)
	}
}

// BenchmarkRoles finds the roles of many endpoints that are of few kinds.
func BenchmarkRoles(b *testing.B) {
	for _, n := range []int{1500, 150000} {
		b.Run(fmt.Sprintf("users=%d", n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(9, 9))
			kinds := make([][]int, 200)
			for k := range kinds {
				for range 20 {
					kinds[k] = append(kinds[k], r.IntN(5000))
				}
			}
			var pairs [][2]int
			for u := range n {
				for range 2 {
					for _, p := range kinds[r.IntN(len(kinds))] {
						pairs = append(pairs, [2]int{u, p})
					}
					if r.IntN(10) > 0 {
						break // most are of one kind alone
					}
				}
			}
			for b.Loop() {
				roles, bound, err := Roles(pairs)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(roles)), "roles")
				b.ReportMetric(float64(bound), "bound")
			}
		})
	}
}
