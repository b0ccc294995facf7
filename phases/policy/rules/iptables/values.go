package iptables

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// decided reads an option that the header decides.
func (r *ruleReader) decided(opt, arg string, not bool) error {
	switch opt {
	case "-s", "--source", "--src", "-d", "--destination", "--dst", "--src-range", "--dst-range":
		set := rules.Addrs{Not: not}
		for _, one := range strings.Split(arg, ",") {
			a, err := addresses(one)
			if err != nil {
				return err
			}
			if flow.FamilyOf(a.Lo) != r.p.family {
				return fmt.Errorf("%s is not %s", one, r.p.family)
			}
			set.Ranges = append(set.Ranges, a)
		}
		if strings.Contains(opt, "s") && !strings.Contains(opt, "-d") {
			r.m.Src = append(r.m.Src, set)
		} else {
			r.m.Dst = append(r.m.Dst, set)
		}
	case "-p", "--protocol":
		p, any, err := protocol(arg)
		if err != nil || any {
			return err
		}
		if !not {
			r.proto = p
		}
		r.m.Services = append(r.m.Services, rules.Services{Ranges: []rules.ServiceRange{rules.Protocol(p)}, Not: not})
	case "--dport", "--destination-port", "--dports", "--destination-ports":
		ports, err := r.ports(opt, arg)
		if err != nil {
			return err
		}
		r.m.Services = append(r.m.Services, rules.Services{Ranges: on(r.proto, ports), Not: not})
	case "--sport", "--source-port", "--sports", "--source-ports":
		ports, err := r.ports(opt, arg)
		if err != nil {
			return err
		}
		r.m.SrcPorts = append(r.m.SrcPorts, rules.Ports{Ranges: ports, Not: not})
	case "--ports":
		ports, err := r.ports(opt, arg)
		if err != nil {
			return err
		}
		if not {
			r.m.Services = append(r.m.Services, rules.Services{Ranges: on(r.proto, ports), Not: true})
			r.m.SrcPorts = append(r.m.SrcPorts, rules.Ports{Ranges: ports, Not: true})
		} else {
			r.either = ports
		}
	case "--icmp-type", "--icmpv6-type":
		if !r.proto.IsICMP() {
			return fmt.Errorf("%s without -p icmp", opt)
		}
		s, err := icmp(r.proto, arg)
		if err != nil {
			return err
		}
		r.m.Services = append(r.m.Services, rules.Services{Ranges: []rules.ServiceRange{s}, Not: not})
	case "-i", "--in-interface":
		r.m.In = append(r.m.In, rules.Interfaces{Names: []string{arg}, Not: not})
	case "-o", "--out-interface":
		r.m.Out = append(r.m.Out, rules.Interfaces{Names: []string{arg}, Not: not})
	case "--state", "--ctstate":
		r.states(opt, arg, not)
	case "--comment":
	default:
		return fmt.Errorf("option %q has no reader", opt)
	}
	return nil
}

func (r *ruleReader) states(opt, arg string, not bool) {
	var s rules.States
	for _, one := range strings.Split(arg, ",") {
		bit := rules.States(0)
		for i, n := range rules.StateNames {
			if strings.EqualFold(n, one) {
				bit = 1 << i
			}
		}
		if bit == 0 { // SNAT, DNAT: not a state
			r.test(opt+" "+arg, not, false)
			return
		}
		s |= bit
	}
	if not {
		s = rules.AnyState &^ s
	}
	r.m = r.m.And(rules.Match{States: s})
	if s == 0 { // every state is excluded
		r.m.Src = append(r.m.Src, rules.Addrs{})
	}
}

func on(p flow.Proto, ports []rules.PortRange) (out []rules.ServiceRange) {
	for _, x := range ports {
		out = append(out, rules.PortsOf(p, x.Lo, x.Hi))
	}
	return out
}

