package nftjson

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// element is the match of one element of a set of concatenations, or of a
// single field.
func (f fields) element(e any) (rules.Match, error) {
	parts := []any{e}
	if m, ok := e.(map[string]any); ok && m["concat"] != nil {
		parts = list(m["concat"])
	}
	if len(parts) != len(f) {
		return rules.Match{}, fmt.Errorf("%s has not as many parts as what it is compared with", show(e))
	}
	var out rules.Match
	for i, p := range parts {
		m, err := f[i].in([]any{value(p)}, false)
		if err != nil {
			return out, err
		}
		out = out.And(m)
	}
	return out, nil
}

// in is the match of a field that is one of the values, or, with not, none.
func (f field) in(vals []any, not bool) (rules.Match, error) {
	m := rules.Match{Family: f.family}
	switch f.kind {
	case "src", "dst":
		set := rules.Addrs{Not: not}
		for _, v := range vals {
			r, err := addresses(v)
			if err != nil {
				return m, err
			}
			if flow.FamilyOf(r.Lo) != f.family {
				return m, fmt.Errorf("%s is not %s", show(v), f.family)
			}
			set.Ranges = append(set.Ranges, r)
		}
		if f.kind == "src" {
			m.Src = []rules.Addrs{set}
		} else {
			m.Dst = []rules.Addrs{set}
		}
	case "in", "out":
		set := rules.Interfaces{Not: not}
		for _, v := range vals {
			n, ok := v.(string)
			if !ok {
				return m, fmt.Errorf("interface %s is no name", show(v))
			}
			if p, wild := strings.CutSuffix(n, "*"); wild {
				n = p + "+"
			}
			set.Names = append(set.Names, n)
		}
		if f.kind == "in" {
			m.In = []rules.Interfaces{set}
		} else {
			m.Out = []rules.Interfaces{set}
		}
	case "state":
		return f.states(vals, not)
	case "family":
		return f.families(vals, not)
	default:
		return f.numbers(vals, not)
	}
	return m, nil
}

// nothing is a match of no packet.
func nothing() rules.Match { return rules.Match{Src: []rules.Addrs{{}}} }

func (f field) states(vals []any, not bool) (rules.Match, error) {
	var s rules.States
	for _, v := range vals {
		i := slices.Index(rules.StateNames, show(v))
		if i < 0 {
			return rules.Match{}, fmt.Errorf("ct state %s is not known", show(v))
		}
		s |= 1 << i
	}
	if not {
		s = rules.AnyState &^ s
	}
	if s == 0 {
		return nothing(), nil
	}
	return rules.Match{States: s}, nil
}

func (f field) families(vals []any, not bool) (rules.Match, error) {
	var v4, v6 bool
	for _, v := range vals {
		switch show(v) {
		case "ipv4", "ip", "2", "2048", "0x0800":
			v4 = true
		case "ipv6", "ip6", "10", "34525", "0x86dd":
			v6 = true
		default: // another protocol than IP: no packet that is judged here
		}
	}
	switch v4, v6 = v4 != not, v6 != not; {
	case v4 && v6:
		return rules.Match{}, nil
	case v4:
		return rules.Match{Family: flow.IPv4}, nil
	case v6:
		return rules.Match{Family: flow.IPv6}, nil
	}
	return nothing(), nil
}

// numbers is the match of ports, protocols, ICMP types and codes.
func (f field) numbers(vals []any, not bool) (rules.Match, error) {
	var spans [][2]uint16
	for _, v := range vals {
		lo, hi, err := f.span(v)
		if err != nil {
			return rules.Match{}, err
		}
		spans = append(spans, [2]uint16{lo, hi})
	}
	return f.spans(spans, not), nil
}

func (f field) spans(spans [][2]uint16, not bool) rules.Match {
	m := rules.Match{Family: f.family}
	of := rules.Services{} // the protocols that have such a field at all
	for _, p := range f.protos {
		of.Ranges = append(of.Ranges, rules.Protocol(p))
	}
	if len(f.protos) > 0 {
		m.Services = append(m.Services, of)
	}
	if f.kind == "sport" {
		set := rules.Ports{Not: not}
		for _, s := range spans {
			set.Ranges = append(set.Ranges, rules.PortRange{Lo: s[0], Hi: s[1]})
		}
		m.SrcPorts = []rules.Ports{set}
		return m
	}
	set := rules.Services{Not: not}
	for _, s := range spans {
		switch f.kind {
		case "proto":
			set.Ranges = append(set.Ranges, rules.ServiceRange{Lo: rules.ServiceOf(flow.Proto(s[0]), 0), Hi: rules.ServiceOf(flow.Proto(s[1]), 0xffff)})
		case "dport":
			for _, p := range f.protos {
				set.Ranges = append(set.Ranges, rules.PortsOf(p, s[0], s[1]))
			}
		case "icmptype":
			set.Ranges = append(set.Ranges, rules.PortsOf(f.protos[0], s[0]<<8, s[1]<<8|255))
		case "icmpcode":
			for t := range uint16(256) {
				set.Ranges = append(set.Ranges, rules.PortsOf(f.protos[0], t<<8|s[0], t<<8|s[1]))
			}
		}
	}
	m.Services = append(m.Services, set)
	return m
}

// compare is the match of a field that is less or greater than a value.
func (f field) compare(op string, right any) (rules.Match, error) {
	if !slices.Contains([]string{"dport", "sport", "proto", "icmptype", "icmpcode"}, f.kind) {
		return rules.Match{}, fmt.Errorf("%s compared by %s", f.kind, op)
	}
	n, _, err := f.span(right)
	if err != nil {
		return rules.Match{}, err
	}
	top := f.top()
	none := false
	lo, hi := uint16(0), top
	switch op {
	case "<":
		none, hi = n == 0, n-1
	case "<=":
		hi = n
	case ">":
		none, lo = n == top, n+1
	case ">=":
		lo = n
	}
	if none {
		return nothing(), nil
	}
	return f.spans([][2]uint16{{lo, hi}}, false), nil
}

