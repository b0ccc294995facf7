package infer

import (
	"net/netip"
	"strings"
	"testing"

	"weir/phases/flow"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/iptables"
)

func fromText(t *testing.T, filter string, f flow.Family) rules.Ruleset {
	t.Helper()
	rs, err := iptables.Read("fw", "*filter\n:FORWARD DROP [0:0]\n:checks - [0:0]\n"+filter+"COMMIT\n", f)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// TestTextIsAsThePaperWritesIt shows what a person reads.
func TestTextIsAsThePaperWritesIt(t *testing.T) {
	for _, c := range []struct {
		name, four, six, want string
	}{
		{"protocols and hosts join", `-A FORWARD -p tcp -d 10.1.0.53 --dport 53 -j ACCEPT
-A FORWARD -p udp -d 10.1.0.53 --dport 53 -j ACCEPT
-A FORWARD -p tcp -d 10.1.0.80 --dport 80 -j ACCEPT
-A FORWARD -p tcp -d 10.1.0.80 --dport 443 -j ACCEPT
-A FORWARD -p tcp -s 10.1.0.0/16 -d 10.1.0.81 --dport 22 -j ACCEPT
-A FORWARD -p tcp -s 10.1.0.0/16 -d 10.1.0.82 --dport 22 -j ACCEPT
-A FORWARD -p tcp -s 10.1.4.0/24 -d 10.1.0.82 --dport 22 -j ACCEPT
-A FORWARD -p icmp -d 10.1.0.0/16 -m icmp --icmp-type 8 -j ACCEPT
`, "", `Allow only the following packets:
a.  icmp TO 10.1.0.0/16 OF TYPES echo-request
b.  tcp, udp TO 10.1.0.53 FOR domain
c.  tcp TO 10.1.0.80 FOR http, https
d.  tcp FROM 10.1.0.0/16 TO [10.1.0.81 - 82] FOR ssh

complexity 35 before, 19 after; 4 rules, proven to be the fewest
shadowed by rules before: fw:10  -A FORWARD -p tcp -s 10.1.4.0/24 -d 10.1.0.82 --dport 22 -j ACCEPT
`},
		{"both families", `-A FORWARD -p tcp -d 10.1.0.80 --dport 80 -j ACCEPT
-A FORWARD -p icmp -d 10.1.0.80 -j ACCEPT
`, `-A FORWARD -p tcp -d fd20::80 --dport 80 -j ACCEPT
-A FORWARD -p icmpv6 -d fd20::80 -j ACCEPT
`, `Allow only the following packets:
a.  icmp, icmpv6 TO 10.1.0.80, fd20::80
b.  tcp TO 10.1.0.80, fd20::80 FOR http

complexity 14 before, 7 after; 1 rules, proven to be the fewest
`},
		{"what is not decided stands apart", `-A FORWARD -s 10.1.0.7 -m mac --mac-source 02:00:5E:10:00:07 -p tcp --dport 22 -j ACCEPT
-A FORWARD -s 10.1.0.0/24 -p tcp --dport 80 -j ACCEPT
-A FORWARD -s 10.1.0.7 -m mac --mac-source 02:00:5E:10:00:07 -p tcp --dport 80 -j DROP
`, "", `Allow only the following packets:
a.  tcp FROM 10.1.0.0/24 FOR http
b.  tcp FROM 10.1.0.7 FOR ssh IF -m mac --mac-source 02:00:5E:10:00:07

complexity 14 before, 9 after; 2 rules, proven to be the fewest
shadowed by rules before: fw:6  -A FORWARD -s 10.1.0.7 -m mac --mac-source 02:00:5E:10:00:07 -p tcp --dport 80 -j DROP
`},
		{"an open chain is what it denies", `-A FORWARD -s 10.1.0.9 -j DROP
-A FORWARD -p tcp --dport 25 -s 10.1.0.25 -j ACCEPT
-A FORWARD -p tcp --dport 25 -j REJECT
-A FORWARD -j ACCEPT
`, "", `Deny only the following packets:
a.  tcp FROM all BUT 10.1.0.25 FOR smtp
b.  all FROM 10.1.0.9

complexity 10 before, 7 after; 2 rules, proven to be the fewest
`},
		{"nothing", "-A FORWARD -j DROP\n", "", `Allow only the following packets:
    none

complexity 1 before, 0 after, proven to be the fewest
redundant: fw:4  -A FORWARD -j DROP
`},
	} {
		rs := fromText(t, c.four, flow.IPv4)
		if c.six != "" {
			var err error
			if rs, err = rules.Merge(rs, fromText(t, c.six, flow.IPv6)); err != nil {
				t.Fatal(err)
			}
		}
		res, err := Infer(rs, "FORWARD")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := text(res); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestQueryInWords(t *testing.T) {
	rs := fromText(t, `-A FORWARD -p tcp --dport 25 -s 10.1.0.25 -j ACCEPT
-A FORWARD -p tcp --dport 25 -j DROP
-A FORWARD -s 10.1.0.0/16 -j ACCEPT
`, flow.IPv4)
	smtp := rules.Services{Ranges: []rules.ServiceRange{rules.PortsOf(flow.TCP, 25, 25)}}
	a, err := Query(rs, "FORWARD", rules.Match{Services: []rules.Services{smtp}, States: rules.New})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := a.Text(&b); err != nil {
		t.Fatal(err)
	}
	want := `in part; allowed is
    tcp FROM 10.1.0.25 FOR smtp STATE new
      by fw:4  -A FORWARD -p tcp --dport 25 -s 10.1.0.25 -j ACCEPT
denied is such as 192.0.2.10 -> 198.51.100.80 tcp/25 from port 40000 new
      by fw:5  -A FORWARD -p tcp --dport 25 -j DROP
`
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
	if len(a.Sources) != 1 || a.Sources[0].Lo.String() != "10.1.0.25" || a.Sources[0].Hi != a.Sources[0].Lo {
		t.Errorf("sources: %v", a.Sources)
	}
}

func TestMatrixInWords(t *testing.T) {
	rs := fromText(t, `-A FORWARD -i lo -j ACCEPT
-A FORWARD -p tcp --dport 22 -s 10.1.4.0/24 -d 10.1.0.0/24 -j ACCEPT
`, flow.IPv4)
	rs = rules.Zones{"lo": {{Lo: addr("127.0.0.1"), Hi: addr("127.0.0.1")}}}.Sources(rs)
	m, err := MatrixOf(rs, "FORWARD", flow.Single(flow.TCP, 22), flow.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := m.Text(&b); err != nil {
		t.Fatal(err)
	}
	want := `tcp/22 ipv4: 4 classes, 5 edges
a   [0.0.0.0 - 10.0.255.255], [10.1.1.0 - 10.1.3.255], [10.1.5.0 - 127.0.0.0], [127.0.0.2 - 255.255.255.255]
b   10.1.0.0/24
c   10.1.4.0/24
d   127.0.0.1
c -> b
d -> a b c d
`
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestCompareInWords: conditions, both families, and examples of machines that
// the rules name.
func TestCompareInWords(t *testing.T) {
	both := func(four, six string) rules.Ruleset {
		rs, err := rules.Merge(fromText(t, four, flow.IPv4), fromText(t, six, flow.IPv6))
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	a := both("-A FORWARD -i lan+ -p tcp -s 10.1.0.0/16 -d 203.0.113.7 --dport 5432 -j ACCEPT\n",
		"-A FORWARD -i lan+ -p tcp -s fd20::/48 -d 2001:db8::7 --dport 5432 -j ACCEPT\n")
	b := both("-A FORWARD -i lan+ -p tcp -s 10.1.0.0/16 -d 203.0.113.7 -m mac --mac-source 02:00:5E:10:00:07 --dport 5432 -j ACCEPT\n-A FORWARD -s 10.1.0.9 -p icmp -j ACCEPT\n",
		"-A FORWARD -i lan+ -p tcp -s fd20::/48 -d 2001:db8::7 -m mac --mac-source 02:00:5E:10:00:07 --dport 5432 -j ACCEPT\n")
	d, err := Compare(a, b, "FORWARD", "FORWARD")
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	if err := d.Text(&s, "a", "b"); err != nil {
		t.Fatal(err)
	}
	want := `Only a allows:
a.  tcp IN lan+ FROM 10.1.0.0/16, fd20::/48 TO 203.0.113.7, 2001:db8::7 FOR postgresql IF not -m mac --mac-source 02:00:5E:10:00:07
      such as 10.1.0.10 -> 203.0.113.7 tcp/5432 from port 40000 in lan0 new
      by fw:4  -A FORWARD -i lan+ -p tcp -s 10.1.0.0/16 -d 203.0.113.7 --dport 5432 -j ACCEPT
      by fw:4  -A FORWARD -i lan+ -p tcp -s fd20::/48 -d 2001:db8::7 --dport 5432 -j ACCEPT
Only b allows:
a.  icmp FROM 10.1.0.9
      such as 10.1.0.9 -> 198.51.100.80 icmp/8:0 new
      by fw:5  -A FORWARD -s 10.1.0.9 -p icmp -j ACCEPT
`
	if s.String() != want {
		t.Errorf("%s\nwant\n%s", s.String(), want)
	}
	if len(d.OnlyA) == 1 {
		p := d.OnlyA[0].Example
		if v, err := rules.Decide(b, "FORWARD", p); err != nil || v.Action != rules.Drop {
			t.Errorf("%s %v: %v %v", p, p.Tests, v, err)
		}
	}
	if same, err := Compare(a, a, "FORWARD", "FORWARD"); err != nil || !same.Equal() {
		t.Errorf("a and a: %v %v", same, err)
	}
	four, six := fromText(t, "", flow.IPv4), fromText(t, "", flow.IPv6)
	if _, err := Compare(four, six, "FORWARD", "FORWARD"); err == nil || !strings.Contains(err.Error(), "judges") {
		t.Errorf("IPv4 with IPv6: %v", err)
	}
}
