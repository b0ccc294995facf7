package nfttext

import (
	"fmt"
	"regexp"
	"strings"

	"weir/phases/policy/rules"
)

// forms are questions that nft has words for: what iptables-save writes, and
// what package nftjson says of nft's own. A negated one has != before its last
// word.
var forms = []struct {
	re   *regexp.Regexp
	text string
	sign string // what negates it, put before the value
}{
	{regexp.MustCompile(`^-m mac --mac-source ([0-9A-Fa-f:]{17})$`), "ether saddr %s$1", "!= "},
	{regexp.MustCompile(`^ether saddr ([0-9A-Fa-f:]{17})$`), "ether saddr %s$1", "!= "},
	{regexp.MustCompile(`^-m owner --uid-owner ([0-9]+)$`), "meta skuid %s$1", "!= "},
	{regexp.MustCompile(`^-m owner --gid-owner ([0-9]+)$`), "meta skgid %s$1", "!= "},
	{regexp.MustCompile(`^-m mark --mark (0x[0-9a-f]+|[0-9]+)$`), "meta mark %s$1", "!= "},
	{regexp.MustCompile(`^(?:meta )?(mark|skuid|skgid) (0x[0-9a-f]+|[0-9]+)$`), "meta $1 %s$2", "!= "},
	{regexp.MustCompile(`^-m pkttype --pkt-type (unicast|broadcast|multicast)$`), "meta pkttype %s$1", "!= "},
	{regexp.MustCompile(`^meta pkttype (host|unicast|broadcast|multicast)$`), "meta pkttype %s$1", "!= "},
	{regexp.MustCompile(`^ct direction (original|reply)$`), "ct direction %s$1", "!= "},
	{regexp.MustCompile(`^ip dscp ([0-9]+)$`), "ip dscp %s$1", "!= "},
}

func testWords(tests []rules.Test) (string, error) {
	out := ""
next:
	for _, t := range tests {
		if !t.Own {
			for _, f := range forms {
				if f.re.MatchString(t.Text) {
					sign := ""
					if t.Not {
						sign = f.sign
					}
					out += strings.ReplaceAll(f.re.ReplaceAllString(t.Text, f.text), "%s", sign) + " "
					continue next
				}
			}
		}
		return "", fmt.Errorf("nft has no words for %q that mean the same", t.Text)
	}
	return out, nil
}
