package capture

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
)

// ip4 and ip6 build packets byte by byte.
func ip4(proto byte, frag uint16, options int, payload ...byte) []byte {
	b := make([]byte, 20+options)
	b[0] = 4<<4 | byte(5+options/4)
	binary.BigEndian.PutUint16(b[6:], frag)
	b[9] = proto
	copy(b[12:], []byte{10, 0, 0, 1, 192, 0, 2, 9})
	return append(b, payload...)
}

func ip6(next byte, payload ...byte) []byte {
	b := make([]byte, 40)
	b[0], b[6] = 6<<4, next
	a := netip.MustParseAddr("fd20::1").As16()
	copy(b[8:], a[:])
	a = netip.MustParseAddr("2001:db8::9").As16()
	copy(b[24:], a[:])
	return append(b, payload...)
}

func join(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func TestDecodePacket(t *testing.T) {
	ports := []byte{0x30, 0x39, 1, 0xbb} // 12345 to 443
	hop := func(next byte) []byte { return []byte{next, 0, 5, 2, 0, 0, 1, 0} }
	long := func(next byte) []byte { return append([]byte{next, 1}, make([]byte, 14)...) }
	frag := func(next byte, off uint16) []byte { return []byte{next, 0, byte(off >> 8), byte(off), 0, 0, 0, 1} }
	for _, c := range []struct {
		name  string
		in    []byte
		proto string
		port  uint16
		later bool
		short bool
	}{
		{"tcp", ip4(6, 0x4000, 0, ports...), "tcp", 443, false, false},
		{"options move the ports", ip4(17, 0, 8, ports...), "udp", 443, false, false},
		{"first fragment has ports", ip4(17, 0x2000, 0, ports...), "udp", 443, false, false},
		{"later fragment has none", ip4(17, 0x2001, 0, ports...), "udp", 0, true, false},
		{"last fragment has none", ip4(17, 0x0001, 0, ports...), "udp", 0, true, false},
		{"cut off before the ports", ip4(6, 0, 0, 1, 2, 3), "tcp", 0, false, true},
		{"icmp is its type", ip4(1, 0, 0, 8, 0, 1, 2), "icmp", 8, false, false},
		{"icmp without a type", ip4(1, 0, 0), "icmp", 0, false, true},
		{"esp has no ports", ip4(50, 0, 0, ports...), "esp", 0, false, false},
		{"esp may be empty", ip4(50, 0, 0), "esp", 0, false, false},
		{"sctp", ip4(132, 0, 0, ports...), "sctp", 443, false, false},
		{"dccp", ip4(33, 0, 0, ports...), "dccp", 443, false, false},
		{"udplite", ip4(136, 0, 0, ports...), "udplite", 443, false, false},
		{"ipv6", ip6(6, ports...), "tcp", 443, false, false},
		{"icmpv6", ip6(58, 128), "icmpv6", 128, false, false},
		{"extension headers are skipped", ip6(0, join(hop(60), long(43), long(6), ports)...), "tcp", 443, false, false},
		{"first fragment", ip6(44, join(frag(17, 1), ports)...), "udp", 443, false, false},
		{"later fragment", ip6(44, join(frag(17, 8|1), ports)...), "udp", 0, true, false},
		{"headers before a fragment", ip6(0, join(hop(44), frag(6, 0), ports)...), "tcp", 443, false, false},
		{"an authentication header is the protocol", ip6(51, 6, 4, 0, 0), "ah", 0, false, false},
		{"no next header", ip6(59), "ip/59", 0, false, false},
		{"gre in ipv6", ip6(47, ports...), "gre", 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := DecodePacket(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if p.Proto.String() != c.proto || p.Port() != c.port || p.Later != c.later || p.Short != c.short {
				t.Errorf("got %+v", p)
			}
		})
	}
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"nothing":               {nil, ErrShortPacket},
		"half a header":         {ip4(6, 0, 0)[:19], ErrShortPacket},
		"half of ipv6":          {ip6(6)[:39], ErrShortPacket},
		"half an extension":     {ip6(0, 6), ErrShortPacket},
		"half a fragment":       {ip6(44, 6, 0, 0, 0), ErrShortPacket},
		"arp":                   {[]byte{0, 1, 8, 0}, ErrNotIP},
		"a header length of 16": {append([]byte{0x44}, make([]byte, 30)...), ErrNotIP},
	} {
		if _, err := DecodePacket(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s gives %v, want %v", name, err, c.want)
		}
	}
}

func TestParseTag(t *testing.T) {
	for _, prefix := range []string{"", "weir", "weir x ", "weir a ", "weir d", "weir h ", "weir n desks ", "weir q desks ", "other a desks", "weir a b c"} {
		if tag, ok := ParseTag(prefix); ok {
			t.Errorf("%q is %+v", prefix, tag)
		}
	}
}
