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
	size := KeyLen(types)
	lo = p.alloc(size)
	if cap(p.end) < size {
		p.end = make([]byte, size)
	}
	end := p.end[:size]
	at, ranged := 0, false
	for i, t := range types {
		if i > 0 {
			if err := p.expect("."); err != nil {
				return nil, nil, err
			}
		}
		w := t.Width()
		r, err := p.field(t, lo[at:at+w], end[at:at+w])
		if err != nil {
			return nil, nil, err
		}
		ranged = ranged || r
		at += w
		for ; len(types) > 1 && at%4 != 0; at++ {
			end[at] = 0
		}
	}
	if ranged {
		hi = p.alloc(size)
		copy(hi, end)
	}
	return lo, hi, nil
}

// alloc cuts n zero bytes from a larger piece: a set of a million keys is not
// a million pieces of memory.
func (p *parser) alloc(n int) []byte {
	const piece = 16 << 10
	if len(p.room) < n {
		p.room = make([]byte, piece)
	}
	b := p.room[:n:n]
	p.room = p.room[n:]
	return b
}

// field reads one value or range into lo and hi, which are equal for a value.
func (p *parser) field(t Type, lo, hi []byte) (ranged bool, err error) {
	if t == IfName {
		at := p.tok.at
		s, err := p.quoted("an interface's name")
		if err != nil {
			return false, err
		}
		if !isIface(s) {
			return false, p.errorAt(at, "%q is no interface's name: want 1 to 15 bytes, no * at the end", s)
		}
		copy(lo, s)
		copy(hi, lo)
		return false, nil
	}
	if p.tok.kind != tokWord || !parseField(t, lo, hi, p.tok.text) {
		return false, p.want("a value of type " + string(t))
	}
	p.scan()
	return !bytes.Equal(lo, hi), nil
}

func parseField(t Type, lo, hi []byte, s string) bool {
	if parseValue(t, lo, s) {
		copy(hi, lo)
		return true
	}
	if (t == IPv4Addr || t == IPv6Addr) && strings.IndexByte(s, '/') >= 0 {
		x, err := netip.ParsePrefix(s)
		if err != nil || x != x.Masked() || x.Addr().Is4() != (t == IPv4Addr) {
			return false
		}
		l, h := Range(x)
		copy(lo, l)
		copy(hi, h)
		return true
	}
	from, to, ranged := strings.Cut(s, "-")
	return ranged && !t.bitMask() && parseValue(t, lo, from) && parseValue(t, hi, to) && inOrder(t, lo, hi)
}

// inOrder says whether a range does not run backwards.
func inOrder(t Type, lo, hi []byte) bool {
	if t.hostOrder() {
		return number(t, lo) <= number(t, hi)
	}
	return bytes.Compare(lo, hi) <= 0
}

// parseValue reads one value into dst, which has the type's width.
func parseValue(t Type, dst []byte, s string) bool {
	switch t {
	case IPv4Addr, IPv6Addr:
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.Is4() != (t == IPv4Addr) {
			return false
		}
		if t == IPv4Addr {
			b := a.As4()
			copy(dst, b[:])
		} else {
			b := a.As16()
			copy(dst, b[:])
		}
		return true
	case EtherAddr:
		if len(s) != 17 {
			return false
		}
		for i := range dst {
			if i > 0 && s[3*i-1] != ':' {
				return false
			}
			if _, err := hex.Decode(dst[i:i+1], []byte(s[3*i:3*i+2])); err != nil {
				return false
			}
		}
		return true
	}
	if bs := t.bits(); bs != nil {
		n, ok := parseMask(bs, s, ",")
		encodeTo(dst, t, n)
		return ok
	}
	if n, ok := parseNumber(s, 1<<(8*len(dst))-1); ok {
		encodeTo(dst, t, uint32(n))
		return true
	}
	n, ok := t.words().value[s]
	encodeTo(dst, t, n)
	return ok
}

// encode returns a value of up to four bytes.
func encode(t Type, n uint32) []byte {
	v := make([]byte, t.Width())
	encodeTo(v, t, n)
	return v
}

func encodeTo(dst []byte, t Type, n uint32) {
	switch {
	case len(dst) == 1:
		dst[0] = byte(n)
	case len(dst) == 2 && t.hostOrder():
		binary.NativeEndian.PutUint16(dst, uint16(n))
	case len(dst) == 2:
		binary.BigEndian.PutUint16(dst, uint16(n))
	case t.hostOrder():
		binary.NativeEndian.PutUint32(dst, n)
	default:
		binary.BigEndian.PutUint32(dst, n)
	}
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
	if s == "" || base == 10 && (s[0] < '0' || s[0] > '9') || s[0] == '+' || s[0] == '-' || s[0] == '_' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil && n <= high
}
