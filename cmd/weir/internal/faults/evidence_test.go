package faults

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/store"
)

// fillEvidence appends a block, as the daemon does.
func fillEvidence(s *store.EvidenceStore, n int) error {
	begin := time.Date(2026, 3, 2, 12+n, 0, 0, 0, time.UTC)
	e := monitor.New(time.UTC)
	for i := range 400 {
		at := begin.Add(time.Duration(i) * time.Second)
		e.Add(flow.Record{
			Flow:  flow.Flow{Client: netip.AddrFrom4([4]byte{10, 20, byte(n), byte(i % 251)}), Server: netip.AddrFrom4([4]byte{198, 51, 100, byte(i % 13)}), Proto: flow.TCP, Port: 443},
			First: at, Last: at, ID: uint32(i + 1), BytesOut: uint64(i), Answered: true, Source: "kernel"})
	}
	e.Observed(begin, begin.Add(time.Hour))
	return s.Append(e.Take())
}

func evidenceText(t testing.TB, s *store.EvidenceStore) string {
	t.Helper()
	e, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := e.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
