package nfttext

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weir/phases/policy/rules"
)

// forms are questions that nft has words for: what iptables-save writes, and
// what package nftjson says of nft's own.
var forms = []struct {
	re   *regexp.Regexp
	text string // %s is where != stands
}{
	{regexp.MustCompile(`^-m mac --mac-source ([0-9A-Fa-f:]{17})$`), "ether saddr %s$1"},
	{regexp.MustCompile(`^ether saddr ([0-9A-Fa-f:]{17})$`), "ether saddr %s$1"},
	{regexp.MustCompile(`^-m owner --uid-owner ([0-9]+)$`), "meta skuid %s$1"},
	{regexp.MustCompile(`^-m owner --gid-owner ([0-9]+)$`), "meta skgid %s$1"},
	{regexp.MustCompile(`^-m mark --mark (0x[0-9a-f]+|[0-9]+)$`), "meta mark %s$1"},
	{regexp.MustCompile(`^(?:meta )?(mark|skuid|skgid) (0x[0-9a-f]+|[0-9]+)$`), "meta $1 %s$2"},
	{regexp.MustCompile(`^-m pkttype --pkt-type (unicast|broadcast|multicast)$`), "meta pkttype %s$1"},
	{regexp.MustCompile(`^meta pkttype (host|unicast|broadcast|multicast)$`), "meta pkttype %s$1"},
	{regexp.MustCompile(`^--tcp-flags ((?:FIN|SYN|RST|PSH|ACK|URG|,)+) ((?:FIN|SYN|RST|PSH|ACK|URG|,)+)$`), "tcp flags %s$2 / $1"},
	{regexp.MustCompile(`^tcp flags ((?:fin|syn|rst|psh|ack|urg|,)+) / ((?:fin|syn|rst|psh|ack|urg|,)+)$`), "tcp flags %s$1 / $2"},
	{regexp.MustCompile(`^-m addrtype --src-type (UNICAST|LOCAL|BROADCAST|MULTICAST|ANYCAST)$`), "fib saddr type %s$1"},
	{regexp.MustCompile(`^-m addrtype --dst-type (UNICAST|LOCAL|BROADCAST|MULTICAST|ANYCAST)$`), "fib daddr type %s$1"},
	{regexp.MustCompile(`^fib (saddr|daddr) type (unicast|local|broadcast|multicast|anycast)$`), "fib $1 type %s$2"},
	{regexp.MustCompile(`^ct direction (original|reply)$`), "ct direction %s$1"},
	{regexp.MustCompile(`^ip dscp ([0-9]+)$`), "ip dscp %s$1"},
}

// Normal returns a ruleset whose questions have nft's words where there are
// any, so that the same question asked of iptables and of nft is the same.
func Normal(rs rules.Ruleset) rules.Ruleset {
	out := rules.Ruleset{Families: rs.Families, Notes: rs.Notes}
	for _, c := range rs.Chains {
		x := *c
		x.Rules = slices.Clone(c.Rules)
		for i := range x.Rules {
			ts := slices.Clone(x.Rules[i].Match.Tests)
			for j, t := range ts {
				if w, ok := words(t.Text, ""); ok && !t.Own {
					ts[j].Text = w
				}
			}
			x.Rules[i].Match.Tests = ts
		}
		out.Chains = append(out.Chains, &x)
	}
	return out
}

var hex = regexp.MustCompile(`0x[0-9a-f]+`)

// words writes a question for nft, as nft itself lists it.
func words(text, sign string) (string, bool) {
	for _, f := range forms {
		if !f.re.MatchString(text) {
			continue
		}
		w := strings.ToLower(strings.ReplaceAll(f.re.ReplaceAllString(text, f.text), "%s", sign))
		return hex.ReplaceAllStringFunc(w, func(h string) string {
			n, err := strconv.ParseUint(h[2:], 16, 64)
			if err != nil {
				return h
			}
			return strconv.FormatUint(n, 10)
		}), true
	}
	return "", false
}

func testWords(tests []rules.Test) (string, error) {
	out := ""
	for _, t := range tests {
		sign := ""
		if t.Not {
			sign = "!= "
		}
		w, ok := words(t.Text, sign)
		if !ok || t.Own {
			return "", fmt.Errorf("nft has no words for %q that mean the same", t.Text)
		}
		out += w + " "
	}
	return out, nil
}
