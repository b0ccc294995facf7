package nft_test

import (
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"weir/nft"
	"weir/phases/flow"
)

func addr(s string) []byte { return nft.Addr(netip.MustParseAddr(s)) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func within(types []nft.Type, p string, more ...[]byte) nft.Element {
	lo, hi := nft.Range(prefix(p))
	return nft.Element{Key: nft.Concat(append([][]byte{lo}, more...)...), KeyEnd: nft.Concat(append([][]byte{hi}, more...)...)}
}

// sample holds each kind of object and statement.
func sample() nft.Ruleset {
	x4 := []nft.Type{nft.IPv4Addr, nft.InetProto, nft.InetService}
	lo, hi := nft.Range(prefix("10.20.0.0/16"))
	lo6, hi6 := nft.Range(prefix("fd20::/48"))
	tcp := nft.ProtoKey(flow.TCP)
	ports := []nft.Field{nft.IPSaddr, nft.IPDaddr, nft.L4Proto, nft.ThDport}
	ported := nft.Is(nft.L4Proto, tcp, nft.ProtoKey(flow.UDP), nft.ProtoKey(flow.SCTP), nft.ProtoKey(flow.DCCP), nft.ProtoKey(flow.UDPLite))
	r := nft.Ruleset{Family: "inet", Table: "weir", Counters: []string{"w_reply", "w_c_ws_would"}}
	r.Sets = []nft.Set{
		{Name: "w_marker", Key: []nft.Type{nft.IfName}, Data: nft.Mark, Elements: []nft.Element{{Key: nft.Iface("layout"), Mark: 1}, {Key: nft.Iface("r0123456789ab"), Mark: 0xdeadbeef}}},
		{Name: "w_trial_f", Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType, HasTimeout: true, Elements: []nft.Element{
			{Key: nft.FamilyKey(flow.IPv4), Timeout: 90*time.Minute + 500*time.Millisecond, Verdict: nft.To(nft.Goto("r1_f"))},
			{Key: nft.FamilyKey(flow.IPv6), Timeout: 90 * time.Minute, Comment: "on trial", Verdict: nft.To(nft.Accept())}}},
		{Name: "w_in4", Key: []nft.Type{nft.IPv4Addr}, Interval: true, Elements: []nft.Element{{Key: lo, KeyEnd: hi}, {Key: addr("192.0.2.1"), KeyEnd: addr("192.0.2.6")}, {Key: addr("192.0.2.9")}}},
		{Name: "w_in6", Key: []nft.Type{nft.IPv6Addr}, Interval: true, Elements: []nft.Element{{Key: lo6, KeyEnd: hi6}}},
		{Name: "w_seen4", Key: []nft.Type{nft.IPv4Addr, nft.IPv4Addr, nft.InetProto, nft.InetService}, Size: 65536, HasTimeout: true, Dynamic: true, DefaultTimeout: time.Hour, Counter: true},
		{Name: "w_ls4", Key: []nft.Type{nft.IPv4Addr}, Size: 1024, HasTimeout: true, Dynamic: true, DefaultTimeout: time.Minute},
		{Name: "s_x4", Key: x4, Size: 1250, Elements: []nft.Element{{Key: nft.Concat(addr("198.51.100.7"), tcp, nft.Port(443))}, {Key: nft.Concat(addr("198.51.100.8"), nft.ProtoKey(flow.Proto(47)), nft.Port(0))}}},
		{Name: "s_r4", Key: x4, Interval: true, Elements: []nft.Element{
			within(x4, "203.0.113.0/24", tcp, nft.Port(443)),
			{Key: nft.Concat(addr("0.0.0.0"), nft.ProtoKey(flow.UDP), nft.Port(8000)), KeyEnd: nft.Concat(addr("255.255.255.255"), nft.ProtoKey(flow.UDP), nft.Port(8100))}}},
		{Name: "s_mac", Key: []nft.Type{nft.EtherAddr}, Data: nft.VerdictType, Elements: []nft.Element{{Key: []byte{2, 0, 0x5e, 0x10, 0, 7}, Verdict: nft.To(nft.Goto("r1_g_ws"))}}},
		{Name: "s_i4", Key: []nft.Type{nft.IPv4Addr, nft.ICMPType}, Elements: []nft.Element{{Key: nft.Concat(addr("198.51.100.7"), []byte{8})}, {Key: nft.Concat(addr("198.51.100.7"), []byte{42})}}},
		{Name: "s_i6", Key: []nft.Type{nft.IPv6Addr, nft.ICMPv6Type}, Elements: []nft.Element{{Key: nft.Concat(addr("2001:db8:1::7"), []byte{128})}}},
	}
	r.Chains = []nft.Chain{
		{Name: "r1_g_ws", Rules: []nft.Rule{
			nft.R(ported, nft.In("s_x4", nft.IPDaddr, nft.L4Proto, nft.ThDport), nft.Count{Name: "w_reply"}, nft.Accept()),
			nft.R(nft.Jhash{Field: nft.IPSaddr, Mod: 100, Seed: 7, Below: 5}, nft.Goto("r1_d_ws")),
			nft.R(nft.Jhash{Field: nft.EtherSaddr, Mod: 100, Seed: 0xabcdef01, Below: 5}, nft.Goto("r1_d_ws")),
			{Stmts: []nft.Stmt{nft.In("s_i4", nft.IPDaddr, nft.ICMPTypeF), nft.Accept()}, Comment: "ping the server"},
			nft.R(nft.In("s_i6", nft.IP6Daddr, nft.ICMP6TypeF), nft.Accept()),
			nft.R(nft.Goto("r1_d_ws")),
		}},
		{Name: "r1_d_ws", Rules: []nft.Rule{
			nft.R(nft.SetOp{Op: "update", Set: "w_ls4", Fields: []nft.Field{nft.IPSaddr}, Limit: &nft.Limit{Over: true, Rate: 50, Unit: "second", Burst: 100}}, nft.Return()),
			nft.R(nft.Limit{Rate: 1000, Unit: "second"}, nft.Log{Prefix: "weir d ws ", Group: 101, Snaplen: 96}),
			nft.R(nft.Count{}),
			nft.R(nft.State("established"), nft.Drop()),
			nft.R(nft.Is(nft.L4Proto, tcp), nft.Reject{With: "tcp reset"}),
			nft.R(nft.Reject{With: "icmpx admin-prohibited"}),
		}},
		{Name: "w_capture", Rules: []nft.Rule{
			nft.R(nft.State("established"), nft.Return()),
			nft.R(ported, nft.NotIn("w_seen4", ports...), nft.Count{}, nft.Log{Prefix: "", Group: 100, Snaplen: 96, Threshold: 64}),
			nft.R(ported, nft.SetOp{Op: "add", Set: "w_seen4", Fields: ports, Counter: true}, nft.Return()),
		}},
		{Name: "r1_f", Rules: []nft.Rule{
			nft.R(nft.Reply(), nft.Count{Name: "w_reply"}, nft.Accept()),
			nft.R(nft.Status("expected", "dnat"), nft.Accept()),
			nft.R(nft.Match{Fields: []nft.Field{nft.CTState}, Not: true, Values: nft.State("new", "untracked").Values}, nft.Accept()),
			nft.R(nft.Is(nft.L4Proto, tcp), nft.State("new"), nft.NoSYN(), nft.Accept()),
			nft.R(nft.Match{Fields: []nft.Field{nft.TCPFlags}, Mask: []byte{3}, Values: []nft.Value{{Lo: []byte{3}}}}, nft.Accept()),
			nft.R(nft.Is(nft.OIFName, nft.Iface("lo")), nft.Accept()),
			nft.R(nft.IsNot(nft.IIFName, nft.Iface("lan0"), nft.Iface("lan1")), nft.Accept()),
			nft.R(nft.In("w_in4", nft.IPDaddr), nft.Accept()),
			nft.R(nft.InPrefix(nft.IPDaddr, prefix("224.0.0.0/4"), prefix("255.255.255.255/32"), prefix("169.254.0.0/16")), nft.Accept()),
			nft.R(nft.InPrefix(nft.IP6Daddr, prefix("ff00::/8")), nft.Accept()),
			nft.R(nft.Match{Fields: []nft.Field{nft.ThDport}, Values: []nft.Value{{nft.Port(1024), nft.Port(2048)}}}, nft.Accept()),
			nft.R(nft.Match{Fields: []nft.Field{nft.IPSaddr, nft.ThDport}, Values: []nft.Value{{Lo: nft.Concat(addr("10.20.16.10"), nft.Port(22))}}}, nft.Accept()),
			nft.R(nft.Is(nft.ICMP6TypeF, []byte{1}, []byte{2}, []byte{135}), nft.Accept()),
			nft.R(nft.Is(nft.ICMPTypeF, []byte{3}), nft.Accept()),
			nft.R(nft.Is(nft.FibDaddr, nft.MarkKey(2)), nft.Accept()),
			nft.R(nft.Is(nft.FibOIFName, nft.Iface("lan0")), nft.Accept()),
			nft.R(nft.Is(nft.NFProtoF, nft.FamilyKey(flow.IPv6)), nft.Drop()),
			nft.R(nft.Is(nft.IIFType, []byte{1, 0}), nft.Lookup("s_mac", nft.EtherSaddr)),
			nft.R(nft.Is(nft.ThSport, nft.Port(68)), nft.Return()),
		}},
		{Name: "w_main_f", Rules: []nft.Rule{nft.R(nft.Lookup("w_trial_f", nft.NFProtoF))}},
		{Name: "w_base_f", Type: "filter", Hook: "forward", Priority: 10, Rules: []nft.Rule{nft.R(nft.Jump("w_main_f"))}},
		{Name: "w_base_o", Type: "filter", Hook: "output", Priority: 10, Rules: []nft.Rule{nft.R(nft.Is(nft.SkUID, nft.MarkKey(0)), nft.Accept())}},
		{Name: "r1_n", Rules: []nft.Rule{nft.R(nft.Is(nft.L4Proto, tcp), nft.Redirect{Port: 2323})}},
		{Name: "w_base_n", Type: "nat", Hook: "prerouting", Priority: -90, Rules: []nft.Rule{nft.R(nft.Jump("r1_n"))}},
	}
	return r
}

func TestTextBothWays(t *testing.T) {
	want := sample()
	text := want.String()
	got, err := nft.Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, numbered(text))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read back differs:\n%s\nwant:\n%s", got, want)
	}
	if nft.Digest(got) != nft.Digest(want) {
		t.Error("digests differ")
	}
	golden(t, "testdata/sample.nft", text)
}

