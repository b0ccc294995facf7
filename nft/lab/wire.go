package lab

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"weir/nft/eval"
	"weir/phases/flow"
)

// magic stands before a packet's number.
var magic = []byte("weirplay")

// Tag is what every packet carries: the magic word and its number.
func Tag(id uint32) []byte { return binary.BigEndian.AppendUint32(slices.Clone(magic), id) }

// number finds a packet's number in a frame.
func number(frame []byte) (uint32, bool) {
	i := bytes.Index(frame, magic)
	if i < 0 || len(frame) < i+len(magic)+4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(frame[i+len(magic):]), true
}

// IP writes an IP packet that carries payload behind its tag, with good
// checksums: connection tracking calls others invalid. An echo's identifier and
// a TCP packet's sequence number follow the source port, so that what belongs to
// one connection is known as such.
func IP(p eval.Packet, id uint32, payload []byte) []byte {
	body := append(Tag(id), payload...)
	var l4 []byte
	check := -1 // where the checksum goes
	switch p.Proto {
	case flow.TCP:
		l4 = make([]byte, 20)
		flags := p.TCPFlags
		if flags == 0 {
			flags = 0x02
			if p.State == eval.Established {
				flags = 0x18
			}
		}
		binary.BigEndian.PutUint32(l4[4:], 1000)
		l4[12], l4[13] = 5<<4, flags
		binary.BigEndian.PutUint16(l4[14:], 64240)
		l4, check = append(l4, body...), 16
	case flow.UDP, flow.UDPLite:
		l4 = append(make([]byte, 8), body...)
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
		check = 6
	case flow.SCTP: // an INIT chunk, and the tag behind it as one that is skipped
		l4 = append(make([]byte, 12), 1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1)
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		binary.BigEndian.PutUint16(l4[14:], uint16(20+4+len(body)))
		l4 = append(l4, 0x80, 0x08, byte((4+len(body))>>8), byte(4+len(body)))
		l4 = append(l4, body...)
	case flow.ICMP, flow.ICMPv6:
		l4 = append([]byte{byte(p.Port), 0, 0, 0, byte(p.SrcPort >> 8), byte(p.SrcPort), 0, 1}, body...)
		check = 2
	case flow.GRE:
		l4 = append([]byte{0, 0, 8, 0}, body...)
	case flow.ESP:
		l4 = append([]byte{0, 0, 1, 0, 0, 0, 0, 1}, body...)
	case flow.DCCP: // a request
		l4 = make([]byte, 20)
		l4[4], l4[8] = 5, 1
		l4, check = append(l4, body...), 6
	default:
		l4 = body
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
			s = sum(p.Src.AsSlice(), sum(p.Dst.AsSlice(), uint32(len(l4))+uint32(p.Proto)))
		}
		c := fold(sum(l4, s))
		if c == 0 && (p.Proto == flow.UDP || p.Proto == flow.UDPLite) {
			c = 0xffff
		}
		binary.BigEndian.PutUint16(l4[check:], c)
	}
	return header(p, l4)
}

func header(p eval.Packet, l4 []byte) []byte {
	src, dst := p.Src.AsSlice(), p.Dst.AsSlice()
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

// Fragments splits an IP packet into two (RFC 791, RFC 8200 4.5). The number is
// in the first.
func Fragments(ip []byte, id uint32) [][]byte {
	const unit = 8
	six := ip[0]>>4 == 6
	head := 20
	if six {
		head = 40
	}
	body := ip[head:]
	cut := len(body) / 2 / unit * unit
	var out [][]byte
	for _, part := range []struct {
		from, to int
		more     bool
	}{{0, cut, true}, {cut, len(body), false}} {
		h := slices.Clone(ip[:head])
		more := uint16(0)
		if part.more {
			more = 1
		}
		if !six {
			binary.BigEndian.PutUint16(h[2:], uint16(head+part.to-part.from))
			binary.BigEndian.PutUint16(h[4:], uint16(id))
			binary.BigEndian.PutUint16(h[6:], more<<13|uint16(part.from/unit))
			binary.BigEndian.PutUint16(h[10:], 0)
			binary.BigEndian.PutUint16(h[10:], fold(sum(h, 0)))
			out = append(out, append(h, body[part.from:part.to]...))
			continue
		}
		ext := []byte{h[6], 0, 0, 0, 0, 0, 0, 0}
		binary.BigEndian.PutUint16(ext[2:], uint16(part.from)|more)
		binary.BigEndian.PutUint32(ext[4:], id)
		h[6] = 44
		binary.BigEndian.PutUint16(h[4:], uint16(len(ext)+part.to-part.from))
		out = append(out, append(append(h, ext...), body[part.from:part.to]...))
	}
	return out
}
