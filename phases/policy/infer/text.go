package infer

import (
	"fmt"
	"io"
	"math/bits"
	"net/netip"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// Lines writes a rule in the manner of LISA '07, one line for each group of
// services that share their ports: "tcp, udp FROM hosts-1 TO 192.0.2.0/24 FOR
// domain". What is not said is anything.
func (r Rule) Lines() []string {
	where := ""
	if s := interfaces(r.Match.In); s != "" {
		where += " IN " + s
	}
	if s := side(r.Match.Src, r.Src); s != "" {
		where += " FROM " + s
	}
	if len(r.Match.SrcPorts) > 0 {
		where += " FROM PORTS " + portsText(r.Match.SrcPorts)
	}
	if s := interfaces(r.Match.Out); s != "" {
		where += " OUT " + s
	}
	if s := side(r.Match.Dst, r.Dst); s != "" {
		where += " TO " + s
	}
	tail := ""
	if r.Match.States != 0 {
		tail += " STATE " + statesText(r.Match.States)
	}
	if r.Match.Family != "" {
		tail += " IN FAMILY " + string(r.Match.Family)
	}
	for i, t := range append(r.Match.Tests[:len(r.Match.Tests):len(r.Match.Tests)], r.If...) {
		tail += map[bool]string{true: " IF ", false: " AND "}[i == 0]
		if t.Not {
			tail += "not "
		}
		tail += t.Key()
	}
	if len(r.Match.Services) == 0 {
		return []string{"all" + where + tail}
	}
	if len(r.Match.Services) > 1 || r.Match.Services[0].Not {
		s := ""
		for i, x := range r.Match.Services {
			if i > 0 {
				s += " AND "
			}
			var gs []string
			for _, g := range groups(x.Ranges) {
				gs = append(gs, strings.TrimSpace(g.protocols()+g.ending()))
			}
			if x.Not {
				s += "all BUT (" + strings.Join(gs, "; ") + ")"
			} else {
				s += strings.Join(gs, "; ")
			}
		}
		return []string{s + where + tail}
	}
	var out []string
	for _, g := range groups(r.Match.Services[0].Ranges) {
		out = append(out, g.protocols()+where+g.ending()+tail)
	}
	return out
}

func statesText(s rules.States) string {
	but := ""
	if out := rules.AnyState &^ s; stateItems(s) < bits.OnesCount8(uint8(s)) {
		but, s = "all BUT ", out
	}
	return but + strings.ReplaceAll(s.String(), ",", ", ")
}

func (r Rule) String() string { return strings.Join(r.Lines(), "; ") }

func (g group) protocols() string {
	var s []string
	for _, p := range g.protos {
		if p == 0 {
			s = append(s, "ip/0")
		} else {
			s = append(s, p.String())
		}
	}
	return strings.Join(s, ", ")
}

// ending is "FOR ports" or "OF TYPES types".
func (g group) ending() string {
	if len(g.ports) == 0 {
		return ""
	}
	var s []string
	if g.protos[0].IsICMP() {
		for _, r := range g.ports {
			s = append(s, icmpText(g.protos[0], r)...)
		}
		return " OF TYPES " + strings.Join(s, ", ")
	}
	for i, r := range g.ports {
		name, known := portNames[r.Lo]
		switch {
		case r.Lo == r.Hi && known:
			s = append(s, name)
			continue
		case r.Lo == r.Hi:
			name = itoa(int(r.Lo))
		default:
			name = fmt.Sprintf("[%d-%d]", r.Lo, r.Hi)
		}
		if i == 0 || len(s) > 0 && !strings.Contains(strings.Join(s, " "), "port") {
			name = "port " + name
			if r.Lo != r.Hi {
				name = strings.Replace(name, "port", "ports", 1)
			}
		}
		s = append(s, name)
	}
	return " FOR " + strings.Join(s, ", ")
}

// icmpText names types; a range of whole types is named one by one.
func icmpText(p flow.Proto, r rules.PortRange) (out []string) {
	for r.Lo&255 == 0 && r.Lo|255 <= r.Hi {
		name, ok := icmpNames[p][uint8(r.Lo>>8)]
		if !ok {
			name = itoa(int(r.Lo >> 8))
			if int(r.Hi)-int(r.Lo) > 3*256 { // many without a name
				break
			}
		}
		out = append(out, name)
		if r.Lo|255 == r.Hi {
			return out
		}
		r.Lo = r.Lo | 255 + 1
	}
	if r.Lo == r.Hi {
		return append(out, fmt.Sprintf("%d/%d", r.Lo>>8, r.Lo&255))
	}
	return append(out, fmt.Sprintf("[%d/%d - %d/%d]", r.Lo>>8, r.Lo&255, r.Hi>>8, r.Hi&255))
}

func side(list []rules.Addrs, name string) string {
	if name != "" {
		return name
	}
	var s []string
	for _, a := range list {
		s = append(s, addrsText(a))
	}
	return strings.Join(s, " AND ")
}

func addrsText(a rules.Addrs) string {
	var s []string
	for _, r := range a.Ranges {
		s = append(s, RangeText(r))
	}
	t := strings.Join(s, ", ")
	if a.Not {
		return "all BUT " + t
	}
	return t
}

// RangeText is a range as a person writes it: an address, a prefix, or
// "[192.0.2.13 - 15]".
func RangeText(r rules.AddrRange) string {
	if r.Lo == r.Hi {
		return r.Lo.String()
	}
	for bits := r.Lo.BitLen() - 1; bits >= 0; bits-- {
		p := netip.PrefixFrom(r.Lo, bits)
		if x := rules.PrefixRange(p); x.Lo != r.Lo {
			break
		} else if x.Hi == r.Hi {
			return p.String()
		}
	}
	hi := r.Hi.String()
	if r.Lo.Is4() {
		a, b := r.Lo.As4(), r.Hi.As4()
		if a[0] == b[0] && a[1] == b[1] && a[2] == b[2] {
			hi = itoa(int(b[3]))
		}
	}
	return fmt.Sprintf("[%s - %s]", r.Lo, hi)
}

func interfaces(list []rules.Interfaces) string {
	var s []string
	for _, x := range list {
		t := strings.Join(x.Names, ", ")
		if x.Not {
			t = "all BUT " + t
		}
		s = append(s, t)
	}
	return strings.Join(s, " AND ")
}

func portsText(list []rules.Ports) string {
	var s []string
	for _, x := range list {
		var one []string
		for _, r := range x.Ranges {
			if r.Lo == r.Hi {
				one = append(one, itoa(int(r.Lo)))
			} else {
				one = append(one, fmt.Sprintf("[%d-%d]", r.Lo, r.Hi))
			}
		}
		t := strings.Join(one, ", ")
		if x.Not {
			t = "all BUT " + t
		}
		s = append(s, t)
	}
	return strings.Join(s, " AND ")
}

// Text writes the policy: a heading, a line for each rule and group of
// services, the named classes.
func (p Policy) Text(w io.Writer) error {
	var b strings.Builder
	if p.Denies {
		b.WriteString("Deny only the following packets:\n")
	} else {
		b.WriteString("Allow only the following packets:\n")
	}
	i := 0
	for _, r := range p.Rules {
		for _, line := range r.Lines() {
			fmt.Fprintf(&b, "%-4s%s\n", letter(i)+".", line)
			i++
		}
	}
	if len(p.Rules) == 0 {
		b.WriteString("    none\n")
	}
	if len(p.Classes) > 0 {
		b.WriteString("where\n")
	}
	for _, c := range p.Classes {
		fmt.Fprintf(&b, "    %s is %s\n", c.Name, addrsText(c.Addrs))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// letter counts a, b … z, aa, ab …
func letter(i int) string {
	s := ""
	for i++; i > 0; i = (i - 1) / 26 {
		s = string(rune('a'+(i-1)%26)) + s
	}
	return s
}
