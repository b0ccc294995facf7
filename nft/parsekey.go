package nft

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// key reads the value of one or more types: "10.0.0.0/8 . tcp . 80-90". The
// end is nil where nothing in it is a range.
func (p *parser) key(types []Type) (lo, hi []byte, err error) {
	if len(types) == 1 {
		return p.field(types[0])
	}
	size := KeyLen(types)
	buf := make([]byte, 2*size)
	lo, hi = buf[:size:size], buf[size:]
	at, ranged := 0, false
	for i, t := range types {
		if i > 0 {
			if err := p.expect("."); err != nil {
				return nil, nil, err
			}
		}
		l, h, err := p.field(t)
		if err != nil {
			return nil, nil, err
		}
		copy(lo[at:], l)
		if h != nil {
			ranged = true
			l = h
		}
		copy(hi[at:], l)
		at += padded(t.Width())
	}
	if !ranged {
		hi = nil
	}
	return lo, hi, nil
}

// field reads one value or range.
func (p *parser) field(t Type) (lo, hi []byte, err error) {
	if t == IfName {
		at := p.tok.at
		s, err := p.quoted("an interface's name")
		if err != nil {
			return nil, nil, err
		}
		if !isIface(s) {
			return nil, nil, p.errorAt(at, "%q is no interface's name: want 1 to 15 bytes, no * at the end", s)
		}
		return Iface(s), nil, nil
	}
	if p.tok.kind != tokWord {
		return nil, nil, p.want("a value of type " + string(t))
	}
	lo, hi, ok := parseField(t, p.tok.text)
	if !ok {
		return nil, nil, p.want("a value of type " + string(t))
	}
	p.scan()
	if bytes.Equal(lo, hi) {
		hi = nil
	}
	return lo, hi, nil
}

func parseField(t Type, s string) (lo, hi []byte, ok bool) {
	switch t {
	case IPv4Addr, IPv6Addr:
		if strings.IndexByte(s, '/') >= 0 {
			x, err := netip.ParsePrefix(s)
			if err != nil || x != x.Masked() || x.Addr().Is4() != (t == IPv4Addr) {
				return nil, nil, false
			}
			lo, hi = Range(x)
			return lo, hi, true
		}
	}
	if lo, ok = parseValue(t, s); ok {
		return lo, nil, true
	}
	from, to, isRange := strings.Cut(s, "-")
	if !isRange || t.bitMask() {
		return nil, nil, false
	}
	lo, ok1 := parseValue(t, from)
	hi, ok2 := parseValue(t, to)
	return lo, hi, ok1 && ok2 && inOrder(t, lo, hi)
}

// inOrder says whether a range does not run backwards.
func inOrder(t Type, lo, hi []byte) bool {
	if t.hostOrder() {
		return number(t, lo) <= number(t, hi)
	}
	return bytes.Compare(lo, hi) <= 0
}

func parseValue(t Type, s string) ([]byte, bool) {
	switch t {
	case IPv4Addr, IPv6Addr:
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.Is4() != (t == IPv4Addr) {
			return nil, false
		}
		return a.AsSlice(), true
	case EtherAddr:
		if len(s) != 17 {
			return nil, false
		}
		v := make([]byte, 6)
		for i := range v {
			if i > 0 && s[3*i-1] != ':' {
				return nil, false
			}
			if _, err := hex.Decode(v[i:i+1], []byte(s[3*i:3*i+2])); err != nil {
				return nil, false
			}
		}
		return v, true
	}
	if bs := t.bits(); bs != nil {
		n, ok := parseMask(bs, s, ",")
		return encode(t, n), ok
	}
	if n, ok := t.words().value[s]; ok {
		return encode(t, n), true
	}
	n, ok := parseNumber(s, 1<<(8*t.Width())-1)
	return encode(t, uint32(n)), ok
}

// encode writes a value of up to four bytes.
func encode(t Type, n uint32) []byte {
	switch w := t.Width(); {
	case w == 1:
		return []byte{byte(n)}
	case w == 2 && t.hostOrder():
		return binary.NativeEndian.AppendUint16(nil, uint16(n))
	case w == 2:
		return binary.BigEndian.AppendUint16(nil, uint16(n))
	case t.hostOrder():
		return binary.NativeEndian.AppendUint32(nil, n)
	}
	return binary.BigEndian.AppendUint32(nil, n)
}

func parseMask(bs bitWords, s, sep string) (mask uint32, ok bool) {
	if strings.HasPrefix(s, "0x") {
		n, ok := parseNumber(s, 1<<32-1)
		return uint32(n), ok
	}
next:
	for w := range strings.SplitSeq(s, sep) {
		for _, x := range bs {
			if x.word == w && mask&x.bit == 0 {
				mask |= x.bit
				continue next
			}
		}
		return 0, false
	}
	return mask, true
}

// parseNumber reads digits, or 0x and hexadecimal digits.
func parseNumber(s string, high uint64) (uint64, bool) {
	base := 10
	if h, ok := strings.CutPrefix(s, "0x"); ok {
		s, base = h, 16
	}
	if s == "" || s[0] == '+' || s[0] == '-' || s[0] == '_' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil && n <= high
}
