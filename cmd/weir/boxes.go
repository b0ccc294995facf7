package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy"
)

// fewBoxes is how many boxes that differ in the server alone are listed one by
// one.
const fewBoxes = 4

// boxLines writes boxes for a person. Many that differ in the server alone are
// one line: by what they leave out ("any ipv4 but 198.51.100.7") where that is
// shorter, else by their number. -o json lists them all.
func boxLines(boxes []policy.Box) []string {
	type key struct {
		group   string
		family  flow.Family
		client  netip.Prefix
		service flow.Service
	}
	sums := map[key][]policy.Box{}
	for _, b := range boxes {
		k := key{b.Group, b.Family, b.Client, b.Service}
		sums[k] = append(sums[k], b)
	}
	var out []string
	for _, b := range boxes {
		k := key{b.Group, b.Family, b.Client, b.Service}
		all := sums[k]
		if len(all) <= fewBoxes {
			out = append(out, fmt.Sprintf("%s (for example %s)", b, b.Example()))
			continue
		}
		if b != all[0] {
			continue // in the line of the first
		}
		var servers []netip.Prefix
		for _, x := range all {
			servers = append(servers, x.Server)
		}
		whole := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if b.Family == flow.IPv6 {
			whole = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		but := without(whole, servers)
		to := fmt.Sprintf("%d prefixes of %s, as %s", len(all), b.Family, b.Server)
		if len(but) < len(servers) {
			to = fmt.Sprintf("any %s but %s", b.Family, prefixList(but))
		}
		b.Server = whole
		out = append(out, strings.Replace(b.String(), "any "+string(b.Family), to, 1))
	}
	return out
}

func prefixList(ps []netip.Prefix) string {
	var out []string
	for i, p := range ps {
		if i == fewBoxes {
			out = append(out, fmt.Sprintf("%d more", len(ps)-i))
			break
		}
		if p.IsSingleIP() {
			out = append(out, p.Addr().String())
			continue
		}
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

// without returns the parts of a prefix that no other prefix covers.
func without(p netip.Prefix, covered []netip.Prefix) []netip.Prefix {
	if slices.ContainsFunc(covered, func(c netip.Prefix) bool { return c.Bits() <= p.Bits() && c.Contains(p.Addr()) }) {
		return nil
	}
	inside := slices.DeleteFunc(slices.Clone(covered), func(c netip.Prefix) bool { return !p.Contains(c.Addr()) })
	if len(inside) == 0 {
		return []netip.Prefix{p}
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := netip.PrefixFrom(flipped(p.Addr(), p.Bits()), p.Bits()+1)
	return append(without(low, inside), without(high, inside)...)
}

// flipped returns the address with one bit changed, counted from the left.
func flipped(a netip.Addr, bit int) netip.Addr {
	b := a.AsSlice()
	b[bit/8] ^= 0x80 >> (bit % 8)
	out, _ := netip.AddrFromSlice(b)
	return out
}
