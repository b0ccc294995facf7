// Package sample makes up rulesets, and packets that lie where mistakes are:
// at the edges of what the rules name. It is for tests and benchmarks; what it
// makes is determined by the source of chance that it is given.
package sample

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// Shape says what a made-up ruleset is like.
type Shape struct {
	Rules    int
	Chains   int // user chains beside FORWARD
	Families []flow.Family
	Tests    bool // questions that the header does not answer
	Devices  bool // interfaces
	Narrow   bool // every rule names source, destination and service, and no rule says not
	Hosts    int  // distinct sources and destinations; 0 is 40
}

var protos = []flow.Proto{flow.TCP, flow.TCP, flow.TCP, flow.UDP, flow.ICMP, flow.ICMPv6, flow.ESP}
var ports = []uint16{22, 25, 53, 80, 123, 443, 445, 1024, 3389, 5432, 8080, 65535}
var devices = []string{"lan0", "lan1", "lan+", "wan0", "eth0.10", "eth0.1+"}
var tests = []string{"-m mac --mac-source 02:00:5E:10:00:07", "-m owner --uid-owner 1000", "-m mark --mark 0x1"}

// Ruleset makes up a ruleset whose hooked chain is FORWARD.
func Ruleset(r *rand.Rand, s Shape) rules.Ruleset {
	if len(s.Families) == 0 {
		s.Families = []flow.Family{flow.IPv4, flow.IPv6}
	}
	if s.Hosts == 0 {
		s.Hosts = 40
	}
	pool := map[flow.Family][]rules.AddrRange{}
	for _, f := range s.Families {
		for range s.Hosts {
			pool[f] = append(pool[f], block(r, f))
		}
	}
	rs := rules.Ruleset{Families: s.Families, Chains: []*rules.Chain{{Name: "FORWARD", Hook: "forward", Default: pick(r, rules.Drop, rules.Drop, rules.Accept)}}}
	for i := range s.Chains {
		rs.Chains = append(rs.Chains, &rules.Chain{Name: fmt.Sprintf("user%d", i)})
	}
	for i := range s.Rules {
		c := r.IntN(len(rs.Chains))
		x := rules.Rule{File: "sample", Line: i + 1, Match: match(r, s, pool),
			Action: pick(r, rules.Accept, rules.Accept, rules.Accept, rules.Accept, rules.Drop, rules.Reject, rules.Continue)}
		if c > 0 && r.IntN(6) == 0 {
			x.Action = rules.Return
		}
		if c+1 < len(rs.Chains) && r.IntN(4) == 0 { // only forward, so there is no loop
			x.Action, x.Target = pick(r, rules.Jump, rules.Jump, rules.Goto), rs.Chains[c+1+r.IntN(len(rs.Chains)-c-1)].Name
		}
		x.Text = fmt.Sprintf("%s %s", x.Action, x.Target)
		rs.Chains[c].Rules = append(rs.Chains[c].Rules, x)
	}
	return rs
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func block(r *rand.Rand, f flow.Family) rules.AddrRange {
	var a netip.Addr
	bits := pick(r, 16, 24, 24, 28, 32, 32, 32)
	if f == flow.IPv4 {
		a = netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(8)), byte(r.IntN(256))})
	} else {
		b := [16]byte{0xfd, 0x20, 15: byte(r.IntN(256))}
		b[13], b[14] = byte(r.IntN(4)), byte(r.IntN(8))
		a, bits = netip.AddrFrom16(b), bits+96
	}
	x := rules.PrefixRange(netip.PrefixFrom(a, bits))
	if r.IntN(8) == 0 {
		x.Lo = a // a range that is no prefix
	}
	return x
}

func match(r *rand.Rand, s Shape, pool map[flow.Family][]rules.AddrRange) (m rules.Match) {
	fam := pick(r, s.Families...)
	if s.Narrow {
		one := func() []rules.Addrs {
			return []rules.Addrs{{Ranges: []rules.AddrRange{pick(r, pool[fam]...)}}}
		}
		p, port := pick(r, flow.TCP, flow.UDP), pick(r, ports...)
		return rules.Match{Family: fam, Src: one(), Dst: one(),
			Services: []rules.Services{{Ranges: []rules.ServiceRange{rules.PortsOf(p, port, port)}}}}
	}
	if len(s.Families) == 1 || r.IntN(3) > 0 {
		m.Family = fam
	}
	some := func() rules.Addrs {
		a := rules.Addrs{Not: r.IntN(12) == 0}
		for range 1 + r.IntN(2) {
			a.Ranges = append(a.Ranges, pick(r, pool[fam]...))
		}
		return a
	}
	if r.IntN(3) > 0 {
		m.Src = append(m.Src, some())
	}
	if r.IntN(4) > 0 {
		m.Dst = append(m.Dst, some())
	}
	if r.IntN(5) > 0 {
		p := pick(r, protos...)
		m.Services = append(m.Services, rules.Services{Ranges: []rules.ServiceRange{rules.Protocol(p)}})
		if r.IntN(5) > 0 {
			switch {
			case p.HasPorts():
				lo := pick(r, ports...)
				hi := max(lo, pick(r, lo, lo, pick(r, ports...)))
				m.Services = append(m.Services, rules.Services{Ranges: []rules.ServiceRange{rules.PortsOf(p, lo, hi)}, Not: r.IntN(15) == 0})
			case p.IsICMP():
				m.Services = append(m.Services, rules.Services{Ranges: []rules.ServiceRange{rules.ICMPType(p, pick(r, uint8(0), 3, 8, 128))}})
			}
		}
		if p.HasPorts() && r.IntN(12) == 0 {
			m.SrcPorts = append(m.SrcPorts, rules.Ports{Ranges: []rules.PortRange{{Lo: pick(r, ports...), Hi: 65535}}})
		}
	}
	if r.IntN(10) == 0 {
		m.States = pick(r, rules.New, rules.Established|rules.Related, rules.Invalid)
	}
	if s.Devices && r.IntN(4) == 0 {
		m.In = append(m.In, rules.Interfaces{Names: []string{pick(r, devices...)}, Not: r.IntN(6) == 0})
	}
	if s.Devices && r.IntN(6) == 0 {
		m.Out = append(m.Out, rules.Interfaces{Names: []string{pick(r, devices...)}})
	}
	if s.Tests && r.IntN(12) == 0 {
		m.Tests = append(m.Tests, rules.Test{Text: pick(r, tests...), Not: r.IntN(3) == 0})
	}
	return m
}
