package eval_test

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"weir/nft"
	"weir/nft/eval"
	"weir/phases/flow"
)

// table is a small table of everything that the interpreter knows.
const table = `table inet weir {
	counter c_reply { }
	counter c_web { }
	counter c_end { }
	set exact { type ipv4_addr . inet_proto . inet_service; elements = { 198.51.100.7 . tcp . 443 } }
	set ranges { type ipv4_addr . inet_proto . inet_service; flags interval; elements = { 198.51.100.0/25 . udp . 50-60, 203.0.113.0/24 . tcp . 1-1024 } }
	set plain { type ipv6_addr; flags interval; elements = { 2001:db8::/32, fd20:0:0:1::7 } }
	set memory { type ipv4_addr . inet_proto . inet_service; size 100; flags dynamic,timeout; timeout 1h; }
	map who { type ipv4_addr : verdict; flags interval; elements = { 10.20.1.0/24 : goto servers, 10.20.2.0/24 : jump desks, 10.20.3.1 : drop, 10.20.4.1 : continue } }
	chain servers {
		meta l4proto { tcp, udp } ip daddr . meta l4proto . th dport @exact counter name c_web accept
		ip daddr . meta l4proto . th dport @ranges accept
	}
	chain desks {
		meta l4proto tcp th dport { 80, 8000-8100 } accept
		meta l4proto icmp icmp type echo-request return
		meta l4proto tcp tcp flags & (fin | syn | rst | ack) != syn reject with tcp reset
	}
	chain main {
		ct direction reply counter name c_reply accept
		ct state established,related accept
		ip daddr . meta l4proto . th dport != @memory log prefix "new " group 7
		meta l4proto tcp add @memory { ip daddr . meta l4proto . th dport }
		ip6 daddr @plain accept
		ip saddr vmap @who counter name c_end
		oifname != "wan0" accept
		meta skuid 33 accept
		reject with icmpx admin-prohibited
	}
	chain base { type filter hook forward priority 10; policy accept;
		iifname "skip0" return
		goto main
	}
}`

