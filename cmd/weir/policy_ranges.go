package main

import (
	"math"
	"net/netip"
	"slices"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// ranges is a set of addresses: in order, apart, IPv4 before IPv6.
type ranges []rules.AddrRange

var allAddrs = ranges{rules.PrefixRange(netip.MustParsePrefix("0.0.0.0/0")), rules.PrefixRange(netip.MustParsePrefix("::/0"))}

func rangesOf(ps ...netip.Prefix) (out ranges) {
	for _, p := range ps {
		out = append(out, rules.PrefixRange(p))
	}
	return out.tidy()
}

// tidy puts ranges in order and joins those that touch.
func (r ranges) tidy() ranges {
	s := slices.Clone(r)
	slices.SortFunc(s, func(a, b rules.AddrRange) int { return a.Lo.Compare(b.Lo) })
	out := s[:0]
	for _, x := range s {
		if n := len(out); n > 0 && out[n-1].Lo.Is4() == x.Lo.Is4() && (!out[n-1].Hi.Less(x.Lo) || out[n-1].Hi.Next() == x.Lo) {
			if out[n-1].Hi.Less(x.Hi) {
				out[n-1].Hi = x.Hi
			}
			continue
		}
		out = append(out, x)
	}
	return out
}

func (r ranges) plus(o ranges) ranges { return append(slices.Clone(r), o...).tidy() }

func (r ranges) minus(o ranges) (out ranges) {
	for _, x := range r {
		lo, done := x.Lo, false
		for _, y := range o {
			if y.Lo.Is4() != x.Lo.Is4() || y.Hi.Less(lo) || x.Hi.Less(y.Lo) {
				continue
			}
			if lo.Less(y.Lo) {
				out = append(out, rules.AddrRange{Lo: lo, Hi: y.Lo.Prev()})
			}
			if !y.Hi.Less(x.Hi) {
				done = true
				break
			}
			lo = y.Hi.Next()
		}
		if !done {
			out = append(out, rules.AddrRange{Lo: lo, Hi: x.Hi})
		}
	}
	return out
}

func (r ranges) within(o ranges) ranges { return r.minus(allAddrs.minus(o)) }

// of returns the addresses of one family.
func (r ranges) of(f flow.Family) (out ranges) {
	for _, x := range r {
		if flow.FamilyOf(x.Lo) == f {
			out = append(out, x)
		}
	}
	return out
}

// prefixes writes the ranges as the fewest prefixes.
func (r ranges) prefixes() (out []netip.Prefix) {
	for _, x := range r {
		for at := x.Lo; ; {
			bits := at.BitLen()
			for bits > 0 {
				p, _ := at.Prefix(bits - 1)
				if p.Addr() != at || x.Hi.Less(rules.PrefixRange(p).Hi) {
					break
				}
				bits--
			}
			p, _ := at.Prefix(bits)
			out = append(out, p)
			last := rules.PrefixRange(p).Hi
			if last == x.Hi {
				break
			}
			at = last.Next()
		}
	}
	return out
}

// addrsOf is the set that a conjunction of sets of addresses is.
func addrsOf(list []rules.Addrs, fam flow.Family) ranges {
	out := allAddrs
	if fam != "" {
		out = out.of(fam)
	}
	for _, a := range list {
		if in := ranges(a.Ranges).tidy(); a.Not {
			out = out.minus(in)
		} else {
			out = out.within(in)
		}
	}
	return out
}

// weight says how much of the address space the ranges are, for putting sets
// in an order: IPv6 counts by its first 64 bits.
func (r ranges) weight() (n float64) {
	for _, p := range r.prefixes() {
		n += math.Pow(2, float64(min(p.Addr().BitLen(), 64)-p.Bits()))
	}
	return n
}
