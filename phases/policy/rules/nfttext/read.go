package nfttext

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// Read reads the text that Write wrote. Anything else is an error with its
// line.
func Read(file, text string) (rules.Ruleset, error) {
	r := reader{file: file}
	for i, line := range strings.Split(text, "\n") {
		r.line, r.text = i+1, strings.TrimSpace(line)
		if err := r.one(); err != nil {
			return rules.Ruleset{}, fmt.Errorf("cannot read %s:%d: %w", file, r.line, err)
		}
	}
	if r.depth != 0 {
		return rules.Ruleset{}, fmt.Errorf("cannot read %s: %d brackets are not closed; the file may be cut off", file, r.depth)
	}
	for _, c := range r.out.Chains {
		for _, x := range c.Rules {
			if x.Target != "" && r.out.Chain(x.Target) == nil {
				return rules.Ruleset{}, fmt.Errorf("cannot read %s: jump to chain %q, which is not there", x.Where(), x.Target)
			}
		}
	}
	return r.out, nil
}

type reader struct {
	file  string
	line  int
	text  string
	depth int // 1 in a table, 2 in a chain
	chain *rules.Chain
	out   rules.Ruleset
	words []string
}

func (r *reader) one() error {
	f := strings.Fields(r.text)
	switch {
	case r.text == "" || r.text[0] == '#':
		return nil
	case r.text == "}":
		if r.depth--; r.depth < 0 {
			return fmt.Errorf("a bracket too many")
		}
		return nil
	case r.depth == 0 && (len(f) == 3 && f[0] == "table" && f[1] == "inet" || len(f) == 4 && f[0] == "delete" && f[1] == "table"):
		return nil
	case r.depth == 0 && len(f) == 4 && f[0] == "table" && f[1] == "inet" && f[3] == "{",
		r.depth == 1 && len(f) == 3 && f[0] == "chain" && f[2] == "{":
		if r.depth++; r.depth == 2 {
			if r.chain = r.out.Chain(f[1]); r.chain == nil {
				r.chain = &rules.Chain{Name: f[1]}
				r.out.Chains = append(r.out.Chains, r.chain)
			}
		}
		return nil
	case r.depth != 2:
		return fmt.Errorf("%q is none of the lines that weir writes", r.text)
	case len(f) == 8 && f[0] == "type" && f[1] == "filter" && f[2] == "hook" && f[6] == "policy":
		a := rules.Action(strings.TrimSuffix(f[7], ";"))
		if a != rules.Accept && a != rules.Drop {
			return fmt.Errorf("policy %q; want accept or drop", a)
		}
		r.chain.Hook, r.chain.Default = f[3], a
		return nil
	}
	return r.rule()
}

func (r *reader) next() string {
	if len(r.words) == 0 {
		return ""
	}
	w := r.words[0]
	r.words = r.words[1:]
	return w
}

// rule reads matches, a verdict and a comment.
func (r *reader) rule() error {
	var err error
	if r.words, err = tokens(r.text); err != nil {
		return err
	}
	x := rules.Rule{File: r.file, Line: r.line, Text: r.text}
	for x.Action == "" {
		switch w := r.next(); w {
		case "accept", "drop", "reject", "return", "continue":
			x.Action = rules.Action(w)
		case "jump", "goto":
			if x.Action, x.Target = rules.Action(w), r.next(); x.Target == "" {
				return fmt.Errorf("%s to no chain", w)
			}
		case "":
			return fmt.Errorf("the rule has no verdict")
		default:
			m, err := r.match(w)
			if err != nil {
				return err
			}
			x.Match = x.Match.And(m)
		}
	}
	if len(r.words) == 2 && r.words[0] == "comment" {
		r.words = nil
	}
	if len(r.words) > 0 {
		return fmt.Errorf("%q stands behind the verdict", strings.Join(r.words, " "))
	}
	r.chain.Rules = append(r.chain.Rules, x)
	return nil
}

// tokens cuts a rule into words; a quoted string is one, brackets and commas
// are left out.
func tokens(line string) (out []string, err error) {
	for line != "" {
		i := 0
		for i < len(line) && !strings.ContainsRune(" {}\"", rune(line[i])) && (line[i] != ',' || i+1 < len(line) && line[i+1] != ' ') {
			i++
		}
		switch {
		case i == len(line):
			return append(out, line), nil
		case line[i] == '"' && i == 0:
			end := strings.IndexByte(line[1:], '"')
			if end < 0 {
				return nil, fmt.Errorf("a quote is not closed")
			}
			out, line = append(out, line[1:end+1]), line[end+2:]
		case i > 0:
			out, line = append(out, line[:i]), line[i:]
		case line[0] == '{' || line[0] == '}':
			out, line = append(out, line[:1]), line[1:]
		default:
			line = line[1:]
		}
	}
	return out, nil
}

// operand reads "[!=] value" or "[!=] { value, … }".
func (r *reader) operand() (vals []string, not bool, err error) {
	w := r.next()
	if not = w == "!="; not {
		w = r.next()
	}
	if w != "{" {
		if w == "" || w == "}" {
			return nil, false, fmt.Errorf("the rule ends too early")
		}
		return []string{w}, not, nil
	}
	for {
		switch w := r.next(); w {
		case "}":
			return vals, not, nil
		case "", "{":
			return nil, false, fmt.Errorf("a set is not closed")
		default:
			vals = append(vals, w)
		}
	}
}

