package flow

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Proto is an IP protocol number as in the IANA registry "Assigned Internet
// Protocol Numbers". Its text is the short name for those in names, else
// "ip/<number>". Zero (hop-by-hop options) never names a transport and is
// weir's invalid value.
type Proto uint8

// The protocols that weir knows by name.
const (
	ICMP    Proto = 1
	IGMP    Proto = 2
	TCP     Proto = 6
	UDP     Proto = 17
	DCCP    Proto = 33
	GRE     Proto = 47
	ESP     Proto = 50
	AH      Proto = 51
	ICMPv6  Proto = 58
	OSPF    Proto = 89
	IPIP    Proto = 4
	PIM     Proto = 103
	VRRP    Proto = 112
	SCTP    Proto = 132
	UDPLite Proto = 136
)

var protoNames = map[Proto]string{
	ICMP: "icmp", IGMP: "igmp", TCP: "tcp", UDP: "udp", DCCP: "dccp", GRE: "gre",
	ESP: "esp", AH: "ah", ICMPv6: "icmpv6", OSPF: "ospf", IPIP: "ipip", PIM: "pim", VRRP: "vrrp",
	SCTP: "sctp", UDPLite: "udplite",
}

var protoByName = func() map[string]Proto {
	m := make(map[string]Proto, len(protoNames))
	for p, n := range protoNames {
		m[n] = p
	}
	return m
}()

func (p Proto) String() string {
	if p == 0 {
		return ""
	}
	if n, ok := protoNames[p]; ok {
		return n
	}
	return "ip/" + strconv.Itoa(int(p))
}

// HasPorts says whether the protocol carries ports where the kernel's
// "th dport" reads them. Reading any other protocol that way gives random
// bytes (of ESP the SPI, a new "port" at every rekey).
func (p Proto) HasPorts() bool {
	switch p {
	case TCP, UDP, DCCP, SCTP, UDPLite:
		return true
	}
	return false
}

// IsICMP says whether the protocol is ICMP or ICMPv6, whose services are types.
func (p Proto) IsICMP() bool { return p == ICMP || p == ICMPv6 }

// ParseProto reads a protocol's name or "ip/<1..255>".
func ParseProto(s string) (Proto, error) {
	if p, ok := protoByName[s]; ok {
		return p, nil
	}
	if n, ok := strings.CutPrefix(s, "ip/"); ok {
		v, err := strconv.ParseUint(n, 10, 8)
		if err == nil && v > 0 {
			return Proto(v), nil
		}
	}
	return 0, fmt.Errorf("cannot read protocol %q: want tcp, udp, icmp, icmpv6, esp, gre … or ip/1 to ip/255", s)
}

// Family is the address family of a flow.
type Family string

// The two families; the zero value is invalid.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
)

// FamilyOf returns the family of an address; 4in6 counts as IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}
