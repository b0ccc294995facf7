package nftjson

import (
	"fmt"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// match reads {"op": …, "left": …, "right": …}.
func (s *statements) match(m map[string]any) error {
	op, left, right := str(m, "op"), m["left"], m["right"]
	not := op == "!=" || op == "!"
	undecided := func(why string) {
		if why != "" {
			s.r.note("%s: undecided", why)
		}
		s.and(implied(left))
		text := show(left) + " " + show(right)
		if mask, ok := flagsOf(left); ok && (op == "==" || op == "!=") {
			text = "tcp flags " + show(right) + " / " + mask
		}
		if op != "==" && op != "!=" && op != "in" && op != "" {
			text = show(left) + " " + op + " " + show(right)
			not = false
		}
		s.test(text, not, false)
	}
	f, known := s.fields(left)
	if !known {
		undecided("")
		return nil
	}
	if len(f) == 1 && (op == "<" || op == ">" || op == "<=" || op == ">=") {
		mm, err := f[0].compare(op, right)
		if err != nil {
			undecided(err.Error())
			return nil
		}
		s.and(mm)
		return nil
	}
	elems, ok := s.elements(right)
	if !ok {
		return fmt.Errorf("set %s is not declared", show(right))
	}
	if len(f) == 1 {
		mm, err := f[0].in(elems, not)
		if err != nil {
			undecided(err.Error())
			return nil
		}
		s.and(mm)
		return nil
	}
	if not {
		undecided("a negated set of concatenations")
		return nil
	}
	var ways []rules.Match
	for _, e := range elems {
		mm, err := f.element(e)
		if err != nil {
			undecided(err.Error())
			return nil
		}
		ways = append(ways, mm)
	}
	s.and(ways...) // none: a rule that matches nothing is no rule
	return nil
}

// implied is what nft leaves out of its list before an expression that only
// some packets have: their family or protocol.
func implied(left any) (m rules.Match) {
	proto := func(p flow.Proto) {
		m = m.And(rules.Match{Services: []rules.Services{{Ranges: []rules.ServiceRange{rules.Protocol(p)}}}})
	}
	switch x := left.(type) {
	case []any:
		for _, e := range x {
			m = m.And(implied(e))
		}
	case map[string]any:
		for k, v := range x {
			in, _ := v.(map[string]any)
			switch name := str(in, "protocol"); {
			case k == "payload" && (name == "ip" || name == "icmp"), k == "ip option":
				m = m.And(rules.Match{Family: flow.IPv4})
			case k == "payload" && (name == "ip6" || name == "icmpv6"), k == "exthdr":
				m = m.And(rules.Match{Family: flow.IPv6})
			}
			if p, err := flow.ParseProto(str(in, "protocol")); err == nil && k == "payload" {
				proto(p)
			}
			switch k {
			case "tcp option":
				proto(flow.TCP)
			case "sctp chunk":
				proto(flow.SCTP)
			case "concat", "&", "|", "^", "<<", ">>":
				m = m.And(implied(v))
			}
		}
	}
	return m
}

// flagsOf returns the mask where the left side is tcp flags and a mask.
func flagsOf(left any) (string, bool) {
	m, _ := left.(map[string]any)
	parts := list(m["&"])
	if len(parts) != 2 || show(parts[0]) != "tcp flags" {
		return "", false
	}
	return show(parts[1]), true
}

// elements resolves the right side: a named or anonymous set, a list of flags
// or one value. ok is false where a named set is missing.
func (s *statements) elements(v any) (out []any, ok bool) {
	if name, is := v.(string); is && len(name) > 1 && name[0] == '@' {
		v, ok = s.r.sets[s.table+" "+name[1:]]
		if !ok {
			return nil, false
		}
	}
	if m, is := v.(map[string]any); is && m["set"] != nil {
		v = m["set"]
	}
	for _, e := range list(v) {
		out = append(out, value(e))
	}
	return out, true
}

// value takes an element's value out of its timeout, counter and comment.
func value(e any) any {
	if m, ok := e.(map[string]any); ok {
		if x, ok := m["elem"].(map[string]any); ok {
			return value(x["val"])
		}
	}
	return e
}

// field is something of a packet that the header decides.
type field struct {
	kind   string // src, dst, dport, sport, proto, icmptype, icmpcode, in, out, state, family
	family flow.Family
	protos []flow.Proto // of ports and ICMP
}

type fields []field

// fields reads the left side. known is false where the header does not decide.
func (s *statements) fields(left any) (fields, bool) {
	m, _ := left.(map[string]any)
	if parts, ok := m["concat"]; ok {
		var out fields
		for _, p := range list(parts) {
			f, ok := s.field(p)
			if !ok {
				return nil, false
			}
			out = append(out, f)
		}
		return out, len(out) > 0
	}
	f, ok := s.field(left)
	return fields{f}, ok
}

var withPorts = []flow.Proto{flow.TCP, flow.UDP, flow.DCCP, flow.SCTP, flow.UDPLite}

func (s *statements) field(left any) (field, bool) {
	m, _ := left.(map[string]any)
	if p, ok := m["payload"].(map[string]any); ok {
		return s.payload(str(p, "protocol"), str(p, "field"))
	}
	if p, ok := m["meta"].(map[string]any); ok {
		switch str(p, "key") {
		case "l4proto":
			return field{kind: "proto"}, true
		case "nfproto", "protocol":
			return field{kind: "family"}, true
		case "iif", "iifname":
			return field{kind: "in"}, true
		case "oif", "oifname":
			return field{kind: "out"}, true
		}
	}
	if p, ok := m["ct"].(map[string]any); ok && str(p, "key") == "state" {
		return field{kind: "state"}, true
	}
	return field{}, false
}

func (s *statements) payload(proto, name string) (field, bool) {
	fam := map[string]flow.Family{"ip": flow.IPv4, "ip6": flow.IPv6}[proto]
	switch {
	case fam != "" && name == "saddr":
		return field{kind: "src", family: fam}, true
	case fam != "" && name == "daddr":
		return field{kind: "dst", family: fam}, true
	case fam != "" && (name == "protocol" || name == "nexthdr"):
		return field{kind: "proto", family: fam}, true
	case proto == "icmp" && (name == "type" || name == "code"):
		return field{kind: "icmp" + name, family: flow.IPv4, protos: []flow.Proto{flow.ICMP}}, true
	case proto == "icmpv6" && (name == "type" || name == "code"):
		return field{kind: "icmp" + name, family: flow.IPv6, protos: []flow.Proto{flow.ICMPv6}}, true
	case name == "dport" || name == "sport":
		if proto == "th" {
			if !s.limited() {
				s.r.note("th %s without a protocol: judged for tcp, udp, dccp, sctp and udplite", name)
			}
			return field{kind: name, protos: withPorts}, true
		}
		if p, err := flow.ParseProto(proto); err == nil && p.HasPorts() {
			return field{kind: name, protos: []flow.Proto{p}}, true
		}
	}
	return field{}, false
}

// limited says whether every way names a protocol already.
func (s *statements) limited() bool {
	for _, w := range s.ways {
		if len(w.Services) == 0 {
			return false
		}
	}
	return true
}