func parsed(t *testing.T) nft.Ruleset {
	t.Helper()
	r, err := nft.Parse(table)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestVerdicts(t *testing.T) {
	m := eval.NewMachine(parsed(t))
	user := uint32(33)
	for _, c := range []struct {
		name, from, to, service string
		change                  func(*eval.Packet)
		verdict, path, counters string
	}{
		{"exact tuple", "10.20.1.9", "198.51.100.7", "tcp/443", nil, "accept", "base main servers", "c_web"},
		{"range of ports", "10.20.1.9", "198.51.100.127", "udp/60", nil, "accept", "base main servers", ""},
		{"after a goto the caller's end is the end", "10.20.1.9", "198.51.100.128", "udp/60", nil, "accept", "base main servers", ""},
		{"a jump returns", "10.20.2.9", "198.51.100.7", "udp/99", nil, "reject with icmpx admin-prohibited", "base main desks", ""},
		{"an anonymous range", "10.20.2.9", "198.51.100.7", "tcp/8100", nil, "accept", "base main desks", ""},
		{"return", "10.20.2.9", "198.51.100.7", "icmp/8", nil, "reject with icmpx admin-prohibited", "base main desks", ""},
		{"flags", "10.20.2.9", "198.51.100.7", "tcp/99", func(p *eval.Packet) { p.TCPFlags = 0x12 }, "reject with tcp reset", "base main desks", ""},
		{"continue goes on in the rule", "10.20.4.1", "198.51.100.7", "udp/99", nil, "reject with icmpx admin-prohibited", "base main", "c_end"},
		{"drop in a map", "10.20.3.1", "198.51.100.7", "udp/99", nil, "drop", "base main", ""},
		{"the other family", "fd20::1", "2001:db8:ffff::", "tcp/1", nil, "accept", "base main", ""},
		{"the other family, next address", "fd20::1", "2001:db9::", "tcp/1", nil, "reject with icmpx admin-prohibited", "base main", ""},
		{"reply", "10.20.3.1", "198.51.100.7", "udp/99", func(p *eval.Packet) { p.State, p.Reply = eval.Established, true }, "accept", "base main", "c_reply"},
		{"established", "10.20.3.1", "198.51.100.7", "udp/99", func(p *eval.Packet) { p.State = eval.Established }, "accept", "base main", ""},
		{"untracked has no direction", "10.20.3.1", "198.51.100.7", "udp/99", func(p *eval.Packet) { p.State, p.Reply = eval.Untracked, true }, "drop", "base main", ""},
		{"interface", "10.20.9.1", "198.51.100.7", "udp/99", func(p *eval.Packet) { p.Out = "wan1" }, "accept", "base main", ""},
		{"user", "10.20.9.1", "198.51.100.7", "udp/99", func(p *eval.Packet) { p.UID = &user }, "accept", "base main", ""},
		{"the base chain's policy", "10.20.3.1", "198.51.100.7", "udp/99", func(p *eval.Packet) { p.In = "skip0" }, "accept", "base", ""},
		{"a hook without chain", "10.20.3.1", "198.51.100.7", "udp/99", func(p *eval.Packet) { p.Hook = "o" }, "accept", "", ""},
	} {
		s, err := flow.ParseService(c.service)
		if err != nil {
			t.Fatal(err)
		}
		p := eval.NewPacket("f", flow.Flow{Client: netip.MustParseAddr(c.from), Server: netip.MustParseAddr(c.to), Proto: s.Proto, Port: s.Lo})
		p.Out = "wan0"
		if c.change != nil {
			c.change(&p)
		}
		got, err := m.Eval(p)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got.Verdict != c.verdict || strings.Join(got.Path, " ") != c.path || strings.Join(got.Counters, " ") != c.counters {
			t.Errorf("%s: %s by %v, counters %v; want %s by %s, counters %s", c.name, got.Verdict, got.Path, got.Counters, c.verdict, c.path, c.counters)
		}
	}
}

func TestTraceNamesRuleAndElement(t *testing.T) {
	m := eval.NewMachine(parsed(t))
	p := eval.NewPacket("f", flow.Flow{Client: netip.MustParseAddr("10.20.1.9"), Server: netip.MustParseAddr("203.0.113.9"), Proto: flow.TCP, Port: 22})
	got, err := m.Eval(p)
	if err != nil {
		t.Fatal(err)
	}
	if got.Chain != "servers" || got.Rule.String() != "ip daddr . meta l4proto . th dport @ranges accept" || got.Set != "ranges" || got.Element.Key[0] != 203 {
		t.Errorf("%+v", got)
	}
	if len(got.Logs) != 1 || got.Logs[0].Prefix != "new " || !reflect.DeepEqual(got.Added, []string{"memory"}) {
		t.Errorf("logs %v, added %v", got.Logs, got.Added)
	}
}

func TestRemember(t *testing.T) {
	m := eval.NewMachine(parsed(t))
	p := eval.NewPacket("f", flow.Flow{Client: netip.MustParseAddr("10.20.1.9"), Server: netip.MustParseAddr("203.0.113.9"), Proto: flow.TCP, Port: 22})
	logs := func() int {
		got, err := m.Eval(p)
		if err != nil {
			t.Fatal(err)
		}
		return len(got.Logs)
	}
	if a, b := logs(), logs(); a != 1 || b != 1 {
		t.Errorf("without memory: %d, then %d", a, b)
	}
	m.Remember = true
	if a, b := logs(), logs(); a != 1 || b != 0 {
		t.Errorf("with memory: %d, then %d", a, b)
	}
}

func TestStrictRefusesPortsThatAreNone(t *testing.T) {
	m := eval.NewMachine(parsed(t))
	p := eval.NewPacket("f", flow.Flow{Client: netip.MustParseAddr("10.20.1.9"), Server: netip.MustParseAddr("203.0.113.9"), Proto: flow.ESP})
	if _, err := m.Eval(p); err != nil {
		t.Error(err)
	}
	m.Strict = true
	if _, err := m.Eval(p); err == nil || !strings.Contains(err.Error(), "has no ports") {
		t.Errorf("strict: %v", err)
	}
}

func TestLoopsEnd(t *testing.T) {
	for _, v := range []nft.Verdict{nft.Jump("a"), nft.Goto("a")} {
		r := nft.Ruleset{Chains: []nft.Chain{{Name: "a", Hook: "forward", Type: "filter", Rules: []nft.Rule{nft.R(v)}}}}
		if _, err := eval.NewMachine(r).Eval(eval.Packet{Hook: "f", Src: netip.MustParseAddr("10.0.0.1")}); !errors.Is(err, eval.ErrTooDeep) {
			t.Errorf("%s: got %v", v.Kind, err)
		}
	}
}