// People write sets and short chains on one line.
func TestOneLine(t *testing.T) {
	got, err := nft.Parse(`# a table
table inet weir { counter c_1 { }; map m_1 { type ifname : mark; }
	set s_1 { type ipv4_addr; flags interval,timeout; elements = { 10.0.0.0/8 timeout 5s, 192.0.2.1 }; } # two
	chain a_1 { counter accept }
	chain b_1 { type filter hook forward priority 10; policy accept; ip saddr @s_1 jump a_1; drop; }
}`)
	if err != nil {
		t.Fatal(err)
	}
	const want = `table inet weir {
	counter c_1 {
	}
	map m_1 {
		type ifname : mark
	}
	set s_1 {
		type ipv4_addr
		flags interval,timeout
		elements = {
			10.0.0.0/8 timeout 5s,
			192.0.2.1
		}
	}
	chain a_1 {
		counter accept
	}
	chain b_1 {
		type filter hook forward priority 10; policy accept;
		ip saddr @s_1 jump a_1
		drop
	}
}
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func numbered(s string) string {
	var b strings.Builder
	for i, l := range strings.Split(s, "\n") {
		b.WriteString(string(rune('0'+(i+1)/100%10)) + string(rune('0'+(i+1)/10%10)) + string(rune('0'+(i+1)%10)) + " " + l + "\n")
	}
	return b.String()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (UPDATE=1 writes it):\n%s", file, got)
	}
}
