package capture

import (
	"context"
	"fmt"
	"testing"

	"weir/nft/netns"
	"weir/phases/flow"
)

// BenchmarkDump streams a connection table of real entries.
func BenchmarkDump(b *testing.B) {
	for _, entries := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			lab, err := netns.NewLab()
			if err != nil {
				b.Fatal(err)
			}
			defer lab.Close()
			opt := Options{NetNS: lab.Gateway.FD()}
			nft(b, lab.Gateway, logRules)
			for left := entries; left > 0; left -= 50_000 {
				spray(b, lab.Client, 10_000, min(left, 50_000))
			}
			b.ReportAllocs()
			var n int
			for b.Loop() {
				n = 0
				if err := Dump(context.Background(), opt, func(flow.Record) error { n++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n), "entries")
		})
	}
}
