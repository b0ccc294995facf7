package nfttext

import (
	"fmt"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// serviceWords returns the alternatives that together are what the sets of
// services and source ports ask for.
func serviceWords(list []rules.Services, sports []rules.Ports) []string {
	if len(list) == 0 && len(sports) == 0 {
		return []string{""}
	}
	source := portSet(sports)
	sport, without := "", true // the words, and whether 0, the port of what has none, is among them
	if len(sports) > 0 {
		sport = "th sport { " + portText(source) + " } "
		without = len(source) > 0 && source[0].Lo == 0
	}
	if len(source) == 0 {
		return nil
	}
	byPorts := map[string][]flow.Proto{} // ports in words → protocols; "" is all
	var order []string
	var bare []flow.Proto
	var out []string
	for p := range 256 {
		p := flow.Proto(p)
		var of []rules.PortRange
		for _, r := range serviceSet(list) {
			lo, hi := max(r.Lo, rules.ServiceOf(p, 0)), min(r.Hi, rules.ServiceOf(p, 0xffff))
			if lo <= hi {
				of = append(of, rules.PortRange{Lo: lo.Port(), Hi: hi.Port()})
			}
		}
		whole := len(of) == 1 && of[0] == rules.PortRange{Hi: 65535}
		switch {
		case len(of) == 0:
		case p.HasPorts() && whole && sport == "":
			bare = append(bare, p)
		case p.HasPorts():
			t := ""
			if !whole {
				t = "th dport { " + portText(of) + " } "
			}
			if byPorts[t] == nil {
				order = append(order, t)
			}
			byPorts[t] = append(byPorts[t], p)
		case !without:
		case p.IsICMP() && !whole:
			out = append(out, icmpWords(p, of)...)
		case whole || of[0].Lo == 0: // what has no ports counts as port 0
			bare = append(bare, p)
		}
	}
	for _, t := range order {
		out = append(out, "meta l4proto "+protoText(byPorts[t])+" "+t+sport)
	}
	if len(bare) == 256 {
		return append(out, "")
	}
	if len(bare) > 0 {
		out = append(out, "meta l4proto "+protoText(bare)+" ")
	}
	return out
}

// serviceSet is the intersection of sets, in order and apart.
func serviceSet(list []rules.Services) []rules.ServiceRange {
	out := []rules.ServiceRange{{Lo: 0, Hi: rules.MaxService}}
	for _, s := range list {
		in := slices.Clone(s.Ranges)
		slices.SortFunc(in, func(a, b rules.ServiceRange) int { return int(a.Lo) - int(b.Lo) })
		var set []rules.ServiceRange
		for _, r := range in {
			if n := len(set); n > 0 && r.Lo <= set[n-1].Hi+1 {
				set[n-1].Hi = max(set[n-1].Hi, r.Hi)
			} else {
				set = append(set, r)
			}
		}
		if s.Not {
			set = outside(set, rules.MaxService)
		}
		var next []rules.ServiceRange
		for _, a := range out {
			for _, b := range set {
				if lo, hi := max(a.Lo, b.Lo), min(a.Hi, b.Hi); lo <= hi {
					next = append(next, rules.ServiceRange{Lo: lo, Hi: hi})
				}
			}
		}
		out = next
	}
	return out
}

func outside(set []rules.ServiceRange, last rules.Service) (out []rules.ServiceRange) {
	at := rules.Service(0)
	for _, r := range set {
		if r.Lo > at {
			out = append(out, rules.ServiceRange{Lo: at, Hi: r.Lo - 1})
		}
		at = r.Hi + 1
	}
	if at <= last {
		out = append(out, rules.ServiceRange{Lo: at, Hi: last})
	}
	return out
}

// portSet is the intersection of sets of ports: services of protocol 0.
func portSet(list []rules.Ports) (out []rules.PortRange) {
	all := []rules.Services{{Ranges: []rules.ServiceRange{rules.Protocol(0)}}}
	for _, p := range list {
		s := rules.Services{Not: p.Not}
		for _, r := range p.Ranges {
			s.Ranges = append(s.Ranges, rules.PortsOf(0, r.Lo, r.Hi))
		}
		all = append(all, s)
	}
	for _, r := range serviceSet(all) {
		out = append(out, rules.PortRange{Lo: r.Lo.Port(), Hi: r.Hi.Port()})
	}
	return out
}

func portText(ports []rules.PortRange) string {
	var out []string
	for _, p := range ports {
		if p.Lo == p.Hi {
			out = append(out, fmt.Sprint(p.Lo))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", p.Lo, p.Hi))
		}
	}
	return strings.Join(out, ", ")
}

// protoText is a set of protocols; most of them are told by the others.
func protoText(ps []flow.Proto) string {
	not := ""
	if len(ps) > 128 {
		var rest []flow.Proto
		for p := range 256 {
			if !slices.Contains(ps, flow.Proto(p)) {
				rest = append(rest, flow.Proto(p))
			}
		}
		ps, not = rest, "!= "
	}
	var out []string
	for _, p := range ps {
		switch p {
		case flow.TCP, flow.UDP, flow.ICMP, flow.ICMPv6:
			out = append(out, p.String())
		default:
			out = append(out, fmt.Sprint(uint8(p)))
		}
	}
	return not + "{ " + strings.Join(out, ", ") + " }"
}

// icmpWords writes ranges of type·256 + code: whole types together, of others
// the codes.
func icmpWords(p flow.Proto, of []rules.PortRange) (out []string) {
	var whole []rules.PortRange
	for _, r := range of {
		for t := r.Lo >> 8; ; t++ {
			lo, hi := max(r.Lo, t<<8), min(r.Hi, t<<8|255)
			if lo == t<<8 && hi == t<<8|255 {
				if n := len(whole); n > 0 && whole[n-1].Hi+1 == t {
					whole[n-1].Hi = t
				} else {
					whole = append(whole, rules.PortRange{Lo: t, Hi: t})
				}
			} else {
				out = append(out, fmt.Sprintf("%s type %d %s code { %s } ", p, t, p, portText([]rules.PortRange{{Lo: lo & 255, Hi: hi & 255}})))
			}
			if t == r.Hi>>8 {
				break
			}
		}
	}
	if len(whole) > 0 {
		out = append(out, fmt.Sprintf("%s type { %s } ", p, portText(whole)))
	}
	return out
}
