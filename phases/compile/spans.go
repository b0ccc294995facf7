package compile

import (
	"cmp"
	"net/netip"
	"slices"
)

// addrRange is a range of addresses, both ends included, and whose it is.
type addrRange struct {
	lo, hi netip.Addr
	group  string
}

// joined returns the union of prefixes of one family as disjoint ranges that do
// not touch.
func joined(list []netip.Prefix) []addrRange {
	var in []member
	for _, p := range list {
		in = append(in, member{p, ""})
	}
	return flatten(in)
}

// member is a prefix and the group it belongs to.
type member struct {
	prefix netip.Prefix
	group  string
}

// flatten turns nested prefixes into disjoint ranges in which the longest
// prefix wins, and joins neighbours of one group. Equal prefixes must have
// equal groups.
func flatten(in []member) []addrRange {
	in = slices.Clone(in)
	slices.SortFunc(in, func(a, b member) int { return comparePrefixes(a.prefix, b.prefix) })
	var out []addrRange
	emit := func(lo, hi netip.Addr, group string) {
		if hi.Less(lo) {
			return
		}
		if n := len(out); n > 0 && out[n-1].group == group && out[n-1].hi.Next() == lo {
			out[n-1].hi = hi
			return
		}
		out = append(out, addrRange{lo, hi, group})
	}
	// open holds the prefixes around the current address, outermost first;
	// next is the first address that is not yet written.
	var open []member
	var next netip.Addr
	closeUntil := func(limit netip.Addr) {
		for n := len(open); n > 0; n = len(open) {
			end := last(open[n-1].prefix)
			if limit.IsValid() && !end.Less(limit) {
				return
			}
			if next.IsValid() {
				emit(next, end, open[n-1].group)
			}
			next = end.Next() // invalid after the last address of all
			open = open[:n-1]
		}
	}
	for _, m := range in {
		lo := m.prefix.Addr()
		closeUntil(lo)
		if n := len(open); n > 0 && next.IsValid() && next.Less(lo) {
			emit(next, lo.Prev(), open[n-1].group)
		}
		if !next.IsValid() || next.Less(lo) || len(open) == 0 {
			next = lo
		}
		open = append(open, m)
	}
	closeUntil(netip.Addr{})
	return out
}

func sortPrefixes(p []netip.Prefix) []netip.Prefix {
	p = slices.Clone(p)
	slices.SortFunc(p, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(a.Addr().BitLen(), b.Addr().BitLen()), comparePrefixes(a, b))
	})
	return slices.Compact(p)
}