func (f field) top() uint16 {
	if f.kind == "dport" || f.kind == "sport" {
		return 65535
	}
	return 255
}

// span reads a number, a name or a range.
func (f field) span(v any) (lo, hi uint16, err error) {
	if m, ok := v.(map[string]any); ok {
		ends := list(m["range"])
		if len(ends) != 2 {
			return 0, 0, fmt.Errorf("%s is no number or range", show(v))
		}
		lo, err1 := f.number(ends[0])
		hi, err2 := f.number(ends[1])
		if err1 != nil || err2 != nil || lo > hi {
			return 0, 0, fmt.Errorf("%s is no range", show(v))
		}
		return lo, hi, nil
	}
	lo, err = f.number(v)
	return lo, lo, err
}

func (f field) number(v any) (uint16, error) {
	text := show(v)
	if n, err := strconv.ParseUint(text, 10, 16); err == nil && uint16(n) <= f.top() {
		return uint16(n), nil
	}
	switch f.kind {
	case "proto":
		if text == "ipv6-icmp" {
			text = "icmpv6"
		}
		if n, ok := protocols[text]; ok {
			return n, nil
		}
		if p, err := flow.ParseProto(text); err == nil {
			return uint16(p), nil
		}
	case "icmptype":
		if n, ok := map[flow.Proto]map[string]uint16{flow.ICMP: icmpTypes, flow.ICMPv6: icmpv6Types}[f.protos[0]][text]; ok {
			return n, nil
		}
	case "icmpcode":
		if n, ok := map[flow.Proto]map[string]uint16{flow.ICMP: icmpCodes, flow.ICMPv6: icmpv6Codes}[f.protos[0]][text]; ok {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s %q is not known", f.kind, text)
}

// addresses reads an address, a prefix or a range.
func addresses(v any) (rules.AddrRange, error) {
	bad := fmt.Errorf("%s is no address, prefix or range", show(v))
	switch x := v.(type) {
	case string:
		a, err := netip.ParseAddr(x)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return rules.AddrRange{}, bad
		}
		return rules.AddrRange{Lo: a, Hi: a}, nil
	case map[string]any:
		if p, ok := x["prefix"].(map[string]any); ok {
			n, err := strconv.Atoi(show(p["len"]))
			a, err2 := netip.ParseAddr(str(p, "addr"))
			if err != nil || err2 != nil || a.Zone() != "" || a.Is4In6() {
				return rules.AddrRange{}, bad
			}
			pr, err := a.Prefix(n)
			if err != nil {
				return rules.AddrRange{}, bad
			}
			return rules.PrefixRange(pr), nil
		}
		if ends := list(x["range"]); len(ends) == 2 {
			lo, err1 := addresses(ends[0])
			hi, err2 := addresses(ends[1])
			if err1 != nil || err2 != nil || lo.Lo.Is4() != hi.Hi.Is4() || hi.Hi.Less(lo.Lo) {
				return rules.AddrRange{}, bad
			}
			return rules.AddrRange{Lo: lo.Lo, Hi: hi.Hi}, nil
		}
	}
	return rules.AddrRange{}, bad
}

// show writes a value in words that are close to nft's own.
func show(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case json.Number:
		return x.String()
	case bool:
		return strconv.FormatBool(x)
	case []any:
		var out []string
		for _, e := range x {
			out = append(out, show(e))
		}
		return strings.Join(out, ",")
	case map[string]any:
		return showObject(x)
	}
	return fmt.Sprint(v)
}

func showObject(x map[string]any) string {
	keys := make([]string, 0, len(x))
	for k := range x {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if len(keys) == 1 {
		k := keys[0]
		in, _ := x[k].(map[string]any)
		switch {
		case k == "match":
			if op := str(in, "op"); op != "==" && op != "in" {
				return show(in["left"]) + " " + op + " " + show(in["right"])
			}
			return show(in["left"]) + " " + show(in["right"])
		case k == "payload" && in["field"] != nil:
			return str(in, "protocol") + " " + str(in, "field")
		case k == "meta":
			if n := str(in, "key"); strings.HasPrefix(n, "iif") || strings.HasPrefix(n, "oif") {
				return n
			}
			return "meta " + show(in["key"])
		case k == "fib":
			return "fib " + strings.ReplaceAll(show(in["flags"]), ",", " . ") + " " + show(in["result"])
		case (k == "&" || k == "|" || k == "^" || k == "<<" || k == ">>") && len(list(x[k])) == 2:
			return show(list(x[k])[0]) + " " + k + " " + show(list(x[k])[1])
		case k == "ct":
			return strings.Join(strings.Fields("ct "+show(in["dir"])+" "+show(in["key"])), " ")
		case k == "prefix" && in["len"] != nil:
			return show(in["addr"]) + "/" + show(in["len"])
		case k == "range" && len(list(x[k])) == 2:
			return show(list(x[k])[0]) + "-" + show(list(x[k])[1])
		case k == "concat":
			return strings.ReplaceAll(show(x[k]), ",", " . ")
		case k == "set":
			return "{ " + strings.ReplaceAll(show(x[k]), ",", ", ") + " }"
		case k == "vmap":
			return show(in["key"]) + " vmap " + show(in["data"])
		case k == "jump" || k == "goto":
			return k + " " + show(in["target"])
		case k == "counter":
			return k
		}
	}
	var out []string
	for _, k := range keys {
		s := k
		if t := show(x[k]); t != "" {
			s += " " + t
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}
