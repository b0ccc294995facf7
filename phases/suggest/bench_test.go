package suggest

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkSuggest makes a proposal from observations, from the first that is
// taken in to the entries of the plan, the nine levels measured. MiB-peak is
// the most memory that the process has had at once, cpu-s the processor time of
// one proposal: what a machine that is busy with other things does not change.
func BenchmarkSuggest(b *testing.B) {
	for _, n := range []int{15000, 150000} {
		b.Run(fmt.Sprintf("endpoints=%d", n), func(b *testing.B) {
			p := worldPlan(b, "")
			before := processorTime(b)
			for range b.N {
				w := newWorld(1, n)
				in, count := &Input{}, 0
				w.flows(func(o Observation) {
					count++
					add(b, in, placed(w, o))
				})
				s, err := Suggest(p, in, Options{})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(count), "observations")
				b.ReportMetric(float64(len(s.Classes)), "classes")
				b.ReportMetric(float64(len(s.Entries())), "entries")
			}
			b.ReportMetric((processorTime(b)-before).Seconds()/float64(b.N), "cpu-s")
			status, err := os.ReadFile("/proc/self/status")
			if err != nil {
				b.Fatal(err)
			}
			for _, l := range strings.Split(string(status), "\n") {
				var kib float64
				if _, err := fmt.Sscanf(l, "VmHWM: %f kB", &kib); err == nil {
					b.ReportMetric(kib/1024, "MiB-peak")
				}
			}
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
