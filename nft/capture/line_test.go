package capture

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"weir/phases/flow"
)

func nest(typ uint16, parts ...[]byte) []byte {
	return appendAttr(nil, typ|nestedFlag, join(parts...))
}

func one(typ uint16, data ...byte) []byte { return appendAttr(nil, typ, data) }

// tuple builds CTA_TUPLE_ORIG or _REPLY of a TCP connection over IPv4.
func tuple(typ uint16, src, dst netip.AddrPort) []byte {
	return nest(typ,
		nest(ctaTupleIP, one(ctaIPv4Src, src.Addr().AsSlice()...), one(ctaIPv4Dst, dst.Addr().AsSlice()...)),
		nest(ctaTupleProto, one(ctaProtoNum, 6), one(ctaProtoSrc, be16(src.Port())...), one(ctaProtoDst, be16(dst.Port())...)))
}

func packetLine(attrs ...[]byte) []byte {
	return join(append([][]byte{nfgen(2, 101), one(nfulaPrefix, []byte("weir a desks \x00")...),
		one(nfulaPacketHdr, 8, 0, 2, 0)}, attrs...)...)
}

// Some kernels put the connection into the line: then what the client asked for
// is known at once, and a packet without ports takes them from there.
func TestLineWithConnection(t *testing.T) {
	client := netip.MustParseAddrPort("10.0.0.1:40000")
	asked := netip.MustParseAddrPort("203.0.113.9:8443")
	server := netip.MustParseAddrPort("192.0.2.9:443")
	ct := nest(nfulaCT, tuple(ctaTupleOrig, client, asked), tuple(ctaTupleReply, server, client),
		one(ctaStatus, be32(statusSeenReply|statusAssured)...), one(ctaID, be32(77)...), one(ctaZone, be16(3)...))
	whole := ip4(6, 0, 0, 0x9c, 0x40, 1, 0xbb)
	for name, c := range map[string]struct {
		packet []byte
		conn   []byte
		ok     bool
		asked  bool
	}{
		"a whole packet":           {whole, ct, true, true},
		"a later fragment":         {ip4(6, 7, 0), ct, true, true},
		"no packet":                {nil, ct, true, true},
		"no connection":            {whole, nil, true, false},
		"a fragment alone":         {ip4(6, 7, 0), nil, false, false},
		"a packet inside a tunnel": {ip4(47, 0, 0), ct, true, false},
	} {
		l, err := DecodeLine(packetLine(one(nfulaPayload, c.packet...), c.conn))
		if err != nil {
			t.Fatal(err)
		}
		f, got, _, ok := l.flow()
		if ok != c.ok {
			t.Errorf("%s: ok is %v", name, ok)
		}
		want := flow.Flow{Client: client.Addr(), Server: server.Addr(), Proto: flow.TCP, Port: 443}
		if name == "a packet inside a tunnel" {
			want.Proto, want.Port = flow.GRE, 0
		}
		if ok && f != want {
			t.Errorf("%s: the flow is %v", name, f)
		}
		if c.asked != (got == asked) {
			t.Errorf("%s: asked for %v", name, got)
		}
		if c.conn != nil && (l.Conn.ID != 77 || l.Conn.Zone != 3 || !l.Conn.Answered()) {
			t.Errorf("%s: the connection is %+v", name, l.Conn)
		}
	}
}

// Every message that is cut off is an error or a smaller message, never a
// panic and never another flow.
func TestLineCutOff(t *testing.T) {
	b := packetLine(one(nfulaPayload, ip4(6, 0, 0, 0x9c, 0x40, 1, 0xbb)...), one(nfulaUID, be32(1000)...),
		one(nfulaHWAddr, 0, 6, 0, 0, 2, 0, 0x5e, 0x10, 0, 7, 0, 0), one(nfulaSeq, be32(9)...))
	whole, err := DecodeLine(b)
	if err != nil || whole.MAC != "02:00:5e:10:00:07" || whole.UID == nil || *whole.UID != 1000 || whole.Seq != 9 || !whole.HasSeq {
		t.Fatalf("%+v, %v", whole, err)
	}
	want, _, _, _ := whole.flow()
	for n := range len(b) {
		l, err := DecodeLine(b[:n])
		if err != nil {
			continue
		}
		if f, _, _, ok := l.flow(); ok && f != want {
			t.Errorf("the first %d bytes give %v", n, f)
		}
	}
}

func TestAnsweredByProtocol(t *testing.T) {
	for _, c := range []struct {
		proto  flow.Proto
		status uint32
		want   bool
	}{
		{flow.TCP, statusSeenReply, false}, // a reset
		{flow.TCP, statusSeenReply | statusAssured, true},
		{flow.SCTP, statusSeenReply, false},
		{flow.UDP, 0, false},
		{flow.UDP, statusSeenReply, true},
		{flow.ESP, statusSeenReply, true},
	} {
		conn := Connection{Orig: Tuple{Proto: c.proto}, Status: c.status}
		if conn.Answered() != c.want {
			t.Errorf("%v with status %d is answered: %v", c.proto, c.status, !c.want)
		}
	}
}

// An entry without timestamps began when it was looked at; one whose clock went
// back does not end before it began.
func TestRecordTimes(t *testing.T) {
	now := nanos(2e18)
	for _, c := range []struct{ start, stop, first, last uint64 }{
		{0, 0, 2e18, 2e18},
		{1e18, 0, 1e18, 2e18},
		{1e18, 15e17, 1e18, 15e17},
		{3e18, 15e17, 15e17, 15e17},
	} {
		r := Connection{Start: nanos(c.start), Stop: nanos(c.stop)}.record(now, true)
		if !r.First.Equal(nanos(c.first)) || !r.Last.Equal(nanos(c.last)) {
			t.Errorf("from %d to %d is told as %v to %v", c.start, c.stop, r.First, r.Last)
		}
	}
	if !nanos(0).IsZero() || !nanos(1<<63).IsZero() {
		t.Error("a time that is none is not zero")
	}
}

func TestHolders(t *testing.T) {
	got := parseHolders("  100   4711     0 2   128     10  1\n  101 4294967290     0 2   128     10  1\nx\n")
	if len(got) != 2 || got[100] != 4711 || got[101] != 4294967290 {
		t.Errorf("got %v", got)
	}
}

// Datagrams of several messages, with ends of batches and errors between them.
func TestSplit(t *testing.T) {
	msg := func(typ, flags uint16, data ...byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(16+len(data)))
		b = binary.NativeEndian.AppendUint16(b, typ)
		b = binary.NativeEndian.AppendUint16(b, flags)
		b = append(b, make([]byte, 8)...)
		b = append(b, data...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		return b
	}
	var got []uint16
	each := func(m message) error { got = append(got, m.typ); return nil }
	if err := split(join(msg(1024, 0, 1, 2, 3), msg(1, 0), msg(3, 0), msg(1025, 0), msg(2, 0, 0, 0, 0, 0)), each); err != nil || len(got) != 2 || got[1] != 1025 {
		t.Errorf("%v, %v", got, err)
	}
	eperm := binary.NativeEndian.AppendUint32(nil, 0xffffffff)
	if err := split(msg(2, 0, eperm...), each); err == nil || err.Error() != "operation not permitted" {
		t.Errorf("an error message gives %v", err)
	}
	for _, bad := range [][]byte{{255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 16), msg(2, 0, 1)} {
		if err := split(bad, each); err == nil {
			t.Errorf("%v is no error", bad)
		}
	}
}
