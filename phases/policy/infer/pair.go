package infer

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// pair joins rules of IPv4 with rules of IPv6 that differ in their addresses
// and ICMP types alone: no packet has addresses of both, so the joined rule is
// the union of the two.
func pair(four, six []rules.Match) (out []rules.Match) {
	waiting := map[string][]rules.Match{}
	for _, m := range six {
		k := likeness(m)
		waiting[k] = append(waiting[k], m)
	}
	for _, m := range four {
		k := likeness(m)
		list := waiting[k]
		if len(list) == 0 {
			out = append(out, of(flow.IPv4, m))
			continue
		}
		best := 0
		for i, x := range list {
			if shape(x) == shape(m) {
				best = i
				break
			}
		}
		out = append(out, union(m, list[best]))
		waiting[k] = slices.Delete(list, best, best+1)
	}
	for _, m := range six { // in their order
		k := likeness(m)
		if i := slices.IndexFunc(waiting[k], func(x rules.Match) bool { return fmt.Sprint(x) == fmt.Sprint(m) }); i >= 0 {
			waiting[k] = slices.Delete(waiting[k], i, i+1)
			out = append(out, of(flow.IPv6, m))
		}
	}
	return out
}

// shape is how many addresses a match lists on each side.
func shape(m rules.Match) [2]int { return [2]int{addrItems(m.Src), addrItems(m.Dst)} }

// likeness is all that two matches must have in common.
func likeness(m rules.Match) string {
	var services []string
	for _, s := range m.Services {
		services = append(services, fmt.Sprint(s.Not, plain(s.Ranges)))
	}
	return fmt.Sprint(services, m.SrcPorts, m.In, m.Out, m.States, m.Tests, len(m.Src) > 0 && m.Src[0].Not, len(m.Dst) > 0 && m.Dst[0].Not)
}

// plain is services without those that one family alone has.
func plain(list []rules.ServiceRange) (out []rules.ServiceRange) {
	for _, r := range list {
		for _, p := range []flow.Proto{flow.ICMP, flow.ICMPv6} {
			x := rules.Protocol(p)
			switch {
			case r.Hi < x.Lo || x.Hi < r.Lo:
				continue
			case r.Lo < x.Lo:
				out = append(out, rules.ServiceRange{Lo: r.Lo, Hi: x.Lo - 1})
			}
			r.Lo = x.Hi + 1
		}
		if r.Lo <= r.Hi {
			out = append(out, r)
		}
	}
	return tidyServices(out)
}

// of limits a match to a family, where its addresses do not.
func of(f flow.Family, m rules.Match) rules.Match {
	open := func(list []rules.Addrs) bool { return len(list) == 0 || list[0].Not }
	if open(m.Src) && open(m.Dst) {
		m.Family = f
	}
	return m
}

func union(four, six rules.Match) rules.Match {
	m := four
	m.Src, m.Dst = addrsOfBoth(four.Src, six.Src), addrsOfBoth(four.Dst, six.Dst)
	if len(four.Services) == 1 && len(six.Services) == 1 {
		m.Services = []rules.Services{{Not: four.Services[0].Not, Ranges: tidyServices(slices.Concat(four.Services[0].Ranges, six.Services[0].Ranges))}}
	}
	return m
}

// addrsOfBoth joins the addresses of a side; none is all of a family.
func addrsOfBoth(four, six []rules.Addrs) []rules.Addrs {
	switch {
	case len(four) == 0 && len(six) == 0:
		return nil
	case len(four) == 0 && six[0].Not:
		return six
	case len(six) == 0 && four[0].Not:
		return four
	}
	a, b := whole[flow.IPv4], whole[flow.IPv6]
	not := false
	if len(four) > 0 {
		a, not = four[0].Ranges, four[0].Not
	}
	if len(six) > 0 {
		b, not = six[0].Ranges, six[0].Not
	}
	return []rules.Addrs{{Ranges: slices.Concat(a, b), Not: not}}
}

var whole = map[flow.Family][]rules.AddrRange{
	flow.IPv4: {rules.PrefixRange(netip.PrefixFrom(netip.IPv4Unspecified(), 0))},
	flow.IPv6: {rules.PrefixRange(netip.PrefixFrom(netip.IPv6Unspecified(), 0))},
}
