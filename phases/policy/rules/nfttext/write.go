package nfttext

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// Write writes all chains of a ruleset into a table inet of the given name. It
// first adds and deletes the table, so that loading it twice is loading it
// once. It returns an error for what nft has no words for.
func Write(rs rules.Ruleset, table string) (string, error) {
	var b strings.Builder
	var errs []error
	names := chainNames(rs)
	table = identifier(table)
	fmt.Fprintf(&b, "table inet %s\ndelete table inet %s\ntable inet %s {\n", table, table, table)
	for _, c := range rs.Chains { // declared first, so that jumps find them
		fmt.Fprintf(&b, "\tchain %s {\n", names[c.Name])
		if c.Hook != "" {
			fmt.Fprintf(&b, "\t\ttype filter hook %s priority filter; policy %s;\n", c.Hook, c.Default)
			if len(rs.Families) == 1 { // a packet of the other family is not this ruleset's
				fmt.Fprintf(&b, "\t\tmeta nfproto != %s accept\n", rs.Families[0])
			}
		}
		fmt.Fprint(&b, "\t}\n")
	}
	fmt.Fprint(&b, "}\ntable inet "+table+" {\n")
	for _, c := range rs.Chains {
		fmt.Fprintf(&b, "\tchain %s {\n", names[c.Name])
		for _, r := range c.Rules {
			lines, err := ruleLines(r)
			if err != nil {
				errs = append(errs, fmt.Errorf("cannot write %s for nft: %w", r.Where(), err))
			}
			verdict := string(r.Action)
			if r.Action == rules.Jump || r.Action == rules.Goto {
				verdict += " " + names[r.Target]
			}
			for _, l := range lines {
				fmt.Fprintf(&b, "\t\t%s%s\n", l+verdict, comment(r))
			}
		}
		fmt.Fprint(&b, "\t}\n")
	}
	b.WriteString("}\n")
	if len(errs) > 0 {
		return "", errors.Join(errs...)
	}
	return b.String(), nil
}

func comment(r rules.Rule) string {
	if r.Line == 0 {
		return ""
	}
	w := strings.Map(func(c rune) rune {
		if c < 0x20 || c == '"' || c == '\\' || c > 0x7e {
			return '?'
		}
		return c
	}, r.Where())
	if len(w) > 120 {
		w = w[len(w)-120:]
	}
	return fmt.Sprintf(" comment %q", w)
}

// chainNames gives each chain a name that nft takes.
func chainNames(rs rules.Ruleset) map[string]string {
	out, used := map[string]string{}, map[string]bool{}
	for _, c := range rs.Chains {
		n := identifier(c.Name)
		for used[n] {
			n += "_"
		}
		out[c.Name], used[n] = n, true
	}
	return out
}

// identifier makes a name one that nft takes.
func identifier(name string) string {
	n := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
	if n == "" || n[0] < 'A' || slices.Contains(reserved, n) {
		n = "c_" + n
	}
	return n[:min(len(n), 100)]
}

// reserved are the words of nft's language that a chain could be named by mistake.
var reserved = []string{"accept", "drop", "reject", "jump", "goto", "return", "continue", "ip", "ip6", "inet", "tcp", "udp",
	"icmp", "icmpv6", "ct", "meta", "log", "limit", "counter", "queue", "set", "map", "chain", "table", "rule", "all", "in", "out", "th", "ether", "esp", "ah", "sctp", "dccp", "udplite",
	"mark", "policy", "type", "hook", "priority", "comment", "define", "include", "add", "delete", "list", "flush", "host", "net", "dnat", "snat", "masquerade", "redirect", "mh", "rt", "fib", "socket", "last", "quota", "dup", "fwd", "tproxy", "synproxy", "notrack", "vlan", "arp", "iif", "oif", "state", "to", "from", "at", "or", "and", "xor", "not", "dst", "frag", "hbh", "comp", "gre", "vxlan", "label", "cpu", "day", "hour", "time", "random", "osf", "ibrpname", "skuid", "skgid"}

