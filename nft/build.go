package nft

import (
	"encoding/binary"
	"net/netip"

	"weir/phases/flow"
)

// Addr returns the key of an address: 4 bytes of IPv4 (4in6 counts as such),
// 16 of IPv6.
func Addr(a netip.Addr) []byte { return a.Unmap().AsSlice() }

// Range returns a prefix's first and last address as keys.
func Range(p netip.Prefix) (lo, hi []byte) {
	p = p.Masked()
	lo, hi = p.Addr().AsSlice(), p.Addr().AsSlice()
	for i := range hi {
		switch left := p.Bits() - 8*i; {
		case left <= 0:
			hi[i] = 0xff
		case left < 8:
			hi[i] |= 0xff >> left
		}
	}
	return lo, hi
}

// Port returns the key of a port.
func Port(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// ProtoKey returns the key of an IP protocol.
func ProtoKey(p flow.Proto) []byte { return []byte{byte(p)} }

// FamilyKey returns the key of an address family in a map of nf_proto.
func FamilyKey(f flow.Family) []byte {
	if f == flow.IPv4 {
		return []byte{2}
	}
	return []byte{10}
}

// Iface returns the key of a name of at most 15 bytes, padded to 16. What is
// longer is cut; Check refuses it in a ruleset.
func Iface(name string) []byte {
	k := make([]byte, 16)
	copy(k, name)
	return k
}

func isIface(s string) bool {
	if len(s) == 0 || len(s) > 15 || s[len(s)-1] == '*' {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == '"' || s[i] == '\\' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// MarkKey returns the key of a mark, in host byte order.
func MarkKey(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// Concat joins fields to the key of a concatenation: each is padded with zero
// bytes to a multiple of 4.
func Concat(fields ...[]byte) []byte {
	n := 0
	for _, f := range fields {
		n += padded(len(f))
	}
	k := make([]byte, n)
	at := 0
	for _, f := range fields {
		copy(k[at:], f)
		at += padded(len(f))
	}
	return k
}

// Statements and rules, for rulesets that read like nft text.

// R is a rule of the statements.
func R(s ...Stmt) Rule { return Rule{Stmts: s} }

// Is matches a field with one of the values.
func Is(f Field, values ...[]byte) Match {
	m := Match{Fields: []Field{f}}
	for _, v := range values {
		m.Values = append(m.Values, Value{Lo: v})
	}
	return m
}

// IsNot matches a field with none of the values.
func IsNot(f Field, values ...[]byte) Match {
	m := Is(f, values...)
	m.Not = true
	return m
}

// InPrefix matches a field with one of the prefixes.
func InPrefix(f Field, prefixes ...netip.Prefix) Match {
	m := Match{Fields: []Field{f}}
	for _, p := range prefixes {
		lo, hi := Range(p)
		if p.IsSingleIP() {
			hi = nil
		}
		m.Values = append(m.Values, Value{lo, hi})
	}
	return m
}

// In matches fields with a named set.
func In(set string, fields ...Field) Match { return Match{Fields: fields, Set: set} }

// NotIn matches fields that are not in a named set.
func NotIn(set string, fields ...Field) Match { return Match{Fields: fields, Set: set, Not: true} }

// Lookup is a Vmap.
func Lookup(m string, fields ...Field) Vmap { return Vmap{Fields: fields, Map: m} }

// State matches connections in one of the states ("established", "new" …).
// An unknown word makes a match that Check refuses.
func State(words ...string) Match { return maskOf(CTState, stateBits, words) }

// Status matches connections with one of the status bits ("expected" …).
func Status(words ...string) Match { return maskOf(CTStatus, statusBits, words) }

// Reply matches packets in the direction of the answers.
func Reply() Match { return Is(CTDirection, []byte{1}) }

func maskOf(f Field, bs bitWords, words []string) Match {
	var mask uint32
	for _, w := range words {
		n, ok := parseMask(bs, w, ",")
		if !ok {
			return Match{Fields: []Field{f}}
		}
		mask |= n
	}
	return Match{Fields: []Field{f}, Values: []Value{{Lo: encode(f.Type(), mask)}}}
}

// NoSYN matches packets of a new TCP connection that are not its first: tcp
// flags & (fin | syn | rst | ack) != syn.
func NoSYN() Match {
	return Match{Fields: []Field{TCPFlags}, Not: true, Mask: []byte{1 | 2 | 4 | 16}, Values: []Value{{Lo: []byte{2}}}}
}

// Accept lets the packet pass this table.
func Accept() Verdict { return Verdict{Kind: "accept"} }

// Drop drops the packet.
func Drop() Verdict { return Verdict{Kind: "drop"} }

// Return goes back to the rule behind the jump.
func Return() Verdict { return Verdict{Kind: "return"} }

// Jump goes to a chain and comes back.
func Jump(chain string) Verdict { return Verdict{Kind: "jump", Chain: chain} }

// Goto goes to a chain and does not come back.
func Goto(chain string) Verdict { return Verdict{Kind: "goto", Chain: chain} }

// To returns a verdict for an Element.
func To(v Verdict) *Verdict { return &v }
