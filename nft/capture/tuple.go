package capture

import (
	"encoding/binary"
	"net/netip"
	"time"

	"weir/phases/flow"
)

// Attribute numbers of linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig     = 1
	ctaTupleReply    = 2
	ctaStatus        = 3
	ctaProtoInfo     = 4
	ctaCountersOrig  = 9
	ctaCountersReply = 10
	ctaID            = 12
	ctaZone          = 18
	ctaTimestamp     = 20

	ctaTupleIP    = 1
	ctaTupleProto = 2
	ctaTupleZone  = 3

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum    = 1
	ctaProtoSrc    = 2
	ctaProtoDst    = 3
	ctaICMPID      = 4
	ctaICMPType    = 5
	ctaICMPv6ID    = 7
	ctaICMPv6Type  = 8
	ctaProtoTCP    = 1 // in ctaProtoInfo
	ctaTCPFlagsOut = 4 // flags and mask, one byte each
	ctaTCPFlagsIn  = 5
)

// Status bits of linux/netfilter/nf_conntrack_common.h.
const (
	statusSeenReply = 1 << 1
	statusAssured   = 1 << 2
)

// Flags of linux/netfilter/nf_conntrack_tcp.h. Tracking that did not see the
// handshake is liberal in both directions and knows no window scale.
const (
	tcpWindowScale = 0x01
	tcpLiberal     = 0x08
)

// Tuple is one direction of a connection. SrcPort of ICMP is its identifier;
// of protocols without ports both are 0 whatever the kernel keeps there (of GRE
// its keys).
type Tuple struct {
	Src, Dst         netip.Addr
	Proto            flow.Proto
	SrcPort, DstPort uint16
	Type             uint8 // of ICMP
}

// Connection is one entry of the connection table, or what NFLOG says of a
// packet's entry. Absent attributes are zero.
type Connection struct {
	Orig, Reply             Tuple
	Status                  uint32
	ID                      uint32
	Zone                    uint16
	PacketsOut, BytesOut    uint64 // of the original direction
	PacketsIn, BytesIn      uint64
	Start, Stop             time.Time
	flagsOut, flagsIn       uint8
	rawOrig, rawZone, rawID []byte // attributes as they came, to name the entry when it is deleted
}

// DecodeConnection reads a ctnetlink message behind its netlink header: a
// DESTROY event or an entry of a dump.
func DecodeConnection(b []byte) (Connection, error) {
	if len(b) < 4 {
		return Connection{}, errShort
	}
	return decodeConnection(b[4:])
}

func decodeConnection(b []byte) (c Connection, err error) {
	a := attrs{rest: b}
	for a.next() {
		switch a.typ {
		case ctaTupleOrig:
			err = c.Orig.decode(a.nested(), &c.Zone)
			c.rawOrig = a.raw
		case ctaTupleReply:
			err = c.Reply.decode(a.nested(), &c.Zone)
		case ctaStatus:
			c.Status = a.be32()
		case ctaProtoInfo:
			err = c.protoInfo(a.nested())
		case ctaCountersOrig:
			c.PacketsOut, c.BytesOut, err = pair64(a.nested())
		case ctaCountersReply:
			c.PacketsIn, c.BytesIn, err = pair64(a.nested())
		case ctaID:
			c.ID, c.rawID = a.be32(), a.raw
		case ctaZone:
			c.Zone, c.rawZone = a.be16(), a.raw
		case ctaTimestamp:
			var start, stop uint64
			start, stop, err = pair64(a.nested())
			c.Start, c.Stop = nanos(start), nanos(stop)
		}
		if err == nil {
			err = a.err
		}
		if err != nil {
			return Connection{}, err
		}
	}
	return c, a.err
}

func nanos(n uint64) time.Time {
	if n == 0 || n > 1<<63-1 {
		return time.Time{}
	}
	return time.Unix(0, int64(n))
}

// pair64 reads two 64-bit numbers with the types 1 and 2.
func pair64(a attrs) (one, two uint64, err error) {
	for a.next() {
		switch a.typ {
		case 1:
			one = a.be64()
		case 2:
			two = a.be64()
		}
	}
	return one, two, a.err
}

func (c *Connection) protoInfo(a attrs) error {
	for a.next() {
		if a.typ != ctaProtoTCP {
			continue
		}
		t := a.nested()
		for t.next() {
			switch t.typ {
			case ctaTCPFlagsOut:
				c.flagsOut = t.u8()
			case ctaTCPFlagsIn:
				c.flagsIn = t.u8()
			}
		}
		if t.err != nil {
			return t.err
		}
	}
	return a.err
}

