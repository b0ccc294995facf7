package suggest

import (
	"net/netip"
	"slices"
)

// covers writes the addresses of one class as few prefixes. A prefix of IPv4
// stands for them where more than half of its addresses were seen, and all of
// these are of the class; an address of IPv6 stands for itself. Both lists are
// sorted; others are the addresses of the group's other classes.
func covers(own, others []netip.Addr, within []netip.Prefix) (out []netip.Prefix) {
	for i := 0; i < len(own); {
		a := own[i]
		best := netip.PrefixFrom(a, a.BitLen())
		for bits := a.BitLen() - 1; a.Is4() && bits >= 8; bits-- {
			p, _ := a.Prefix(bits)
			if p.Addr() != a && p.Addr().Less(a) && i > 0 && !own[i-1].Less(p.Addr()) {
				break // a part of it is written already
			}
			if !inside(p, within) || some(others, p) > 0 || 2*some(own, p) <= 1<<(32-bits) {
				if some(others, p) > 0 || !inside(p, within) {
					break
				}
				continue
			}
			best = p
		}
		out = append(out, best)
		i += some(own[i:], best)
	}
	return out
}

// some counts the addresses of a sorted list in a prefix.
func some(list []netip.Addr, p netip.Prefix) int {
	from, _ := slices.BinarySearchFunc(list, p.Masked().Addr(), netip.Addr.Compare)
	n := 0
	if p.Bits() == p.Addr().BitLen() {
		if from < len(list) && list[from] == p.Addr() {
			n = 1
		}
		return n
	}
	to, _ := slices.BinarySearchFunc(list[from:], p, func(a netip.Addr, p netip.Prefix) int {
		if p.Contains(a) {
			return -1
		}
		return 1
	})
	return to
}

func inside(p netip.Prefix, within []netip.Prefix) bool {
	return slices.ContainsFunc(within, func(w netip.Prefix) bool { return w.Bits() <= p.Bits() && w.Overlaps(p) })
}
