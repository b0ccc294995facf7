package nft_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"weir/nft"
	"weir/phases/flow"
)

// exact is a ruleset of n exact flows.
func exact(n int) nft.Ruleset {
	s := nft.Set{Name: "s_x4", Key: []nft.Type{nft.IPv4Addr, nft.IPv4Addr, nft.InetProto, nft.InetService}, Size: uint32(n + n/4)}
	for i := range n {
		src := binary.BigEndian.AppendUint32(nil, 0x0a140000+uint32(i%65536))
		dst := binary.BigEndian.AppendUint32(nil, 0xc6336400+uint32(i/65536))
		s.Elements = append(s.Elements, nft.Element{Key: nft.Concat(src, dst, nft.ProtoKey(flow.TCP), nft.Port(443))})
	}
	return nft.Ruleset{Family: "inet", Table: "weir", Sets: []nft.Set{s}}
}

func BenchmarkText(b *testing.B) {
	for _, n := range []int{10, 100_000, 1_000_000} {
		r := exact(n)
		text := r.String()
		b.Run(fmt.Sprintf("print/elements=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("digest/elements=%d", n), func(b *testing.B) {
			for b.Loop() {
				nft.Digest(r)
			}
		})
		b.Run(fmt.Sprintf("parse/elements=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := nft.Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("check/elements=%d", n), func(b *testing.B) {
			for b.Loop() {
				if err := r.Check(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
