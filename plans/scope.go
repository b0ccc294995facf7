package plans

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/phases/flow"
)

// scope reads which traffic is judged.
func (d *decoder) scope(n *node) {
	s := &d.p.Scope
	s.Hooks = texts(n.get("hooks"))
	slices.Sort(s.Hooks)
	in, out := n.get("inside"), n.get("outside")
	s.Inside, s.InsideIfaces = d.side(in)
	s.Outside, s.OutsideIfaces = d.side(out)
	s.Inbound = strOr(n.get("inbound"), "observe")
	if slices.Contains(s.Hooks, "forward") && in == nil {
		d.add(n, "scope does not say what is inside", "add inside: {prefixes: [10.0.0.0/16]} or inside: {interfaces: [lan0]}")
	}
	for _, v := range items(in.get("prefixes"), text) {
		if p, f := parsePrefix(v.text); f == nil && p.Bits() == 0 {
			d.add(v, "with everything inside nothing is outside", "write the prefixes of your own network, or inside: {interfaces: [lan0]}")
		}
	}
	for _, v := range items(out.get("prefixes"), text) {
		if p, f := parsePrefix(v.text); f == nil && overlapsAny(p, s.Inside) {
			d.add(v, fmt.Sprintf("%s is inside and outside", v.text), "leave outside out: it is everything that is not inside")
		}
	}
	for _, v := range items(out.get("interfaces"), text) {
		if slices.Contains(s.InsideIfaces, v.text) {
			d.add(v, fmt.Sprintf("the interface %s is inside and outside", clip(v.text)), "name it on one side")
		}
	}
}

func (d *decoder) side(n *node) (prefixes []netip.Prefix, ifaces []string) {
	seen := map[netip.Prefix]bool{}
	for _, v := range items(n.get("prefixes"), text) {
		p, f := parsePrefix(v.text)
		if f != nil {
			d.fail(v, f)
			continue
		}
		if within(p, prefixes) && !seen[p] {
			d.add(v, fmt.Sprintf("%s is part of another prefix here", v.text), "remove it")
		}
		seen[p] = true
		prefixes = append(prefixes, p)
	}
	for _, v := range items(n.get("interfaces"), text) {
		ifaces = append(ifaces, v.text)
	}
	sortPrefixes(prefixes)
	slices.Sort(ifaces)
	return slices.Compact(prefixes), slices.Compact(ifaces)
}

func sortPrefixes(ps []netip.Prefix) {
	slices.SortFunc(ps, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
}

func familiesOf(ps []netip.Prefix) []flow.Family {
	var out []flow.Family
	for _, p := range ps {
		if f := flow.FamilyOf(p.Addr()); !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	slices.Sort(out)
	return out
}

var bothFamilies = []flow.Family{flow.IPv4, flow.IPv6}

func common(a, b []flow.Family) []flow.Family {
	var out []flow.Family
	for _, f := range a {
		if slices.Contains(b, f) {
			out = append(out, f)
		}
	}
	return out
}
