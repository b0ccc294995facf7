package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/phases/flow"
)

// fewBoxes is how many boxes that differ in the server alone are listed one by
// one.
const fewBoxes = 4

// Lines writes boxes for a person. Many that differ in the server alone are
// one line: by what they leave out ("any ipv4 but 198.51.100.7") where that is
// shorter, else by their number. members are groups' prefixes, which lend the
// examples their clients; nil: addresses for documentation.
func Lines(boxes []Box, members map[string][]netip.Prefix) []string {
	type key struct {
		group   string
		family  flow.Family
		client  netip.Prefix
		service flow.Service
	}
	sums := map[key][]Box{}
	for _, b := range boxes {
		k := key{b.Group, b.Family, b.Client, b.Service}
		sums[k] = append(sums[k], b)
	}
	var out []string
	for _, b := range boxes {
		k := key{b.Group, b.Family, b.Client, b.Service}
		all := sums[k]
		if len(all) <= fewBoxes {
			out = append(out, fmt.Sprintf("%s (for example %s)", b, exampleText([]Box{b}, members)))
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
		but := remainder(whole, servers)
		to := fmt.Sprintf("%d prefixes of %s, as %s", len(all), b.Family, b.Server)
		if len(but) < len(servers) {
			to = fmt.Sprintf("any %s but %s", b.Family, PrefixList(but))
		}
		b.Server = whole
		out = append(out, fmt.Sprintf("%s (for example %s)", strings.Replace(b.String(), "any "+string(b.Family), to, 1), exampleText(all, members)))
	}
	return out
}

// Example returns a flow of one of the boxes, of which there must be one, and
// its group: of several boxes that which looks most like a real one. members is
// as for Lines.
func Example(boxes []Box, members map[string][]netip.Prefix) (group string, f flow.Flow) {
	best, rank := boxes[0], -1
	for _, b := range boxes {
		r := 0
		switch a := b.Example().Server; {
		case a == exampleIn(everywhere[b.Family], exampleServer4, exampleServer6):
			r = 2
		case a.IsGlobalUnicast() && !(a.Is4() && a.As4()[0] == 0) && !(a.Is6() && a.As16()[0]>>5 != 1):
			r = 1
		}
		if r > rank {
			best, rank = b, r
		}
	}
	if best.Client.Bits() == 0 {
		for _, m := range members[best.Group] {
			if flow.FamilyOf(m.Addr()) == best.Family {
				best.Client = m
				break
			}
		}
	}
	return best.Group, best.Example()
}

func exampleText(boxes []Box, members map[string][]netip.Prefix) string {
	_, f := Example(boxes, members)
	return f.String()
}

// PrefixList writes the first few prefixes, and how many more there are.
func PrefixList(ps []netip.Prefix) string {
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

// remainder returns the parts of a prefix that no other prefix covers.
func remainder(p netip.Prefix, covered []netip.Prefix) []netip.Prefix {
	if slices.ContainsFunc(covered, func(c netip.Prefix) bool { return c.Bits() <= p.Bits() && c.Contains(p.Addr()) }) {
		return nil
	}
	inside := slices.DeleteFunc(slices.Clone(covered), func(c netip.Prefix) bool { return !p.Contains(c.Addr()) })
	if len(inside) == 0 {
		return []netip.Prefix{p}
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := netip.PrefixFrom(flipped(p.Addr(), p.Bits()), p.Bits()+1)
	return append(remainder(low, inside), remainder(high, inside)...)
}

// flipped returns the address with one bit changed, counted from the left.
func flipped(a netip.Addr, bit int) netip.Addr {
	b := a.AsSlice()
	b[bit/8] ^= 0x80 >> (bit % 8)
	out, _ := netip.AddrFromSlice(b)
	return out
}

// fewServices is how many services of a rule are written one by one.
const fewServices = 8

// RuleText writes an allow rule on one line: "desks -> anywhere tcp/80 tcp/443
// (observed)".
func RuleText(r Rule) string {
	from, to := r.Group, "anywhere"
	if len(r.Endpoints) > 0 {
		from += " " + PrefixList(r.Endpoints)
	}
	if len(r.To) > 0 {
		to = PrefixList(r.To)
	}
	var services []string
	for _, s := range r.Services {
		services = append(services, s.String())
	}
	if n := len(services) - fewServices; n > 0 {
		services = append(services[:fewServices], fmt.Sprintf("and %d more", n))
	}
	reason := string(r.Reason)
	if r.Name != "" {
		reason += " " + r.Name
	}
	return fmt.Sprintf("%s -> %s %s (%s)", from, to, strings.Join(services, " "), reason)
}
