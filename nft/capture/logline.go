package capture

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"weir/phases/flow"
)

// Attribute numbers of linux/netfilter/nfnetlink_log.h.
const (
	nfulaPacketHdr = 1
	nfulaTimestamp = 3
	nfulaInDev     = 4
	nfulaOutDev    = 5
	nfulaHWAddr    = 8
	nfulaPayload   = 9
	nfulaPrefix    = 10
	nfulaUID       = 11
	nfulaSeq       = 12
	nfulaCT        = 18
)

// Line is one packet that a log statement sent.
type Line struct {
	Group    uint16
	Prefix   string
	Hook     string // "prerouting", "input", "forward", "output", "postrouting"
	In, Out  uint32 // interface indexes
	MAC      string
	UID      *uint32
	Time     time.Time
	Seq      uint32
	HasSeq   bool
	Packet   Packet
	PacketOK bool       // the packet's head could be read
	Conn     Connection // its entry in the connection table
	HasConn  bool
}

var hooks = [...]string{"prerouting", "input", "forward", "output", "postrouting"}

// DecodeLine reads an NFLOG message behind its netlink header.
func DecodeLine(b []byte) (Line, error) {
	if len(b) < 4 {
		return Line{}, errShort
	}
	l := Line{Group: binary.BigEndian.Uint16(b[2:])}
	a := attrs{rest: b[4:]}
	for a.next() {
		switch a.typ {
		case nfulaPacketHdr: // protocol, hook, padding
			if len(a.data) < 3 {
				return Line{}, errShort
			}
			if h := int(a.data[2]); h < len(hooks) {
				l.Hook = hooks[h]
			}
		case nfulaTimestamp: // seconds, microseconds
			if len(a.data) < 16 {
				return Line{}, errShort
			}
			sec, usec := binary.BigEndian.Uint64(a.data), binary.BigEndian.Uint64(a.data[8:])
			if sec < 1<<40 && usec < 1e6 {
				l.Time = time.Unix(int64(sec), int64(usec)*1000)
			}
		case nfulaInDev:
			l.In = a.be32()
		case nfulaOutDev:
			l.Out = a.be32()
		case nfulaHWAddr: // length, padding, 8 bytes
			if len(a.data) < 4 {
				return Line{}, errShort
			}
			if n := int(binary.BigEndian.Uint16(a.data)); n == 6 && len(a.data) >= 4+n {
				l.MAC = net.HardwareAddr(a.data[4 : 4+n]).String()
			}
		case nfulaPayload:
			p, err := DecodePacket(a.data)
			l.Packet, l.PacketOK = p, err == nil
		case nfulaPrefix:
			l.Prefix = strings.TrimRight(string(a.data), "\x00")
		case nfulaUID:
			uid := a.be32()
			l.UID = &uid
		case nfulaSeq:
			l.Seq, l.HasSeq = a.be32(), true
		case nfulaCT:
			c, err := decodeConnection(a.data)
			if err != nil {
				return Line{}, fmt.Errorf("cannot read the packet's connection: %w", err)
			}
			l.Conn, l.HasConn = c, c.complete()
		}
		if a.err != nil {
			return Line{}, a.err
		}
	}
	return l, a.err
}

// Tag is what a log prefix of weir says.
type Tag struct {
	Verdict flow.Verdict
	Inbound bool
	Group   string
}

// ParseTag reads a log prefix:
//
//	"weir n "          first sight
//	"weir in "         first sight of what an outside host opened
//	"weir a <group> "  would be denied
//	"weir d <group> "  denied
//	"weir q "          denied by a quarantine
//	"weir h <group> "  sent to the honeypot
//	"weir w <group> "  a shadow would let it pass
//	"weir c <group> "  a shadow would cut it
//
// Anything else is not weir's; ok is then false.
func ParseTag(prefix string) (t Tag, ok bool) {
	f := strings.Fields(prefix)
	if len(f) < 2 || len(f) > 3 || f[0] != "weir" {
		return Tag{}, false
	}
	if len(f) == 3 {
		t.Group = f[2]
	}
	needsGroup := false
	switch f[1] {
	case "n":
		t.Verdict = flow.Seen
	case "in":
		t.Verdict, t.Inbound = flow.Seen, true
	case "q":
		t.Verdict = flow.Denied
	case "a":
		t.Verdict, needsGroup = flow.WouldDeny, true
	case "d":
		t.Verdict, needsGroup = flow.Denied, true
	case "h":
		t.Verdict, needsGroup = flow.Captured, true
	case "w":
		t.Verdict, needsGroup = flow.Widens, true
	case "c":
		t.Verdict, needsGroup = flow.Narrows, true
	default:
		return Tag{}, false
	}
	return t, needsGroup == (t.Group != "")
}

// flow gives the tuple that the rules match: the packet's own, which in every
// filter hook is the connection's before SNAT and after DNAT. What the client
// asked for comes from the connection table. A packet whose ports are missing
// takes them from there as well.
func (l Line) flow() (f flow.Flow, asked netip.AddrPort, srcPort uint16, ok bool) {
	p := l.Packet
	whole := l.PacketOK && !p.Later && !p.Short
	if whole {
		f = flow.Flow{Client: p.Src, Server: p.Dst, Proto: p.Proto, Port: p.Port()}
		srcPort = p.SrcPort
	}
	if !l.HasConn {
		return f, asked, srcPort, whole
	}
	cf, casked := l.Conn.Flow()
	switch {
	case !whole:
		return cf, casked, l.Conn.Orig.SrcPort, true
	case f.Proto == cf.Proto && f.Client == cf.Client:
		if l.Conn.Orig.Dst != f.Server || f.Proto.HasPorts() && l.Conn.Orig.DstPort != f.Port {
			asked = netip.AddrPortFrom(l.Conn.Orig.Dst, l.Conn.Orig.DstPort)
		}
		srcPort = l.Conn.Orig.SrcPort
	}
	return f, asked, srcPort, true
}
