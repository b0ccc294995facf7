package iptables

import (
	"fmt"
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

func filter(lines ...string) string {
	return "*filter\n:INPUT DROP [0:0]\n" + strings.Join(lines, "\n") + "\nCOMMIT"
}

func TestWhatCannotBeReadIsUndecidedAndNamed(t *testing.T) {
	for line, want := range map[string][2]string{
		"-A INPUT --dport 22 -j DROP":                 {"fw:3: --dport without -p", "--dport 22"},
		"-A INPUT -p tcp --dport 70000 -j DROP":       {"fw:3: port \"70000\"", "--dport 70000"},
		"-A INPUT -s fd00::1 -j DROP":                 {"fw:3: fd00::1 is not ipv4", "-s fd00::1"},
		"-A INPUT -s 10.0.0.0/255.0.255.0 -j DROP":    {"has gaps", "-s 10.0.0.0/255.0.255.0"},
		"-A INPUT -s mail.example.net -j DROP":        {"prints no names", "-s mail.example.net"},
		"-A INPUT --wat 3 4 -s 10.0.0.1 -j DROP":      {"fw:3: option \"--wat 3 4\" is not known", "--wat 3 4 (fw:3)"},
		"-A INPUT -p icmp --icmp-type zap -j DROP":    {"icmp type \"zap\"", "--icmp-type zap"},
		"-A INPUT -m set --match-set bad src -j DROP": {"set bad: not known", "-m set --match-set bad src"},
	} {
		rs, err := Read("fw", filter(line), flow.IPv4)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		in := rs.Chain("INPUT").Rules
		if len(in) != 1 || len(in[0].Match.Tests) != 1 || in[0].Match.Tests[0].Key() != want[1] {
			t.Errorf("%q: %+v, want the test %q", line, in, want[1])
		}
		if !strings.Contains(fmt.Sprint(rs.Notes), want[0]) {
			t.Errorf("%q: notes %v, want %q", line, rs.Notes, want[0])
		}
	}
}

func TestSets(t *testing.T) {
	sets, err := ReadSets("sets", `create nets hash:net family inet hashsize 1024 maxelem 65536
add nets 10.0.0.0/8
add nets 10.1.0.0/16 nomatch
add nets 10.1.1.0/24
create svc hash:ip,port family inet
add svc 192.0.2.1,tcp:80-81
add svc 192.0.2.2,udp:53
create both list:set size 8
add both nets
create doors hash:net,iface
add doors 172.16.0.0/12,eth0
create macs hash:mac
add macs 02:00:5e:10:00:07`)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := ReadWith("fw", filter(
		"-A INPUT -m set --match-set nets src -m set --match-set svc dst,dst -j ACCEPT",
		"-A INPUT -m set ! --match-set both src -p tcp -j REJECT",
		"-A INPUT -m set --match-set doors src,src -j ACCEPT",
		"-A INPUT -m set --match-set macs src -j ACCEPT"), flow.IPv4, sets)
	if err != nil {
		t.Fatal(err)
	}
	if len(rs.Notes) != 1 || !strings.Contains(rs.Notes[0].String(), "fw:6: set macs") {
		t.Errorf("notes %v", rs.Notes)
	}
	for _, c := range []struct {
		src, dst, in string
		s            rules.Service
		want         rules.Action
	}{
		{"10.2.0.1", "192.0.2.1", "eth1", rules.ServiceOf(flow.TCP, 81), rules.Accept},
		{"10.2.0.1", "192.0.2.1", "eth1", rules.ServiceOf(flow.TCP, 82), rules.Drop},
		{"10.2.0.1", "192.0.2.2", "eth1", rules.ServiceOf(flow.UDP, 53), rules.Accept},
		{"10.1.0.1", "192.0.2.1", "eth1", rules.ServiceOf(flow.TCP, 81), rules.Reject}, // nomatch
		{"10.1.1.1", "192.0.2.1", "eth1", rules.ServiceOf(flow.TCP, 81), rules.Accept}, // the longer prefix
		{"172.16.0.1", "192.0.2.1", "eth0", rules.ServiceOf(flow.UDP, 81), rules.Accept},
		{"172.16.0.1", "192.0.2.1", "eth1", rules.ServiceOf(flow.UDP, 81), rules.Drop},
	} {
		p := rules.Packet{Src: netip.MustParseAddr(c.src), Dst: netip.MustParseAddr(c.dst), In: c.in, Service: c.s, State: rules.New}
		if v, err := rules.Decide(rs, "INPUT", p); err != nil || v.Action != c.want {
			t.Errorf("%s: %s by %q %v, want %s", p, v.Action, v.Rule.Text, err, c.want)
		}
	}
	for _, bad := range []string{"add none 10.0.0.1", "create x hash", "flush x"} {
		if _, err := ReadSets("sets", bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestFormsOfText(t *testing.T) {
	want, err := Read("fw", filter("-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j ACCEPT"), flow.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"continued line":    filter("-A INPUT -s 10.0.0.0/8 \\", "  -p tcp -m tcp \\", "  --dport 22 -j ACCEPT"),
		"counters":          filter("[7:42] -A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j ACCEPT"),
		"counters behind":   filter("-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -c 7 42 -j ACCEPT"),
		"quoted comment":    filter(`-A INPUT -s 10.0.0.0/8 -p tcp -m comment --comment "a \"-j DROP\" b" -m tcp --dport ssh -j ACCEPT`),
		"mask":              filter("-A INPUT -s 10.0.0.0/255.0.0.0 -p 6 --dport 22:22 -j ACCEPT"),
		"listed by -S":      "-P INPUT DROP\n-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j ACCEPT\n",
		"comments and gaps": "# x\r\n" + filter("# y", "", "-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j ACCEPT"),
	} {
		rs, err := Read("fw", text, flow.IPv4)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(rs.Notes) > 0 {
			t.Errorf("%s: %v", name, rs.Notes)
		}
		for _, p := range []rules.Packet{
			{Src: netip.MustParseAddr("10.0.0.1"), Service: rules.ServiceOf(flow.TCP, 22)},
			{Src: netip.MustParseAddr("11.0.0.1"), Service: rules.ServiceOf(flow.TCP, 22)},
			{Src: netip.MustParseAddr("10.0.0.1"), Service: rules.ServiceOf(flow.TCP, 23)},
			{Src: netip.MustParseAddr("10.0.0.1"), Service: rules.ServiceOf(flow.UDP, 22)},
		} {
			p.Dst, p.State = p.Src, rules.New
			a, err1 := rules.Decide(want, "INPUT", p)
			b, err2 := rules.Decide(rs, "INPUT", p)
			if err1 != nil || err2 != nil || a.Action != b.Action {
				t.Errorf("%s: %s: %v %v, want %v %v", name, p, b.Action, err2, a.Action, err1)
			}
		}
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
	f.Add(filter("-A INPUT -m set --match-set a src,dst -c 1 2 --wat ! -s x -j LOG \\", "--log-prefix \"q\""))
	f.Add("-P INPUT DROP\n-N X\n-A INPUT -g X")
	sets, err := ReadSets("s", "create a hash:net,port\nadd a 10.0.0.0/8,udp:1-2\ncreate b list:set\nadd b a\nadd b b")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rs, err := ReadWith("f", text, flow.IPv4, sets)
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

func FuzzReadSets(f *testing.F) {
	f.Add("create a hash:net,port family inet\nadd a 10.0.0.0/8,udp:1-2\nadd a 10.0.0.1 nomatch")
	f.Fuzz(func(t *testing.T, text string) {
		sets, err := ReadSets("f", text)
		if err != nil {
			return
		}
		for name := range sets {
			if strings.ContainsAny(name, " \t\n\\\"") || name == "" {
				continue
			}
			for _, dirs := range []string{"src", "dst,src", "src,src,dst"} {
				if _, err := ReadWith("f", filter("-A INPUT -m set --match-set "+name+" "+dirs+" -j DROP"), flow.IPv4, sets); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	})
}