func (r *reader) match(w string) (m rules.Match, err error) {
	key := w
	if w != "iifname" && w != "oifname" {
		key += " " + r.next()
	}
	if w == "fib" {
		key += " " + r.next()
	}
	vals, not, err := r.operand()
	if err != nil {
		return m, err
	}
	if key == "tcp flags" && len(r.words) > 1 && r.words[0] == "/" {
		vals = []string{vals[0] + " / " + r.words[1]}
		r.words = r.words[2:]
	}
	if len(vals) == 0 {
		return m, fmt.Errorf("%s of nothing", key)
	}
	switch key {
	case "meta nfproto":
		f := flow.Family(vals[0])
		if len(vals) != 1 || f != flow.IPv4 && f != flow.IPv6 {
			return m, fmt.Errorf("nfproto %v", vals)
		}
		if not {
			f = map[flow.Family]flow.Family{flow.IPv4: flow.IPv6, flow.IPv6: flow.IPv4}[f]
		}
		m.Family = f
	case "ct state":
		for _, v := range vals {
			i := slices.Index(rules.StateNames, v)
			if i < 0 || not {
				return m, fmt.Errorf("ct state %q", v)
			}
			m.States |= 1 << i
		}
	case "iifname", "oifname":
		if len(vals) != 1 || vals[0] == "" {
			return m, fmt.Errorf("%s %v: want one name", key, vals)
		}
		n := vals[0]
		if p, wild := strings.CutSuffix(n, "*"); wild {
			n = p + "+"
		}
		set := []rules.Interfaces{{Names: []string{n}, Not: not}}
		if m.Out = set; key == "iifname" {
			m.In, m.Out = set, nil
		}
	case "ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr":
		set := rules.Addrs{Not: not}
		m.Family = map[string]flow.Family{"ip": flow.IPv4, "ip6": flow.IPv6}[w]
		for _, v := range vals {
			a, err := addrRange(v)
			if err != nil {
				return m, err
			}
			if flow.FamilyOf(a.Lo) != m.Family {
				return m, fmt.Errorf("%s %s: of the other family", key, v)
			}
			set.Ranges = append(set.Ranges, a)
		}
		if strings.HasSuffix(key, "saddr") {
			m.Src = []rules.Addrs{set}
		} else {
			m.Dst = []rules.Addrs{set}
		}
	case "meta l4proto", "th dport", "th sport", "icmp type", "icmp code", "icmpv6 type", "icmpv6 code":
		return numbers(key, vals, not)
	default:
		t := rules.Test{Text: key + " " + strings.Join(vals, ","), Not: not}
		if _, err := testWords([]rules.Test{t}); err != nil {
			return m, fmt.Errorf("%q is none of the matches that weir writes", key)
		}
		m.Tests = []rules.Test{t}
	}
	return m, nil
}

var withPorts = []flow.Proto{flow.TCP, flow.UDP, flow.DCCP, flow.SCTP, flow.UDPLite}

func numbers(key string, vals []string, not bool) (m rules.Match, err error) {
	set, ports := rules.Services{Not: not}, rules.Ports{Not: not}
	of := []flow.Proto{flow.ICMP}
	if strings.HasPrefix(key, "icmpv6") {
		of[0] = flow.ICMPv6
	}
	for _, v := range vals {
		lo, hi, isRange := strings.Cut(v, "-")
		if !isRange {
			hi = lo
		}
		a, b, err := uint64(0), uint64(0), error(nil)
		if p, e := flow.ParseProto(v); e == nil && key == "meta l4proto" {
			a, b = uint64(p), uint64(p)
		} else {
			size := 8
			if key == "th dport" || key == "th sport" {
				size = 16
			}
			a, err = strconv.ParseUint(lo, 10, size)
			if err == nil {
				b, err = strconv.ParseUint(hi, 10, size)
			}
		}
		if err != nil || a > b {
			return m, fmt.Errorf("%s %q: want a number or a range", key, v)
		}
		l, h := uint16(a), uint16(b)
		switch key {
		case "meta l4proto":
			set.Ranges = append(set.Ranges, rules.ServiceRange{Lo: rules.ServiceOf(flow.Proto(l), 0), Hi: rules.ServiceOf(flow.Proto(h), 0xffff)})
		case "th sport":
			ports.Ranges = append(ports.Ranges, rules.PortRange{Lo: l, Hi: h})
		case "th dport":
			for _, p := range withPorts {
				set.Ranges = append(set.Ranges, rules.PortsOf(p, l, h))
			}
		case "icmp type", "icmpv6 type":
			set.Ranges = append(set.Ranges, rules.PortsOf(of[0], l<<8, h<<8|255))
		case "icmp code", "icmpv6 code":
			for t := range uint16(256) {
				set.Ranges = append(set.Ranges, rules.PortsOf(of[0], t<<8|l, t<<8|h))
			}
		}
	}
	if key == "th sport" {
		m.SrcPorts = []rules.Ports{ports}
		return m, nil
	}
	m.Services = []rules.Services{set}
	return m, nil
}

func addrRange(s string) (rules.AddrRange, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return rules.AddrRange{}, err
		}
		return rules.PrefixRange(p), nil
	}
	lo, hi, isRange := strings.Cut(s, "-")
	if !isRange {
		hi = lo
	}
	a, err1 := netip.ParseAddr(lo)
	b, err2 := netip.ParseAddr(hi)
	if err1 != nil || err2 != nil || a.Is4() != b.Is4() || b.Less(a) || a.Zone()+b.Zone() != "" || a.Is4In6() || b.Is4In6() {
		return rules.AddrRange{}, fmt.Errorf("%q is no address, prefix or range", s)
	}
	return rules.AddrRange{Lo: a, Hi: b}, nil
}
