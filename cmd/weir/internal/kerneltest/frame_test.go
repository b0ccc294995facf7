package kerneltest

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"weir/nft/eval"
	"weir/phases/flow"
)

// magic stands before the packet's number in everything but TCP, whose number
// is its sequence number.
var magic = []byte("weirtest")

func sum(b []byte, start uint32) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		start += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		start += uint32(b[len(b)-1]) << 8
	}
	return start
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// packet writes an IP packet that carries the number id; ident is the identifier
// of an echo. It has good checksums:
// connection tracking calls others invalid.
func packet(p eval.Packet, id, ident uint32) []byte {
	mark := binary.BigEndian.AppendUint32(append([]byte{}, magic...), id)
	src, dst := p.Src.AsSlice(), p.Dst.AsSlice()
	var l4 []byte
	check := -1 // where the checksum over pseudo header and l4 goes
	switch p.Proto {
	case flow.TCP:
		l4 = make([]byte, 20)
		binary.BigEndian.PutUint32(l4[4:], id)
		l4[12], l4[13] = 5<<4, p.TCPFlags
		binary.BigEndian.PutUint16(l4[14:], 64240)
		check = 16
	case flow.UDP:
		l4 = append(make([]byte, 8), mark...)
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
		check = 6
	case flow.SCTP: // an INIT chunk whose TSN is the number
		l4 = append(make([]byte, 12), 1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1)
		l4 = binary.BigEndian.AppendUint32(l4, id)
	case flow.ICMP, flow.ICMPv6:
		l4 = append([]byte{byte(p.Port), 0, 0, 0, byte(ident >> 8), byte(ident), 0, 1}, mark...)
		check = 2
	case flow.GRE:
		l4 = append([]byte{0, 0, 8, 0}, mark...)
	default:
		l4 = append(binary.BigEndian.AppendUint32(nil, id*2654435761), mark...) // of ESP the SPI
	}
	if p.Proto.HasPorts() {
		binary.BigEndian.PutUint16(l4, p.SrcPort)
		binary.BigEndian.PutUint16(l4[2:], p.Port)
	}
	if p.Proto == flow.SCTP {
		binary.LittleEndian.PutUint32(l4[8:], crc32.Checksum(l4, crc32.MakeTable(crc32.Castagnoli)))
	}
	if check >= 0 {
		var s uint32
		if p.Proto != flow.ICMP {
			s = sum(src, sum(dst, uint32(len(l4))+uint32(p.Proto)))
		}
		c := fold(sum(l4, s))
		if p.Proto == flow.UDP && c == 0 {
			c = 0xffff
		}
		binary.BigEndian.PutUint16(l4[check:], c)
	}
	if p.Src.Is4() {
		ip := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, byte(p.Proto), 0, 0}
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(l4)))
		ip = append(append(ip, src...), dst...)
		binary.BigEndian.PutUint16(ip[10:], fold(sum(ip, 0)))
		return append(ip, l4...)
	}
	ip := []byte{0x60, 0, 0, 0, 0, 0, byte(p.Proto), 64}
	binary.BigEndian.PutUint16(ip[4:], uint16(len(l4)))
	return append(append(append(ip, src...), dst...), l4...)
}

// seen is what a packet on a wire says.
type seen struct {
	id    uint32
	what  string // "packet", "reset", "unreachable", "syn-ack"
	src   netip.Addr
	valid bool
}

// read recognises one of ours, or the answer to one of ours.
func read(ip []byte) seen {
	if len(ip) < 20 {
		return seen{}
	}
	var proto flow.Proto
	var l4 []byte
	var src netip.Addr
	if ip[0]>>4 == 4 {
		proto, l4 = flow.Proto(ip[9]), ip[int(ip[0]&15)*4:]
		src = netip.AddrFrom4([4]byte(ip[12:16]))
	} else {
		if len(ip) < 40 {
			return seen{}
		}
		proto, l4 = flow.Proto(ip[6]), ip[40:]
		src = netip.AddrFrom16([16]byte(ip[8:24]))
	}
	number := func(b []byte) (uint32, bool) {
		for i := 0; i+12 <= len(b); i++ {
			if string(b[i:i+8]) == string(magic) {
				return binary.BigEndian.Uint32(b[i+8:]), true
			}
		}
		return 0, false
	}
	if proto == flow.ICMP && len(l4) > 28 && l4[0] == 3 && l4[1] == 13 || proto == flow.ICMPv6 && len(l4) > 48 && l4[0] == 1 && l4[1] == 1 {
		if in := read(l4[8:]); in.valid {
			return seen{in.id, "unreachable", src, true}
		}
		return seen{}
	}
	if proto == flow.ICMP && len(l4) > 0 && (l4[0] == 3 || l4[0] == 11) || proto == flow.ICMPv6 && len(l4) > 0 && l4[0] < 128 {
		return seen{} // an error that is not a refusal
	}
	switch proto {
	case flow.TCP:
		if len(l4) < 20 {
			return seen{}
		}
		switch {
		case l4[13]&0x04 != 0 && l4[13]&0x10 != 0:
			return seen{binary.BigEndian.Uint32(l4[8:]) - 1, "reset", src, true}
		case l4[13]&0x12 == 0x12:
			return seen{binary.BigEndian.Uint32(l4[8:]) - 1, "syn-ack", src, true}
		}
		return seen{binary.BigEndian.Uint32(l4[4:]), "packet", src, true}
	case flow.SCTP:
		if len(l4) < 32 {
			return seen{}
		}
		return seen{binary.BigEndian.Uint32(l4[28:]), "packet", src, true}
	}
	id, ok := number(l4)
	return seen{id, "packet", src, ok}
}
