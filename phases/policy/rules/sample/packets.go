package sample

import (
	"math/rand/v2"
	"net/netip"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// Packets makes packets at the edges of what some rulesets name.
type Packets struct {
	r              *rand.Rand
	src, dst       map[flow.Family][]netip.Addr
	services       []rules.Service
	srcPorts       []uint16
	in, out, tests []string
	families       []flow.Family
	together       []rules.Match // whole matches, so that dimensions meet
	seenTest       map[string]bool
}

// NewPackets returns a source of packets for rulesets.
func NewPackets(r *rand.Rand, sets ...rules.Ruleset) *Packets {
	p := &Packets{r: r, src: map[flow.Family][]netip.Addr{}, dst: map[flow.Family][]netip.Addr{}, seenTest: map[string]bool{},
		services: []rules.Service{rules.ServiceOf(flow.TCP, 80), rules.ServiceOf(flow.UDP, 53), rules.ServiceOf(47, 0)},
		srcPorts: []uint16{0, 40000, 65535}, in: []string{"", "lan0"}, out: []string{"", "wan0"}}
	for _, f := range []flow.Family{flow.IPv4, flow.IPv6} {
		for _, rs := range sets {
			if rs.Judges(f) {
				p.families = append(p.families, f)
				break
			}
		}
		a := netip.MustParseAddr(map[flow.Family]string{flow.IPv4: "192.0.2.1", flow.IPv6: "2001:db8::1"}[f])
		p.src[f], p.dst[f] = []netip.Addr{a}, []netip.Addr{a}
	}
	for _, rs := range sets {
		for _, c := range rs.Chains {
			for _, x := range c.Rules {
				p.learn(x.Match)
			}
		}
	}
	return p
}

func (p *Packets) learn(m rules.Match) {
	p.together = append(p.together, m)
	edges := func(into map[flow.Family][]netip.Addr, list []rules.Addrs) {
		for _, a := range list {
			for _, r := range a.Ranges {
				f := flow.FamilyOf(r.Lo)
				for _, x := range []netip.Addr{r.Lo, r.Hi, r.Lo.Prev(), r.Hi.Next()} {
					if x.IsValid() {
						into[f] = append(into[f], x)
					}
				}
			}
		}
	}
	edges(p.src, m.Src)
	edges(p.dst, m.Dst)
	for _, s := range m.Services {
		for _, r := range s.Ranges {
			p.services = append(p.services, r.Lo, r.Hi, min(r.Hi+1, rules.MaxService), r.Lo-min(r.Lo, 1))
		}
	}
	for _, s := range m.SrcPorts {
		for _, r := range s.Ranges {
			p.srcPorts = append(p.srcPorts, r.Lo, r.Hi, r.Hi+1, r.Lo-1)
		}
	}
	for _, x := range m.In {
		p.in = append(p.in, devicesNear(x.Names)...)
	}
	for _, x := range m.Out {
		p.out = append(p.out, devicesNear(x.Names)...)
	}
	for _, t := range m.Tests {
		if k := t.Key(); !p.seenTest[k] {
			p.seenTest[k] = true
			p.tests = append(p.tests, k)
		}
	}
}

func devicesNear(names []string) (out []string) {
	for _, n := range names {
		if n[len(n)-1] == '+' {
			n = n[:len(n)-1]
			out = append(out, n, n+"7")
			if len(n) > 0 {
				out = append(out, n[:len(n)-1])
			}
			continue
		}
		out = append(out, n, n+"0")
	}
	return out
}

// Next returns a packet that exists: one family, and no ICMP of the other. Half
// of them take all their parts from one rule.
func (p *Packets) Next() rules.Packet {
	r := p.r
	f := pick(r, p.families...)
	x := rules.Packet{Src: pick(r, p.src[f]...), Dst: pick(r, p.dst[f]...), Service: pick(r, p.services...),
		In: pick(r, p.in...), Out: pick(r, p.out...), State: 1 << r.IntN(5)}
	if r.IntN(2) == 0 {
		x.State = rules.New
	}
	if len(p.together) > 0 && r.IntN(2) == 0 {
		m := pick(r, p.together...)
		near := func(list []rules.Addrs, a *netip.Addr) {
			for _, s := range list {
				if len(s.Ranges) == 0 {
					continue
				}
				if b := pick(r, s.Ranges...); flow.FamilyOf(b.Lo) == f {
					*a = pick(r, b.Lo, b.Hi)
				}
			}
		}
		near(m.Src, &x.Src)
		near(m.Dst, &x.Dst)
		for _, s := range m.Services {
			if len(s.Ranges) > 0 {
				b := pick(r, s.Ranges...)
				x.Service = pick(r, b.Lo, b.Hi)
			}
		}
		for _, d := range m.In {
			x.In = pick(r, devicesNear(d.Names)...)
		}
		for i := range 5 {
			if s := rules.States(1 << i); m.States&s != 0 {
				x.State = s
			}
		}
	}
	if q := x.Service.Proto(); q.IsICMP() && !q.Fits(f) {
		x.Service = rules.ServiceOf(flow.TCP, uint16(x.Service))
	}
	if x.Service.Proto().HasPorts() {
		x.SrcPort = pick(r, p.srcPorts...)
	}
	if len(p.tests) > 0 {
		x.Tests = map[string]bool{}
		for _, t := range p.tests {
			x.Tests[t] = r.IntN(2) == 0
		}
	}
	return x
}
