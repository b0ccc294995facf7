package plans

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// fault is what is wrong with a value and what to write instead.
type fault struct{ text, hint string }

// parsePrefix reads an address or a prefix without host bits.
func parsePrefix(s string) (netip.Prefix, *fault) {
	if strings.Contains(s, "%") {
		return netip.Prefix{}, &fault{fmt.Sprintf("the address %s has a zone", clip(s)), "write it without what follows the %"}
	}
	addrText, bitsText, hasBits := strings.Cut(s, "/")
	a, err := netip.ParseAddr(addrText)
	if err != nil {
		return netip.Prefix{}, &fault{fmt.Sprintf("%q is not an address or a prefix", clip(s)), addressHint(s)}
	}
	if a.Is4In6() {
		hint := "write " + a.Unmap().String()
		var bits int
		if _, err := fmt.Sscanf(bitsText, "%d", &bits); hasBits && err == nil && bits >= 96 && bits <= 128 {
			hint = "write " + netip.PrefixFrom(a.Unmap(), bits-96).Masked().String()
		}
		return netip.Prefix{}, &fault{fmt.Sprintf("%s is an IPv4 address in IPv6 clothes", clip(s)), hint}
	}
	if !hasBits {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, &fault{fmt.Sprintf("%q is not a prefix", clip(s)), fmt.Sprintf("write a length from 0 to %d, as %s/%d", a.BitLen(), a, a.BitLen())}
	}
	if p.Masked() != p {
		return netip.Prefix{}, &fault{fmt.Sprintf("%s has bits set behind its length", s), fmt.Sprintf("write %s for the network, or %s for the one address", p.Masked(), a)}
	}
	return p, nil
}

func addressHint(s string) string {
	switch {
	case strings.Count(s, "-") == 1 && strings.Count(s, ".") >= 3:
		return "a range is not a prefix: write the prefixes that it is made of"
	case strings.HasSuffix(s, ":") || strings.Count(s, ":") == 1:
		return "quote IPv6 addresses"
	case strings.Contains(s, "*"):
		return "write a prefix, as 10.0.1.0/24 for 10.0.1.*"
	}
	return `write an address or a prefix, as 10.0.1.0/24 or "fd00:0:0:1::/64"`
}

// parseMAC reads a link address of six bytes: unicast, not all zeros.
func parseMAC(s string) (string, *fault) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return "", &fault{fmt.Sprintf("%q is not a link address", clip(s)), `write six bytes in quotes, as "02:00:5e:10:00:07"`}
	}
	if hw[0]&1 != 0 {
		return "", &fault{fmt.Sprintf("%s is a multicast address", hw), "write the address of one endpoint, as ip neigh shows it"}
	}
	if hw.String() == "00:00:00:00:00:00" {
		return "", &fault{"the link address is all zeros", "write the address of one endpoint, as ip neigh shows it"}
	}
	return hw.String(), nil
}

func overlapsAny(p netip.Prefix, list []netip.Prefix) bool {
	for _, q := range list {
		if p.Overlaps(q) {
			return true
		}
	}
	return false
}

// within returns whether one of the list contains the whole of p.
func within(p netip.Prefix, list []netip.Prefix) bool {
	for _, q := range list {
		if q.Bits() <= p.Bits() && q.Overlaps(p) {
			return true
		}
	}
	return false
}
