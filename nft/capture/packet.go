package capture

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"weir/phases/flow"
)

// Packet is the head of an IP packet. SrcPort and DstPort are set for the
// protocols that have ports, Type for ICMP and ICMPv6.
type Packet struct {
	Src, Dst netip.Addr
	Proto    flow.Proto
	SrcPort  uint16
	DstPort  uint16
	Type     uint8
	Later    bool // a fragment after the first: it carries neither ports nor type
	Short    bool // cut off before ports or type
}

// Errors of DecodePacket.
var (
	ErrNotIP       = errors.New("not an IPv4 or IPv6 packet")
	ErrShortPacket = errors.New("the packet is cut off inside its IP header")
)

// DecodePacket reads the head of an IP packet as nftables' "meta l4proto" and
// "th" read it: IPv6 extension headers are skipped up to an authentication
// header, which counts as the protocol.
func DecodePacket(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, ErrShortPacket
	}
	switch b[0] >> 4 {
	case 4:
		return decode4(b)
	case 6:
		return decode6(b)
	}
	return Packet{}, ErrNotIP
}

func decode4(b []byte) (Packet, error) {
	if len(b) < 20 {
		return Packet{}, ErrShortPacket
	}
	head := int(b[0]&15) * 4
	if head < 20 {
		return Packet{}, ErrNotIP
	}
	p := Packet{
		Src: netip.AddrFrom4([4]byte(b[12:16])), Dst: netip.AddrFrom4([4]byte(b[16:20])),
		Proto: flow.Proto(b[9]),
		Later: binary.BigEndian.Uint16(b[6:])&0x1fff != 0,
	}
	return p.transport(b, head), nil
}

// IPv6 extension headers as in the IANA registry "IPv6 Extension Header Types".
const (
	hopByHop    = 0
	routing     = 43
	fragment    = 44
	noNext      = 59
	destOptions = 60
)

func decode6(b []byte) (Packet, error) {
	if len(b) < 40 {
		return Packet{}, ErrShortPacket
	}
	p := Packet{Src: netip.AddrFrom16([16]byte(b[8:24])), Dst: netip.AddrFrom16([16]byte(b[24:40]))}
	next, off := b[6], 40
	for {
		switch next {
		case hopByHop, routing, destOptions:
			if len(b) < off+2 {
				return Packet{}, ErrShortPacket
			}
			next, off = b[off], off+8*(int(b[off+1])+1)
		case fragment:
			if len(b) < off+8 {
				return Packet{}, ErrShortPacket
			}
			if binary.BigEndian.Uint16(b[off+2:])&^7 != 0 {
				p.Proto, p.Later = flow.Proto(b[off]), true
				return p, nil
			}
			next, off = b[off], off+8
		default:
			p.Proto = flow.Proto(next)
			return p.transport(b, off), nil
		}
	}
}

func (p Packet) transport(b []byte, off int) Packet {
	switch {
	case p.Later:
	case p.Proto.HasPorts():
		if p.Short = len(b) < off+4; !p.Short {
			p.SrcPort = binary.BigEndian.Uint16(b[off:])
			p.DstPort = binary.BigEndian.Uint16(b[off+2:])
		}
	case p.Proto.IsICMP():
		if p.Short = len(b) < off+1; !p.Short {
			p.Type = b[off]
		}
	}
	return p
}

// Port is what flow.Flow keeps of the packet: the server's port, the ICMP
// type, or 0.
func (p Packet) Port() uint16 {
	if p.Proto.IsICMP() {
		return uint16(p.Type)
	}
	return p.DstPort
}