// ruleLines returns the matches of nft that together are the rule's, each with
// a blank behind it.
func ruleLines(r rules.Rule) ([]string, error) {
	var out []string
	fams := []flow.Family{r.Match.Family}
	if r.Match.Family == "" && (len(r.Match.Src) > 0 || len(r.Match.Dst) > 0) {
		fams = []flow.Family{flow.IPv4, flow.IPv6}
	}
	tests, err := testWords(r.Match.Tests)
	if err != nil {
		return nil, err
	}
	services := serviceWords(r.Match.Services, r.Match.SrcPorts)
	for _, fam := range fams {
		head := ""
		if s := r.Match.States; s != 0 && s != rules.AnyState {
			head += "ct state { " + strings.ReplaceAll(s.String(), ",", ", ") + " } "
		}
		src, ok1 := addrWords(fam, "saddr", r.Match.Src)
		dst, ok2 := addrWords(fam, "daddr", r.Match.Dst)
		if !ok1 || !ok2 {
			continue
		}
		if fam != "" && src+dst == "" {
			head = "meta nfproto " + string(fam) + " " + head
		}
		for _, in := range ifaceWords("iifname", r.Match.In) {
			for _, o := range ifaceWords("oifname", r.Match.Out) {
				for _, s := range services {
					if fam == flow.IPv4 && strings.HasPrefix(s, "icmpv6") || fam == flow.IPv6 && strings.HasPrefix(s, "icmp ") {
						continue
					}
					out = append(out, head+in+o+src+dst+s+tests)
				}
			}
		}
	}
	return out, nil
}

// addrWords returns what all sets of a direction ask for; ok is false where no
// address of the family is asked for.
func addrWords(fam flow.Family, name string, list []rules.Addrs) (out string, ok bool) {
	proto := map[flow.Family]string{flow.IPv4: "ip ", flow.IPv6: "ip6 "}[fam]
	for _, a := range list {
		var items []string
		for _, r := range merged(a.Ranges) {
			if flow.FamilyOf(r.Lo) == fam {
				items = append(items, rangeText(r))
			}
		}
		switch {
		case len(items) == 0 && !a.Not:
			return "", false
		case len(items) == 0:
		case a.Not:
			out += proto + name + " != { " + strings.Join(items, ", ") + " } "
		default:
			out += proto + name + " { " + strings.Join(items, ", ") + " } "
		}
	}
	return out, true
}

// merged sorts ranges and joins those that touch: nft refuses overlaps.
func merged(in []rules.AddrRange) []rules.AddrRange {
	s := slices.Clone(in)
	slices.SortFunc(s, func(a, b rules.AddrRange) int { return a.Lo.Compare(b.Lo) })
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && out[n-1].Lo.Is4() == r.Lo.Is4() && (!out[n-1].Hi.Less(r.Lo) || out[n-1].Hi.Next() == r.Lo) {
			if out[n-1].Hi.Less(r.Hi) {
				out[n-1].Hi = r.Hi
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

func rangeText(r rules.AddrRange) string {
	if r.Lo == r.Hi {
		return r.Lo.String()
	}
	for bits := range r.Lo.BitLen() + 1 {
		if p, err := r.Lo.Prefix(bits); err == nil && rules.PrefixRange(p) == r {
			return p.String()
		}
	}
	return r.Lo.String() + "-" + r.Hi.String()
}

// ifaceWords returns the alternatives that together are what all sets ask for.
func ifaceWords(name string, list []rules.Interfaces) []string {
	out := []string{""}
	for _, set := range list {
		var alts []string
		for _, n := range set.Names {
			if n == "+" {
				alts = []string{""}
				break
			}
			if p, wild := strings.CutSuffix(n, "+"); wild {
				n = p + "*"
			}
			alts = append(alts, fmt.Sprintf("%s %q ", name, n))
		}
		if set.Not {
			all := ""
			for _, a := range alts {
				if a == "" {
					return nil // nothing is outside of all
				}
				all += strings.Replace(a, " ", " != ", 1)
			}
			alts = []string{all}
		}
		var next []string
		for _, o := range out {
			for _, a := range alts {
				next = append(next, o+a)
			}
		}
		out = next
	}
	return out
}
