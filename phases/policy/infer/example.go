package infer

import (
	"net/netip"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// hosts are addresses that rules name by themselves: examples with these are
// of machines that a reader knows.
type hosts map[netip.Addr]bool

func hostsOf(lists ...[]rules.FlatRule) hosts {
	h := hosts{}
	for _, list := range lists {
		for _, r := range list {
			for _, side := range [][]rules.Addrs{r.Match.Src, r.Match.Dst} {
				for _, a := range side {
					for _, x := range a.Ranges {
						if x.Lo == x.Hi {
							h[x.Lo] = true
						}
					}
				}
			}
		}
	}
	return h
}

var documentation = map[flow.Family][2]netip.Addr{
	flow.IPv4: {netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("198.51.100.80")},
	flow.IPv6: {netip.MustParseAddr("2001:db8::10"), netip.MustParseAddr("2001:db8:100::80")},
}

// example returns a packet that a match has: addresses that rules name, else
// from the prefixes for documentation, else near the beginning of a range;
// well-known ports; a new connection if it may be.
func (h hosts) example(m rules.Match, families []flow.Family) (rules.Packet, bool) {
	for _, fam := range families {
		if m.Family != "" && m.Family != fam {
			continue
		}
		doc := documentation[fam]
		src, ok1 := h.address(m.Src, fam, doc[0])
		dst, ok2 := h.address(m.Dst, fam, doc[1])
		svc, ok3 := serviceExample(m.Services, fam)
		if !ok1 || !ok2 || !ok3 {
			continue
		}
		p := rules.Packet{Src: src, Dst: dst, Service: svc, In: nameExample(m.In), Out: nameExample(m.Out), Tests: map[string]bool{}}
		for i := range rules.StateNames {
			if s := rules.States(1 << i); p.State == 0 && (m.States == 0 || m.States&s != 0) {
				p.State = s
			}
		}
		for _, t := range m.Tests {
			p.Tests[t.Key()] = !t.Not
		}
		if svc.Proto().HasPorts() {
			p.SrcPort = 40000
			for _, s := range m.SrcPorts {
				for _, r := range s.Ranges {
					if q := p; !m.Matches(p) {
						for _, q.SrcPort = range []uint16{r.Lo, r.Hi + 1, r.Lo - 1} {
							if m.Matches(q) {
								p = q
							}
						}
					}
				}
			}
		}
		if m.Matches(p) {
			return p, true
		}
	}
	return rules.Packet{}, false
}

func (h hosts) address(side []rules.Addrs, fam flow.Family, doc netip.Addr) (netip.Addr, bool) {
	has := func(a netip.Addr) bool {
		return a.IsValid() && flow.FamilyOf(a) == fam && rules.Match{Src: side}.Matches(rules.Packet{Src: a})
	}
	var candidates []netip.Addr
	for _, s := range side {
		for _, r := range s.Ranges {
			if s.Not {
				candidates = append(candidates, r.Hi.Next(), r.Lo.Prev())
				continue
			}
			if r.Lo == r.Hi || h[r.Lo] {
				candidates = append(candidates, r.Lo)
			}
			a := r.Lo
			for range 10 { // .10 where there is room
				if n := a.Next(); n.IsValid() && n.Compare(r.Hi) < 0 {
					a = n
				}
			}
			if whole := rules.PrefixRange(netip.PrefixFrom(r.Lo, 1)); whole != r && !r.Contains(doc) {
				candidates = append(candidates, a)
			}
		}
	}
	if i := slices.IndexFunc(candidates, has); i >= 0 && !has(doc) {
		return candidates[i], true
	}
	if has(doc) {
		return doc, true
	}
	for _, s := range side {
		for _, r := range s.Ranges {
			if has(r.Lo) {
				return r.Lo, true
			}
		}
	}
	return netip.Addr{}, false
}

var wellKnown = []rules.Service{
	rules.ServiceOf(flow.TCP, 443), rules.ServiceOf(flow.TCP, 80), rules.ServiceOf(flow.TCP, 22), rules.ServiceOf(flow.UDP, 53),
	rules.ServiceOf(flow.TCP, 25), rules.ServiceOf(flow.UDP, 123), rules.ServiceOf(flow.TCP, 3389), rules.ServiceOf(flow.TCP, 8080),
	rules.ServiceOf(flow.ICMP, 8<<8), rules.ServiceOf(flow.ICMPv6, 128<<8), rules.ServiceOf(flow.ESP, 0), rules.ServiceOf(flow.GRE, 0),
}

func serviceExample(list []rules.Services, fam flow.Family) (rules.Service, bool) {
	candidates := wellKnown
	for _, s := range list {
		for _, r := range s.Ranges {
			if s.Not {
				candidates = append(candidates, min(r.Hi+1, rules.MaxService), r.Lo-min(r.Lo, 1))
				continue
			}
			if r.Lo.Port() == 0 && r.Hi > r.Lo && r.Lo.Proto().HasPorts() {
				candidates = append(candidates, r.Lo+1)
			}
			candidates = append(candidates, r.Lo, r.Hi)
		}
	}
	for _, s := range candidates {
		if s.Proto().Fits(fam) && (rules.Match{Services: list}).Matches(rules.Packet{Service: s}) {
			return s, true
		}
	}
	return 0, false
}

// nameExample returns an interface's name: "" where any will do.
func nameExample(list []rules.Interfaces) string {
	has := func(n string) bool { return (rules.Match{In: list}).Matches(rules.Packet{In: n}) }
	if len(list) == 0 {
		return ""
	}
	candidates := []string{"eth0", "eth1", "lan0", "wan0", "eth9"}
	for _, x := range list {
		for _, n := range x.Names {
			p, wild := strings.CutSuffix(n, "+")
			if x.Not {
				continue
			}
			if wild {
				for i := range 100 {
					candidates = append(candidates, p+itoa(i))
				}
			} else {
				candidates = append([]string{n}, candidates...)
			}
		}
	}
	if i := slices.IndexFunc(candidates, has); i >= 0 {
		return candidates[i]
	}
	return ""
}
