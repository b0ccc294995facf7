//go:build data

package infer

import (
	"strings"
	"testing"
)

// TestUpdatesAreWhatTheirAuthorsSay compares a policy with an update that is
// right and two that are wrong, whose authors say how.
func TestUpdatesAreWhatTheirAuthorsSay(t *testing.T) {
	old := read(t, "updates/iptables.txt")
	for file, want := range map[string]string{
		"iptables_correct_update.txt": `Only old allows:
a.  tcp FROM 10.13.3.7 OUT ext TO all BUT 54.230.203.0/24 FOR http STATE all BUT established
      such as 10.13.3.7 -> 198.51.100.80 tcp/80 from port 40000 out ext new
      by iptables.txt:28  -A FORWARD -s 10.0.0.0/8 -o ext -p tcp --dport 80 -j ACCEPT
      by iptables_correct_update.txt:28  -A FORWARD -s 10.13.3.7 -p tcp --dport 80 -j DROP
`,
		"iptables_wrong_update_1.txt": "old and new allow the same packets.\n",
		"iptables_wrong_update_2.txt": `Only old allows:
a.  tcp FROM 10.13.3.7 TO 54.230.203.0/24 FOR http STATE all BUT established
      such as 10.13.3.7 -> 54.230.203.10 tcp/80 from port 40000 new
      by iptables.txt:25  -A FORWARD -s 10.0.0.0/8 -d 54.230.203.0/24 -j ACCEPT
      by iptables_wrong_update_2.txt:25  -A FORWARD -s 10.13.3.7 -p tcp --dport 80 -j DROP
b.  tcp FROM 10.13.3.7 OUT ext FOR http STATE all BUT established
      such as 10.13.3.7 -> 198.51.100.80 tcp/80 from port 40000 out ext new
      by iptables.txt:25  -A FORWARD -s 10.0.0.0/8 -d 54.230.203.0/24 -j ACCEPT
      by iptables.txt:28  -A FORWARD -s 10.0.0.0/8 -o ext -p tcp --dport 80 -j ACCEPT
      by iptables_wrong_update_2.txt:25  -A FORWARD -s 10.13.3.7 -p tcp --dport 80 -j DROP
`,
	} {
		d, err := Compare(old, read(t, "updates/"+file), "FORWARD", "FORWARD")
		if err != nil {
			t.Error(err)
			continue
		}
		var b strings.Builder
		d.Text(&b, "old", "new")
		if b.String() != want {
			t.Errorf("%s:\n%s\nwant\n%s", file, b.String(), want)
		}
	}
}
