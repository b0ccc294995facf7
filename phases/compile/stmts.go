package compile

import (
	"encoding/binary"
	"net/netip"

	"weir/nft"
	"weir/phases/flow"
)

// Bits of connection tracking as nft/stmt.go wants them: host byte order.
const (
	stateInvalid     = 1
	stateEstablished = 2
	stateRelated     = 4
	stateNew         = 8
	stateUntracked   = 64
	statusExpected   = 1
	statusDNAT       = 1 << 5
	arphrdEther      = 1
	fibLocal         = 2 // RTN_LOCAL
)

func rule(s ...nft.Stmt) nft.Rule { return nft.Rule{Stmts: s} }

func host32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func host16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }

func one(b ...byte) nft.Value { return nft.Value{Lo: b} }

func is(f nft.Field, v ...nft.Value) nft.Match {
	return nft.Match{Fields: []nft.Field{f}, Values: v}
}

func in(set string, f ...nft.Field) nft.Match { return nft.Match{Fields: f, Set: set} }

func notIn(set string, f ...nft.Field) nft.Match { return nft.Match{Fields: f, Set: set, Not: true} }

func state(bit uint32) nft.Match { return is(nft.CTState, nft.Value{Lo: host32(bit)}) }

// proto matches one protocol: meta l4proto icmp
func proto(p flow.Proto) nft.Match { return is(nft.L4Proto, one(byte(p))) }

// ported matches the protocols whose ports "th dport" reads:
// meta l4proto { tcp, udp, dccp, sctp, udplite }
func ported() nft.Match {
	return is(nft.L4Proto, one(6), one(17), one(33), one(132), one(136))
}

// portedRules gives a verdict to the protocols with ports: the two that nearly
// every packet is of are compared, which is faster than a set.
//
//	meta l4proto tcp jump …
//	meta l4proto udp jump …
//	meta l4proto { dccp, sctp, udplite } jump …
func portedRules(v nft.Verdict) []nft.Rule {
	return []nft.Rule{rule(proto(flow.TCP), v), rule(proto(flow.UDP), v), rule(is(nft.L4Proto, one(33), one(132), one(136)), v)}
}

// bare matches the others, apart from the family's ICMP:
// meta l4proto != { icmp, tcp, udp, dccp, sctp, udplite }
func (f family) bare() nft.Match {
	m := ported()
	m.Not = true
	m.Values = append(m.Values, one(byte(f.icmp)))
	return m
}

func ifname(name string) nft.Value {
	b := make([]byte, 16)
	copy(b, name)
	return nft.Value{Lo: b}
}

func ifnames(f nft.Field, names []string) nft.Match {
	m := nft.Match{Fields: []nft.Field{f}}
	for _, n := range names {
		m.Values = append(m.Values, ifname(n))
	}
	return m
}

var (
	accept = nft.Verdict{Kind: "accept"}
	drop   = nft.Verdict{Kind: "drop"}
	ret    = nft.Verdict{Kind: "return"}
)

func jump(chain string) nft.Verdict          { return nft.Verdict{Kind: "jump", Chain: chain} }
func goTo(chain string) nft.Verdict          { return nft.Verdict{Kind: "goto", Chain: chain} }
func count(name string) nft.Count            { return nft.Count{Name: name} }
func vmap(m string, f ...nft.Field) nft.Vmap { return nft.Vmap{Fields: f, Map: m} }

// family holds what differs between IPv4 and IPv6 in rules and sets.
type family struct {
	fam          flow.Family
	suffix       string
	nfproto      byte
	saddr, daddr nft.Field
	addr         nft.Type
	icmp         flow.Proto
	icmpField    nft.Field
	icmpType     nft.Type
	bits         int
}

var families = []family{
	{flow.IPv4, "4", 2, nft.IPSaddr, nft.IPDaddr, nft.IPv4Addr, flow.ICMP, nft.ICMPTypeF, nft.ICMPType, 32},
	{flow.IPv6, "6", 10, nft.IP6Saddr, nft.IP6Daddr, nft.IPv6Addr, flow.ICMPv6, nft.ICMP6TypeF, nft.ICMPv6Type, 128},
}

// is matches the family: meta nfproto ipv4. It stands before every match that
// is negated and every set operation, whose address fields imply it only in
// nft text.
func (f family) is() nft.Match { return is(nft.NFProtoF, one(f.nfproto)) }

func familyOf(p netip.Prefix) family {
	if p.Addr().Is4() {
		return families[0]
	}
	return families[1]
}

// last returns the last address of a masked prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
