package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"weir/phases/flow"
)

// Box is a rectangle of flows: clients of a group, servers, a range of one
// protocol's ports or types. A prefix of length 0 is every address of the
// family. A Box is comparable; the zero value is invalid.
type Box struct {
	Group   string
	Family  flow.Family
	Client  netip.Prefix
	Server  netip.Prefix
	Service flow.Service
}

var everywhere = map[flow.Family]netip.Prefix{
	flow.IPv4: netip.PrefixFrom(netip.IPv4Unspecified(), 0),
	flow.IPv6: netip.PrefixFrom(netip.IPv6Unspecified(), 0),
}

// eachBox calls f with the boxes of a rule.
func eachBox(r Rule, f func(Box)) {
	for _, fam := range []flow.Family{flow.IPv4, flow.IPv6} {
		if len(r.Families) > 0 && !slices.Contains(r.Families, fam) {
			continue
		}
		servers := ofFamily(r.To, fam)
		for _, c := range ofFamily(r.Endpoints, fam) {
			for _, s := range servers {
				for _, svc := range r.Services {
					if svc.Proto.Fits(fam) {
						f(Box{r.Group, fam, c, s, svc})
					}
				}
			}
		}
	}
}

func ofFamily(list []netip.Prefix, fam flow.Family) []netip.Prefix {
	if len(list) == 0 {
		return []netip.Prefix{everywhere[fam]}
	}
	var out []netip.Prefix
	for _, p := range list {
		if p = clean(p); p.IsValid() && flow.FamilyOf(p.Addr()) == fam {
			out = append(out, p)
		}
	}
	return out
}

// Boxes returns what the policy allows, as boxes that may overlap, sorted and
// without duplicates.
func (p Policy) Boxes() []Box {
	var out []Box
	for _, r := range p.Rules {
		eachBox(r, func(b Box) { out = append(out, b) })
	}
	slices.SortFunc(out, CompareBoxes)
	return slices.Compact(out)
}

// CompareBoxes orders by group, family, server, client and service.
func CompareBoxes(a, b Box) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Family, b.Family),
		comparePrefixes(a.Server, b.Server), comparePrefixes(a.Client, b.Client),
		flow.CompareServices(a.Service, b.Service))
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// Contains says whether a flow of the box's group is in the box.
func (b Box) Contains(f flow.Flow) bool {
	return f.Family() == b.Family && b.Client.Contains(f.Client.Unmap()) && b.Server.Contains(f.Server.Unmap()) &&
		b.Service.Contains(f.Service())
}

// String is the box in words: "servers 10.20.1.31 -> 198.51.100.0/24 tcp/443".
// A client or server of length 0 is "any" with its family.
func (b Box) String() string {
	client, server := " ", prefixText(b.Server)
	if b.Client.Bits() > 0 {
		client = " " + prefixText(b.Client) + " "
	}
	if b.Server.Bits() == 0 {
		server = "any " + string(b.Family)
	}
	return fmt.Sprintf("%s%s-> %s %s", b.Group, client, server, b.Service)
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// wellKnown are the ports that an example shows where the box has them.
var wellKnown = []uint16{443, 80, 22, 53, 25, 123, 587, 993, 3389, 8080}

// echo requests are the types that people know.
var echo = []uint16{8, 128}

// Example returns a flow of the box as it might be seen: a host address where
// the prefix has one, a well-known port where the range has one. Clients and
// servers that may be anybody come from the prefixes for documentation.
func (b Box) Example() flow.Flow {
	f := flow.Flow{Proto: b.Service.Proto, Port: b.Service.Lo}
	f.Client = exampleIn(b.Client, "192.0.2.10", "2001:db8::10")
	f.Server = exampleIn(b.Server, exampleServer4, exampleServer6)
	known := wellKnown
	if f.Proto.IsICMP() {
		known = echo
	}
	for _, p := range known {
		if b.Service.Contains(flow.Single(f.Proto, p)) {
			f.Port = p
			return f
		}
	}
	if f.Port == 0 && b.Service.Hi > 0 {
		f.Port = 1
	}
	return f
}

// The servers of examples, where the box has them.
const exampleServer4, exampleServer6 = "198.51.100.80", "2001:db8:100::80"

func exampleIn(p netip.Prefix, v4, v6 string) netip.Addr {
	if doc := netip.MustParseAddr(v4); p.Contains(doc) {
		return doc
	}
	if doc := netip.MustParseAddr(v6); p.Contains(doc) {
		return doc
	}
	a := p.Addr()
	for range 10 { // .10 where there is room, else the last there is
		n := a.Next()
		if !n.IsValid() || !p.Contains(n) {
			break
		}
		a = n
	}
	if p.Addr().Is4() && p.Bits() < 31 && a != p.Addr() && !p.Contains(a.Next()) {
		a = a.Prev() // not the broadcast address
	}
	return a
}
