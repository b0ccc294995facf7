package iptables

import (
	"net/netip"
	"strings"
	"testing"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

func TestErrorsNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"-A INPUT -j DROP":                                                             "fw:1: \"-A INPUT -j DROP\" stands outside a table",
		"*filter\n:INPUT ACCEPT [0:0]\n":                                               "no COMMIT",
		"*filter\n:INPUT ACCEPT [0:0]\n-A NONE -j DROP\nCOMMIT":                        "fw:3: chain NONE was not declared",
		"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT --dport 22 -j DROP\nCOMMIT":            "fw:3: --dport without -p",
		"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dport 70000 -j DROP\nCOMMIT":  "fw:3: port \"70000\"",
		"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s fd00::1 -j DROP\nCOMMIT":            "fw:3: fd00::1 is not ipv4",
		"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 10.0.0.0/255.0.255.0 -j X\nCOMMIT":  "has gaps",
		"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT --wat 3 -j X\nCOMMIT":                  "option \"--wat\" is not known",
		"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m comment --comment \"a -j X\nCOMMIT": "a quote is not closed",
	} {
		_, err := Read("fw", text, flow.IPv4)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestWhatIsNotDecidedIsNamed(t *testing.T) {
	rs, err := Read("fw", `*filter
:INPUT DROP [0:0]
-A INPUT -m mac ! --mac-source 02:00:5E:10:00:07 -p tcp -j ACCEPT
-A INPUT -p tcp -m limit --limit 1/sec -m tcp --syn -j ACCEPT
-A INPUT -m conntrack --ctstate DNAT -j TARPIT --honeypot
COMMIT`, flow.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	in := rs.Chain("INPUT").Rules
	var got []string
	for _, r := range in {
		for _, x := range r.Match.Tests {
			s := x.Key()
			if x.Not {
				s = "! " + s
			}
			got = append(got, s)
		}
	}
	want := `! -m mac --mac-source 02:00:5E:10:00:07
-m limit --limit 1/sec (fw:4)
--tcp-flags FIN,SYN,RST,ACK SYN
--ctstate DNAT
-j TARPIT accepts (fw:5)
--ctstate DNAT
-j TARPIT drops (fw:5)`
	if strings.Join(got, "\n") != want {
		t.Errorf("tests:\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	if len(rs.Notes) != 1 || !strings.Contains(rs.Notes[0].String(), "fw:5: target TARPIT is not known") {
		t.Errorf("notes: %v", rs.Notes)
	}
}

func TestEitherPortIsTwoRules(t *testing.T) {
	rs, err := Read("fw", "*filter\n:INPUT DROP [0:0]\n-A INPUT -p udp -m multiport --ports 53,123 -j ACCEPT\nCOMMIT", flow.IPv4)
	if err != nil || len(rs.Chain("INPUT").Rules) != 2 {
		t.Fatalf("%v %+v", err, rs.Chain("INPUT"))
	}
	for p, want := range map[[2]uint16]rules.Action{{53, 9}: rules.Accept, {9, 123}: rules.Accept, {9, 9}: rules.Drop} {
		x := rules.Packet{Service: rules.ServiceOf(flow.UDP, p[1]), SrcPort: p[0], State: rules.New}
		x.Src = rules.PrefixRange(prefix("10.0.0.0/8")).Lo
		x.Dst = x.Src
		if v, err := rules.Decide(rs, "INPUT", x); err != nil || v.Action != want {
			t.Errorf("%v: %v %v", p, v.Action, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("*filter\n:INPUT ACCEPT [0:0]\n:X - [0:0]\n-A INPUT ! -s 10.0.0.0/8 -p tcp -m multiport --dports 1,2:3 -j X\nCOMMIT\n")
	f.Add("*filter\n:INPUT ACCEPT [0:0]\n[1:2] -A INPUT -m mac --mac-source x ! -i lo+ -g Y\nCOMMIT\n")
	f.Add("*nat\n:PREROUTING ACCEPT\n-A PREROUTING -d ! 10.0.0.1 -j DNAT --to 1\nCOMMIT")
	f.Fuzz(func(t *testing.T, text string) {
		rs, err := Read("f", text, flow.IPv4)
		if err != nil {
			return
		}
		for _, h := range rules.Hooked(rs) {
			_, err1 := rules.Flatten(rs, h)
			_, err2 := rules.Decide(rs, h, rules.Packet{Src: prefix("10.0.0.0/8").Addr(), Dst: prefix("10.0.0.0/8").Addr(), State: rules.New})
			if err2 != nil && err1 == nil {
				t.Errorf("Decide fails where Flatten does not: %v", err2)
			}
		}
	})
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
