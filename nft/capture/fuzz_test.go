package capture

import (
	"net/netip"
	"strings"
	"testing"

	"weir/phases/flow"
)

func FuzzDecodePacket(f *testing.F) {
	f.Add(ip4(6, 0, 0, 0x30, 0x39, 1, 0xbb))
	f.Add(ip4(17, 0x2001, 8))
	f.Add(ip6(0, 44, 0, 5, 2, 0, 0, 1, 0, 17, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4))
	f.Add(ip6(58, 128))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePacket(b)
		if err != nil {
			return
		}
		if !p.Src.IsValid() || p.Src.Is4() != p.Dst.Is4() {
			t.Errorf("addresses %v and %v", p.Src, p.Dst)
		}
		if p.Port() > p.Proto.Max() {
			t.Errorf("%v has the port %d", p.Proto, p.Port())
		}
	})
}

func FuzzDecodeLine(f *testing.F) {
	a, b := netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("192.0.2.9:443")
	f.Add(packetLine(one(nfulaPayload, ip4(6, 0, 0, 0x9c, 0x40, 1, 0xbb)...), one(nfulaUID, be32(1000)...),
		one(nfulaHWAddr, 0, 6, 0, 0, 2, 0, 0x5e, 0x10, 0, 7, 0, 0), one(nfulaSeq, be32(9)...)))
	f.Add(packetLine(nest(nfulaCT, tuple(ctaTupleOrig, a, b), tuple(ctaTupleReply, b, a))))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := DecodeLine(b)
		if err != nil {
			return
		}
		if fl, _, _, ok := l.flow(); ok && (fl.Proto == 0 && l.HasConn || !fl.Client.IsValid() || fl.Port > fl.Proto.Max()) {
			t.Errorf("the flow is %v", fl)
		}
		if tag, ok := ParseTag(l.Prefix); ok && (tag.Verdict == "" || strings.ContainsAny(tag.Group, " \t")) {
			t.Errorf("the tag is %+v", tag)
		}
	})
}

func FuzzDecodeConnection(f *testing.F) {
	a, b := netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("192.0.2.9:443")
	f.Add(join(nfgen(2, 0), tuple(ctaTupleOrig, a, b), tuple(ctaTupleReply, b, a),
		one(ctaStatus, be32(14)...), one(ctaID, be32(1)...), one(ctaZone, be16(1)...),
		nest(ctaProtoInfo, nest(ctaProtoTCP, one(ctaTCPFlagsOut, 8, 0), one(ctaTCPFlagsIn, 8, 0))),
		nest(ctaCountersOrig, one(1, make([]byte, 8)...), one(2, make([]byte, 8)...)),
		nest(ctaTimestamp, one(1, 0x18, 0, 0, 0, 0, 0, 0, 0))))
	f.Add(join(nfgen(10, 0), nest(ctaTupleOrig, nest(ctaTupleIP, one(ctaIPv6Src, make([]byte, 16)...)),
		nest(ctaTupleProto, one(ctaProtoNum, 58), one(ctaICMPv6Type, 128), one(ctaICMPv6ID, 0, 1)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeConnection(b)
		if err != nil || !c.complete() {
			return
		}
		r := c.record(nanos(1), true)
		if !r.Client.IsValid() || !r.Server.IsValid() || r.Proto == 0 || r.Last.Before(r.First) {
			t.Errorf("the record is %s", show(r))
		}
		if r.Proto.Max() == 0 && (r.Port != 0 || r.SrcPort != 0) {
			t.Errorf("%v has the port %d", r.Proto, r.Port)
		}
		if len(c.name())%4 != 0 {
			t.Errorf("the name has %d bytes", len(c.name()))
		}
	})
}

// No text of the kernel's tables makes the readers panic.
func FuzzTables(f *testing.F) {
	f.Add("Inter-|\n face |\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n")
	f.Add("sk Eth Pid\n0 12 77 0 0 0 0 0 4711 1\n")
	f.Add("0::/system.slice/x.service\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := parseDev(strings.NewReader(text)); err == nil {
			_, _ = parseDrops(strings.NewReader(text), 12, 77)
		}
		parseHolders(text)
		processUnit(text)
	})
}

func BenchmarkDecodeConnection(b *testing.B) {
	x, y := netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("192.0.2.9:443")
	msg := join(nfgen(2, 0), tuple(ctaTupleOrig, x, y), tuple(ctaTupleReply, y, x), one(ctaStatus, be32(14)...),
		nest(ctaCountersOrig, one(1, make([]byte, 8)...), one(2, make([]byte, 8)...)),
		nest(ctaCountersReply, one(1, make([]byte, 8)...), one(2, make([]byte, 8)...)), one(ctaID, be32(1)...))
	b.ReportAllocs()
	var r flow.Record
	for b.Loop() {
		c, err := DecodeConnection(msg)
		if err != nil {
			b.Fatal(err)
		}
		r = c.record(nanos(1), true)
	}
	_ = r
}

func BenchmarkDecodeLine(b *testing.B) {
	msg := packetLine(one(nfulaPayload, ip4(6, 0, 0, 0x9c, 0x40, 1, 0xbb)...), one(nfulaSeq, be32(9)...))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeLine(msg); err != nil {
			b.Fatal(err)
		}
	}
}