func (t *Tuple) decode(a attrs, zone *uint16) error {
	for a.next() {
		n := a.nested()
		switch a.typ {
		case ctaTupleIP:
			for n.next() {
				switch {
				case n.typ == ctaIPv4Src && len(n.data) == 4:
					t.Src = netip.AddrFrom4([4]byte(n.data))
				case n.typ == ctaIPv4Dst && len(n.data) == 4:
					t.Dst = netip.AddrFrom4([4]byte(n.data))
				case n.typ == ctaIPv6Src && len(n.data) == 16:
					t.Src = netip.AddrFrom16([16]byte(n.data))
				case n.typ == ctaIPv6Dst && len(n.data) == 16:
					t.Dst = netip.AddrFrom16([16]byte(n.data))
				}
			}
		case ctaTupleProto:
			if err := t.transport(&n); err != nil {
				return err
			}
		case ctaTupleZone:
			*zone = a.be16()
		}
		if n.err != nil {
			return n.err
		}
	}
	return a.err
}

func (t *Tuple) transport(n *attrs) error {
	var src, dst uint16
	for n.next() {
		switch n.typ {
		case ctaProtoNum:
			t.Proto = flow.Proto(n.u8())
		case ctaProtoSrc, ctaICMPID, ctaICMPv6ID:
			src = n.be16()
		case ctaProtoDst:
			dst = n.be16()
		case ctaICMPType, ctaICMPv6Type:
			t.Type = n.u8()
		}
	}
	switch {
	case t.Proto.HasPorts():
		t.SrcPort, t.DstPort = src, dst
	case t.Proto.IsICMP():
		t.SrcPort = src
	}
	return n.err
}

// Answered says whether the other side took part: a reply was seen, and for
// protocols with a handshake more than a refusal of it.
func (c Connection) Answered() bool {
	switch c.Orig.Proto {
	case flow.TCP, flow.SCTP, flow.DCCP:
		return c.Status&statusAssured != 0
	}
	return c.Status&statusSeenReply != 0
}

// Guessed says whether tracking began in the middle of a TCP connection, so
// that its direction may be reversed. DESTROY events do not carry what it takes
// to tell; Connections remembers it from the dump.
func (c Connection) Guessed() bool {
	return c.flagsOut&c.flagsIn&tcpLiberal != 0 && (c.flagsOut|c.flagsIn)&tcpWindowScale == 0
}

// Flow is the connection as a filter rule sees it: the client is the original
// tuple's source (before SNAT), the server the reply tuple's (after DNAT).
// Asked is the original destination where that is another one.
func (c Connection) Flow() (f flow.Flow, asked netip.AddrPort) {
	server := netip.AddrPortFrom(c.Reply.Src, c.Reply.SrcPort)
	wanted := netip.AddrPortFrom(c.Orig.Dst, c.Orig.DstPort)
	if !c.Reply.Src.IsValid() || c.Reply.Proto != c.Orig.Proto {
		server = wanted
	}
	f = flow.Flow{Client: c.Orig.Src, Server: server.Addr(), Proto: c.Orig.Proto}
	switch {
	case f.Proto.HasPorts():
		f.Port = server.Port()
	case f.Proto.IsICMP():
		f.Port = uint16(c.Orig.Type)
		server, wanted = netip.AddrPortFrom(server.Addr(), 0), netip.AddrPortFrom(wanted.Addr(), 0)
	}
	if wanted != server {
		asked = wanted
	}
	return f, asked
}

// complete says whether the entry names a flow at all.
func (c Connection) complete() bool {
	return c.Orig.Src.IsValid() && c.Orig.Dst.IsValid() && c.Orig.Proto != 0
}

// record turns the entry into a record. An entry without timestamps (they are
// set only for connections that began after nf_conntrack_timestamp=1) begins
// and ends now.
func (c Connection) record(now time.Time, closed bool) flow.Record {
	f, asked := c.Flow()
	r := flow.Record{
		Flow: f, Asked: asked, First: c.Start, Last: now,
		BytesOut: c.BytesOut, BytesIn: c.BytesIn, PacketsOut: c.PacketsOut, PacketsIn: c.PacketsIn,
		New: closed, Closed: closed, Answered: c.Answered(), Guessed: c.Guessed(),
		ID: c.ID, Zone: c.Zone, SrcPort: c.Orig.SrcPort, Source: "kernel",
	}
	if !c.Stop.IsZero() {
		r.Last = c.Stop
	}
	if r.First.IsZero() || r.First.After(r.Last) {
		r.First = r.Last
	}
	return r
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
