package iptables

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// Sets are the sets of "ipset save", by name.
type Sets map[string]*set

// set is what one "create" line and its "add" lines say.
type set struct {
	kind  []string // the dimensions: ip, net, port, iface, mac, mark, set
	elems []element
	times bool // elements go after some time
}

type element struct {
	parts []string
	not   bool // nomatch
}

// ReadSets reads what "ipset save" prints.
func ReadSets(file, text string) (Sets, error) {
	out := Sets{}
	for i, line := range strings.Split(text, "\n") {
		words, err := split(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("cannot read %s:%d: %w", file, i+1, err)
		}
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch {
		case words[0] == "create" && len(words) > 2:
			_, dims, ok := strings.Cut(words[2], ":")
			if !ok {
				return nil, fmt.Errorf("cannot read %s:%d: type %q of a set", file, i+1, words[2])
			}
			out[words[1]] = &set{kind: strings.Split(dims, ","), times: slices.Contains(words, "timeout")}
		case words[0] == "add" && len(words) > 2 && out[words[1]] != nil:
			s := out[words[1]]
			s.elems = append(s.elems, element{strings.Split(words[2], ","), slices.Contains(words[3:], "nomatch")})
		default:
			return nil, fmt.Errorf("cannot read %s:%d: %q is no line of ipset save", file, i+1, line)
		}
	}
	return out, nil
}

// matchSet reads "--match-set NAME src,dst".
func (r *ruleReader) matchSet(not bool) error {
	name, err1 := r.next()
	dirs, err2 := r.next()
	if err1 != nil || err2 != nil {
		return fmt.Errorf("--match-set needs a set and its directions")
	}
	ways, err := r.ofSet(name, strings.Split(dirs, ","), 0)
	if err == nil && len(ways) != 1 && (not || r.ways != nil) {
		err = fmt.Errorf("a second or negated set of several dimensions")
	}
	switch {
	case err != nil:
		r.p.note("set %s: %v: undecided", name, err)
		r.test("-m set --match-set "+name+" "+dirs, not, false)
	case len(ways) != 1:
		r.ways = append([]rules.Match{}, ways...)
	case not && len(ways[0].Src) == 1 && len(ways[0].Dst) == 0:
		ways[0].Src[0].Not = true
		r.m = r.m.And(ways[0])
	case not && len(ways[0].Dst) == 1 && len(ways[0].Src) == 0:
		ways[0].Dst[0].Not = true
		r.m = r.m.And(ways[0])
	case not:
		r.p.note("set %s: negated: undecided", name)
		r.test("-m set --match-set "+name+" "+dirs, not, false)
	default:
		r.m = r.m.And(ways[0])
	}
	return nil
}

// ofSet returns the ways to be in a set: one for a set of addresses, otherwise
// one for each element.
func (r *ruleReader) ofSet(name string, dirs []string, depth int) ([]rules.Match, error) {
	s := r.p.sets[name]
	if s == nil {
		return nil, fmt.Errorf("not known; give what ipset save prints")
	}
	if s.times {
		r.p.note("set %s: its elements go after some time: they count as they were saved", name)
	}
	if len(s.kind) == 1 && (s.kind[0] == "ip" || s.kind[0] == "net") {
		in, err := r.addresses(s)
		if err != nil {
			return nil, err
		}
		a := []rules.Addrs{{Ranges: in, Set: name}}
		if dirs[0] == "src" {
			return []rules.Match{{Src: a}}, nil
		}
		return []rules.Match{{Dst: a}}, nil
	}
	var out []rules.Match
	for _, e := range s.elems {
		if e.not || len(e.parts) != len(s.kind) || len(dirs) < len(s.kind) && s.kind[0] != "set" {
			return nil, fmt.Errorf("element %s", strings.Join(e.parts, ","))
		}
		if s.kind[0] == "set" {
			if depth > 0 {
				return nil, fmt.Errorf("a list of lists")
			}
			m, err := r.ofSet(e.parts[0], dirs, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, m...)
			continue
		}
		var m rules.Match
		for i, k := range s.kind {
			if err := r.part(&m, k, e.parts[i], dirs[i] == "src"); err != nil {
				return nil, err
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// part narrows a match by one dimension of an element.
func (r *ruleReader) part(m *rules.Match, kind, text string, src bool) error {
	switch kind {
	case "ip", "net":
		a, err := addresses(text)
		if err != nil {
			return err
		}
		set := []rules.Addrs{{Ranges: []rules.AddrRange{a}}}
		if src {
			*m = m.And(rules.Match{Src: set})
		} else {
			*m = m.And(rules.Match{Dst: set})
		}
	case "port":
		proto, ports, ok := strings.Cut(text, ":")
		if !ok {
			proto, ports = "tcp", text
		}
		p, all, err := protocol(proto)
		if err != nil || all || !p.HasPorts() {
			return fmt.Errorf("element %q: want PROTOCOL:PORT", text)
		}
		lo, hi, isRange := strings.Cut(ports, "-")
		if !isRange {
			hi = lo
		}
		a, err1 := strconv.ParseUint(lo, 10, 16)
		b, err2 := strconv.ParseUint(hi, 10, 16)
		if err1 != nil || err2 != nil || a > b {
			return fmt.Errorf("element %q: want a port or a range", text)
		}
		x := rules.Match{Services: []rules.Services{{Ranges: []rules.ServiceRange{rules.PortsOf(p, uint16(a), uint16(b))}}}}
		if src {
			x = rules.Match{Services: []rules.Services{{Ranges: []rules.ServiceRange{rules.Protocol(p)}}}, SrcPorts: []rules.Ports{{Ranges: []rules.PortRange{{Lo: uint16(a), Hi: uint16(b)}}}}}
		}
		*m = m.And(x)
	case "iface":
		set := []rules.Interfaces{{Names: []string{text}}}
		if src {
			*m = m.And(rules.Match{In: set})
		} else {
			*m = m.And(rules.Match{Out: set})
		}
	default:
		return fmt.Errorf("dimension %q", kind)
	}
	return nil
}

// addresses returns the addresses of a set: the longest prefix decides, and
// one with nomatch is not in it.
func (r *ruleReader) addresses(s *set) ([]rules.AddrRange, error) {
	type entry struct {
		rules.AddrRange
		not bool
	}
	var list []entry
	for _, e := range s.elems {
		a, err := addresses(e.parts[0])
		if err != nil {
			return nil, err
		}
		if flow.FamilyOf(a.Lo) == r.p.family {
			list = append(list, entry{a, e.not})
		}
	}
	slices.SortStableFunc(list, func(a, b entry) int { return cmp.Or(a.Lo.Compare(b.Lo), b.Hi.Compare(a.Hi)) }) // the wider first
	out := []rules.AddrRange{}
	for _, e := range list {
		if !e.not {
			out = append(out, e.AddrRange)
			continue
		}
		var next []rules.AddrRange
		for _, x := range out {
			if x.Hi.Less(e.Lo) || e.Hi.Less(x.Lo) {
				next = append(next, x)
				continue
			}
			if x.Lo.Less(e.Lo) {
				next = append(next, rules.AddrRange{Lo: x.Lo, Hi: e.Lo.Prev()})
			}
			if e.Hi.Less(x.Hi) {
				next = append(next, rules.AddrRange{Lo: e.Hi.Next(), Hi: x.Hi})
			}
		}
		out = next
	}
	return out, nil
}
