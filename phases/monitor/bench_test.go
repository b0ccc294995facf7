package monitor

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"weir/phases/flow"
	"weir/plans"
)

func many(n int) *Evidence {
	e := New(nil)
	for i := range n {
		e.Add(manyRecord(i, 0))
	}
	return e
}

func manyRecord(i, dump int) flow.Record {
	return flow.Record{Flow: flow.Flow{Client: netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}),
		Server: netip.AddrFrom4([4]byte{198, 51, byte(i >> 16), byte(i >> 4)}), Proto: flow.TCP, Port: 443},
		First: t0, Last: t0.Add(time.Duration(dump) * time.Minute), ID: uint32(i + 1), SrcPort: uint16(i), BytesOut: uint64(dump), Answered: true, Source: "kernel"}
}

func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{100000} {
		b.Run(fmt.Sprintf("connections=%d", n), func(b *testing.B) {
			e := many(n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e.Add(manyRecord(i%n, 1+i/n))
			}
		})
	}
}

func BenchmarkRows(b *testing.B) {
	e, c := many(100000), plans.NewClassifier(plan())
	b.Run("flows=100000", func(b *testing.B) {
		for b.Loop() {
			e.Rows(c)
		}
	})
}

func BenchmarkText(b *testing.B) {
	e := many(100000)
	var text bytes.Buffer
	if err := e.Encode(&text); err != nil {
		b.Fatal(err)
	}
	b.Run("encode/flows=100000", func(b *testing.B) {
		for b.Loop() {
			if err := e.Encode(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode/flows=100000", func(b *testing.B) {
		for b.Loop() {
			if _, err := Decode(bytes.NewReader(text.Bytes()), nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