func (r *ruleReader) ports(opt, arg string) (out []rules.PortRange, err error) {
	if !r.proto.HasPorts() {
		return nil, fmt.Errorf("%s without -p tcp, udp, sctp, dccp or udplite", opt)
	}
	for _, one := range strings.Split(arg, ",") {
		lo, hi, isRange := strings.Cut(one, ":")
		x := rules.PortRange{Hi: 65535}
		if lo != "" {
			if x.Lo, err = port(lo); err != nil {
				return nil, err
			}
		}
		if !isRange {
			x.Hi = x.Lo
		} else if hi != "" {
			if x.Hi, err = port(hi); err != nil {
				return nil, err
			}
		}
		if x.Lo > x.Hi {
			return nil, fmt.Errorf("ports %s run backwards", one)
		}
		out = append(out, x)
	}
	return out, nil
}

func port(s string) (uint16, error) {
	if n, ok := portNames[s]; ok {
		return n, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port %q: want a number to 65535; names beyond the usual ones are printed by iptables-save as numbers", s)
	}
	return uint16(n), nil
}

func protocol(s string) (p flow.Proto, any bool, err error) {
	switch s {
	case "all", "0":
		return 0, true, nil
	case "ipv6-icmp", "icmp6", "icmpv6", "58":
		return flow.ICMPv6, false, nil
	case "ipencap":
		return flow.IPIP, false, nil
	}
	if n, err := strconv.ParseUint(s, 10, 8); err == nil {
		return flow.Proto(n), false, nil
	}
	p, err = flow.ParseProto(s)
	if err != nil {
		return 0, false, fmt.Errorf("protocol %q: want a name that weir knows or a number", s)
	}
	return p, false, nil
}

func icmp(p flow.Proto, s string) (rules.ServiceRange, error) {
	if s == "any" {
		return rules.Protocol(p), nil
	}
	names := icmpNames
	if p == flow.ICMPv6 {
		names = icmpv6Names
	}
	if full, ok := names[s]; ok {
		s = full
	}
	typ, code, exact := strings.Cut(s, "/")
	t, err := strconv.ParseUint(typ, 10, 8)
	if err != nil {
		return rules.ServiceRange{}, fmt.Errorf("icmp type %q is not known", s)
	}
	if !exact {
		if p == flow.ICMP && t == 255 { // iptables' number for any
			return rules.Protocol(p), nil
		}
		return rules.ICMPType(p, uint8(t)), nil
	}
	c, err := strconv.ParseUint(code, 10, 8)
	if err != nil {
		return rules.ServiceRange{}, fmt.Errorf("icmp code %q: want 0 to 255", s)
	}
	return rules.PortsOf(p, uint16(t<<8|c), uint16(t<<8|c)), nil
}

// addresses reads an address, a prefix (with a length or a mask) or a range.
func addresses(s string) (rules.AddrRange, error) {
	if lo, hi, ok := strings.Cut(s, "-"); ok {
		a, err1 := netip.ParseAddr(lo)
		b, err2 := netip.ParseAddr(hi)
		if err1 != nil || err2 != nil || a.Is4() != b.Is4() || b.Less(a) {
			return rules.AddrRange{}, fmt.Errorf("address range %q: want FIRST-LAST", s)
		}
		return rules.AddrRange{Lo: a, Hi: b}, nil
	}
	addr, length, cut := strings.Cut(s, "/")
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return rules.AddrRange{}, fmt.Errorf("address %q: want an address; iptables-save prints no names", s)
	}
	bits := a.BitLen()
	if cut {
		n, err := strconv.Atoi(length)
		if err != nil {
			if n, err = maskBits(length); err != nil {
				return rules.AddrRange{}, err
			}
		}
		bits = n
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return rules.AddrRange{}, fmt.Errorf("prefix %q: want a length to %d", s, a.BitLen())
	}
	return rules.PrefixRange(p), nil
}

func maskBits(s string) (int, error) {
	m, err := netip.ParseAddr(s)
	if err != nil {
		return 0, fmt.Errorf("mask %q: want a length or a mask", s)
	}
	n, open := 0, false
	for _, b := range m.AsSlice() {
		for i := 7; i >= 0; i-- {
			set := b&(1<<i) != 0
			if set && open {
				return 0, fmt.Errorf("mask %q has gaps, which is not supported; write a rule for each prefix", s)
			}
			if set {
				n++
			}
			open = open || !set
		}
	}
	return n, nil
}
