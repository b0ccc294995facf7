package enforce

import (
	"net/netip"
	"testing"
	"time"

	"weir/phases/monitor"
)

func BenchmarkBuild(b *testing.B) {
	var rows []monitor.Row
	proto := row("exact", "10.20.2.5", "198.51.100.7", "tcp/443")
	for i := range 100000 {
		r := proto
		r.Client = netip.AddrFrom4([4]byte{10, 20, 2, byte(i)})
		r.Server = netip.AddrFrom4([4]byte{198, byte(i >> 16), byte(i >> 8), byte(i >> 4)})
		r.Service.Lo = uint16(i % 7)
		r.Service.Hi = r.Service.Lo
		r.Group = []string{"exact", "servers", "workstations"}[i%3]
		rows = append(rows, r)
	}
	b.Run("flows=100000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Build(office(), rows, nil, t0.Add(time.Hour))
		}
	})
}
