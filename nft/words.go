package nft

import "weir/phases/flow"

// names holds the words of one type's values, both ways.
type names struct {
	word  map[uint32]string
	value map[string]uint32
}

func newNames(m map[uint32]string) names {
	n := names{word: m, value: make(map[string]uint32, len(m))}
	for v, w := range m {
		n.value[w] = v
	}
	return n
}

// bitWords lists a mask's words in the order in which they are printed.
type bitWords []struct {
	bit  uint32
	word string
}

// Values that have words in nft 1.0.6 without a file of the system.
var (
	protoNames = newNames(map[uint32]string{
		uint32(flow.ICMP): "icmp", uint32(flow.TCP): "tcp", uint32(flow.UDP): "udp",
		uint32(flow.DCCP): "dccp", uint32(flow.ESP): "esp", uint32(flow.AH): "ah",
		uint32(flow.ICMPv6): "icmpv6", uint32(flow.SCTP): "sctp", uint32(flow.UDPLite): "udplite",
	})
	familyNames    = newNames(map[uint32]string{2: "ipv4", 10: "ipv6"})
	directionNames = newNames(map[uint32]string{0: "original", 1: "reply"})
	ifaceNames     = newNames(map[uint32]string{1: "ether"})
	fibNames       = newNames(map[uint32]string{
		1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast",
		6: "blackhole", 7: "unreachable", 8: "prohibit",
	})
	icmpNames = newNames(map[uint32]string{
		0: "echo-reply", 3: "destination-unreachable", 4: "source-quench", 5: "redirect",
		8: "echo-request", 9: "router-advertisement", 10: "router-solicitation",
		11: "time-exceeded", 12: "parameter-problem", 13: "timestamp-request",
		14: "timestamp-reply", 15: "info-request", 16: "info-reply",
		17: "address-mask-request", 18: "address-mask-reply",
	})
	icmp6Names = newNames(map[uint32]string{
		1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded",
		4: "parameter-problem", 128: "echo-request", 129: "echo-reply",
		130: "mld-listener-query", 131: "mld-listener-report", 132: "mld-listener-done",
		133: "nd-router-solicit", 134: "nd-router-advert", 135: "nd-neighbor-solicit",
		136: "nd-neighbor-advert", 137: "nd-redirect", 138: "router-renumbering",
		141: "ind-neighbor-solicit", 142: "ind-neighbor-advert", 143: "mld2-listener-report",
	})
)

var (
	stateBits = bitWords{{1, "invalid"}, {2, "established"}, {4, "related"}, {8, "new"}, {64, "untracked"}}
	// linux/netfilter/nf_conntrack_common.h, enum ip_conntrack_status
	statusBits = bitWords{{1, "expected"}, {2, "seen-reply"}, {4, "assured"}, {8, "confirmed"}, {16, "snat"}, {32, "dnat"}, {512, "dying"}}
	flagBits   = bitWords{{1, "fin"}, {2, "syn"}, {4, "rst"}, {8, "psh"}, {16, "ack"}, {32, "urg"}, {64, "ecn"}, {128, "cwr"}}
)

// words returns the words of a type whose values are single numbers.
func (t Type) words() names {
	switch t {
	case InetProto:
		return protoNames
	case NFProto:
		return familyNames
	case ctDirection:
		return directionNames
	case ifaceType:
		return ifaceNames
	case fibType:
		return fibNames
	case ICMPType:
		return icmpNames
	case ICMPv6Type:
		return icmp6Names
	}
	return names{}
}

func (t Type) bits() bitWords {
	switch t {
	case ctState:
		return stateBits
	case ctStatus:
		return statusBits
	case tcpFlag:
		return flagBits
	}
	return nil
}
