package nftjson

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

func sample(t testing.TB) rules.Ruleset {
	b, err := os.ReadFile("testdata/sample.json") // nft -j list ruleset, after nft -f testdata/sample.nft
	if err != nil {
		t.Fatal(err)
	}
	rs, err := Read("sample.json", string(b))
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func packet(src, dst string, s rules.Service, opts ...func(*rules.Packet)) rules.Packet {
	p := rules.Packet{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Service: s, SrcPort: 40000, In: "lan0", Out: "dmz0", State: rules.New}
	for _, o := range opts {
		o(&p)
	}
	return p
}

func yes(tests ...string) func(*rules.Packet) {
	return func(p *rules.Packet) {
		p.Tests = map[string]bool{}
		for _, x := range tests {
			p.Tests[x] = true
		}
	}
}

func between(in, out string) func(*rules.Packet) {
	return func(p *rules.Packet) { p.In, p.Out = in, out }
}

// TestSample asks what the rules of sample.nft do to packets.
func TestSample(t *testing.T) {
	rs := sample(t)
	tcp := func(n uint16) rules.Service { return rules.ServiceOf(flow.TCP, n) }
	udp := func(n uint16) rules.Service { return rules.ServiceOf(flow.UDP, n) }
	state := func(s rules.States) func(*rules.Packet) { return func(p *rules.Packet) { p.State = s } }
	for _, c := range []struct {
		p    rules.Packet
		want rules.Action
		text string // part of the rule that says so; "" for the default
	}{
		{packet("10.0.0.1", "192.0.2.1", tcp(80), state(rules.Established)), rules.Accept, "ct state vmap"},
		{packet("10.0.0.1", "192.0.2.1", tcp(80), state(rules.Invalid)), rules.Drop, "ct state vmap"},
		{packet("10.0.0.1", "192.0.2.1", tcp(80), state(rules.Untracked)), rules.Drop, "ct state ! established,new"},
		{packet("10.9.255.255", "192.0.2.1", tcp(80)), rules.Drop, "@bad"},
		{packet("10.8.0.7", "192.0.2.1", tcp(80)), rules.Drop, "@bad"},
		{packet("10.8.0.8", "192.0.2.1", tcp(80)), rules.Drop, ""},
		{packet("10.1.3.4", "192.0.2.1", tcp(90)), rules.Accept, "@svc"},
		{packet("10.1.3.4", "192.0.2.1", udp(90)), rules.Drop, ""},
		{packet("10.2.0.1", "192.0.2.1", udp(53)), rules.Accept, "@svc"},
		{packet("11.0.0.1", "192.0.2.1", tcp(80)), rules.Reject, "!= { 10.0.0.0/8"},
		{packet("10.0.0.1", "10.3.0.1", tcp(25)), rules.Accept, "@vm"},
		{packet("10.0.0.1", "10.3.0.2", tcp(25)), rules.Drop, ""}, // jumps and comes back
		{packet("10.0.0.1", "10.3.0.2", tcp(22)), rules.Drop, ""},
		{packet("10.0.0.1", "10.3.0.9", tcp(9), between("eth7", "wan1"), yes("meta mark 5")), rules.Accept, "mark 5"},
		{packet("10.0.0.1", "10.3.0.9", tcp(9), between("eth7", "wan1")), rules.Drop, ""},
		{packet("10.0.0.1", "10.3.0.9", tcp(9), between("lo", "lo")), rules.Accept, "iif lo"},
		{packet("10.0.0.1", "10.3.0.9", rules.ServiceOf(flow.ICMP, 8<<8), yes("limit burst 5 per second rate 5 (sample.json:21)")), rules.Accept, "echo-request"},
		{packet("10.0.0.1", "10.3.0.9", rules.ServiceOf(flow.ICMP, 8<<8)), rules.Drop, ""},
		{packet("fd00::1", "fd00::2", rules.ServiceOf(flow.ICMPv6, 135<<8)), rules.Accept, "nd-neighbor-solicit"},
		{packet("10.0.0.1", "10.3.0.9", rules.ServiceOf(flow.ICMP, 3<<8|4)), rules.Accept, "frag-needed"},
		{packet("fd00::1", "fd00::2", tcp(53)), rules.Accept, "th dport 53"},
		{packet("2001:db8::1", "fd00::1", tcp(23)), rules.Accept, "tcp dport != 22"},
		{packet("2001:db8::1", "fd00::1", tcp(22)), rules.Drop, ""},
		{packet("2001:db8::1", "fd00::1", udp(23)), rules.Drop, ""},
		{packet("2001:db8::1", "fd00::1", tcp(23), func(p *rules.Packet) { p.SrcPort = 1023 }), rules.Drop, ""},
		{packet("fd00::1", "fd00::2", rules.ServiceOf(flow.ESP, 0)), rules.Accept, "nexthdr esp"},
		{packet("10.0.0.1", "10.3.0.9", rules.ServiceOf(flow.ESP, 0)), rules.Drop, ""},
		{packet("10.0.0.1", "10.3.0.9", rules.ServiceOf(flow.GRE, 0)), rules.Accept, "gre"},
		{packet("10.0.0.1", "10.3.0.9", udp(68)), rules.Drop, "67-69"},
		{packet("10.0.0.1", "10.3.0.9", tcp(7), between("a", "b")), rules.Accept, "a . b"},
		{packet("10.0.0.1", "10.3.0.9", tcp(100), between("c", "d")), rules.Accept, "tcp dport { 22"},
		{packet("10.0.0.1", "10.0.0.5", tcp(99), between("c", "d")), rules.Accept, "tcp dport { 22"},
		{packet("10.0.0.1", "10.0.0.5", tcp(21), between("c", "d")), rules.Drop, ""}, // goto does not come back
		{packet("10.0.0.1", "10.0.0.5", tcp(443)), rules.Accept, "tcp dport { 22"},
		{packet("10.0.0.1", "10.3.0.9", udp(99)), rules.Accept, "th dport 99"},
	} {
		v, err := rules.Decide(rs, "forward", c.p)
		if err != nil || v.Action != c.want || !strings.Contains(v.Rule.Text, c.text) || c.text == "" && v.Rule.Text != "" {
			t.Errorf("%s: %s by %q (%v), want %s by %q", c.p, v.Action, v.Rule.Text, err, c.want, c.text)
		}
	}
}

func doc(objects ...string) string {
	return `{"nftables": [` + strings.Join(append([]string{
		`{"table": {"family": "inet", "name": "t"}}`,
		`{"chain": {"family": "inet", "table": "t", "name": "f", "hook": "forward", "type": "filter", "prio": 0, "policy": "accept"}}`}, objects...), ",\n") + `]}`
}

func rule(expr string) string {
	return `{"rule": {"family": "inet", "table": "t", "chain": "f", "expr": [` + expr + `]}}`
}

func TestWhatIsNotUnderstoodIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		text, note, test string
	}{
		"statement":  {doc(rule(`{"teleport": {"to": "mars"}}, {"accept": null}`)), "x:3: statement teleport is not known", "teleport to mars accepts (x:3)"},
		"expression": {doc(rule(`{"match": {"op": "==", "left": {"socket": {"key": "mark"}}, "right": 5}}, {"accept": null}`)), "", "socket key mark 5"},
		"xt":         {doc(rule(`{"xt": {"type": "target", "name": "TARPIT"}}`)), "x:3: statement xt is not known", "xt name TARPIT type target drops (x:3)"},
		"icmp name":  {doc(rule(`{"match": {"op": "==", "left": {"payload": {"protocol": "icmp", "field": "type"}}, "right": "no-such"}}, {"drop": null}`)), `"no-such" is not known: undecided`, "icmp type no-such"},
		"object":     {doc(`{"gizmo": {"family": "inet", "name": "g"}}`), "object \"gizmo\" is not known", ""},
		"bridge":     {doc(`{"table": {"family": "bridge", "name": "b"}}`), "x:3: table bridge b", ""},
		"queue":      {doc(rule(`{"queue": {"num": 3}}`)), "it counts as accept", ""},
		"log":        {doc(rule(`{"log": null}, {"drop": null}`)), "the rule goes on after it", ""},
		"two chains": {doc(`{"chain": {"family": "inet", "table": "t", "name": "g", "hook": "forward", "type": "filter", "prio": 9, "policy": "drop"}}`), "2 chains are hooked to forward", ""},
		"dynamic":    {doc(`{"set": {"family": "inet", "table": "t", "name": "s", "type": "ipv4_addr", "flags": ["dynamic"]}}`), "change with time", ""},
		"negated concatenation": {doc(rule(`{"match": {"op": "!=", "left": {"concat": [{"meta": {"key": "iif"}}, {"meta": {"key": "oif"}}]}, "right": {"set": [{"concat": ["a", "b"]}]}}}, {"drop": null}`)),
			"negated set of concatenations", "iif . oif { a . b }"},
	} {
		rs, err := Read("x", c.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.note != "" && !strings.Contains(fmt.Sprint(rs.Notes), c.note) {
			t.Errorf("%s: notes %v, want %q", name, rs.Notes, c.note)
		}
		found := c.test == ""
		for _, r := range rs.Chain("f").Rules {
			for _, x := range r.Match.Tests {
				found = found || x.Key() == c.test
			}
		}
		if !found {
			t.Errorf("%s: no test %q in %+v", name, c.test, rs.Chain("f").Rules)
		}
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                 "not the output of nft -j",
		`{"a": 1}`:          "no list",
		`{"nftables": [7]}`: "entry 1 is no object",
		doc(rule(`{"jump": {"target": "none"}}`)):                                                     `x:3: jump to chain "none"`,
		doc(rule(`{"match": {"op": "==", "left": {"meta": {"key": "iif"}}, "right": "@gone"}}`)):      "x:3: set @gone is not declared",
		doc(rule(`{"vmap": {"key": {"meta": {"key": "iif"}}, "data": {"set": [["a", {"hm": 1}]]}}}`)): "is no verdict",
		doc(`{"rule": {"family": "inet", "table": "t", "chain": "zz", "expr": []}}`):                  "chain inet t zz was not declared",
	} {
		if _, err := Read("x", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestFamiliesOfTables(t *testing.T) {
	chain := func(fam, policy string) string {
		return `{"chain": {"family": "` + fam + `", "table": "filter", "name": "FORWARD", "hook": "forward", "type": "filter", "prio": 0, "policy": "` + policy + `"}}`
	}
	one, err := Read("x", `{"nftables": [`+chain("ip", "drop")+`]}`)
	if err != nil || len(one.Families) != 1 || one.Families[0] != flow.IPv4 {
		t.Errorf("%v %v", one.Families, err)
	}
	two, err := Read("x", `{"nftables": [`+chain("ip", "drop")+`,`+chain("ip6", "accept")+`]}`)
	if err != nil || len(two.Families) != 0 || two.Chain("ip6 filter FORWARD") == nil {
		t.Fatalf("%+v %v", two, err)
	}
	for _, c := range []struct {
		chain, src string
		want       rules.Action
	}{{"FORWARD", "10.0.0.1", rules.Drop}, {"FORWARD", "fd00::1", rules.Accept}, {"ip6 filter FORWARD", "fd00::1", rules.Accept}, {"ip6 filter FORWARD", "10.0.0.1", rules.Accept}} {
		if v, err := rules.Decide(two, c.chain, packet(c.src, c.src, rules.ServiceOf(flow.TCP, 1))); err != nil || v.Action != c.want {
			t.Errorf("%v: %v %v", c, v.Action, err)
		}
	}
}

// TestRejectSaysItsFamily: nft lists "meta nfproto ipv6 reject" without the
// first half.
func TestRejectSaysItsFamily(t *testing.T) {
	rs, err := Read("x", doc(rule(`{"reject": {"type": "icmpv6", "expr": "port-unreachable"}}`), rule(`{"reject": {"type": "tcp reset"}}`), rule(`{"reject": null}`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    rules.Packet
		line int
	}{
		{packet("fd00::1", "fd00::2", rules.ServiceOf(flow.UDP, 1)), 3},
		{packet("10.0.0.1", "10.0.0.2", rules.ServiceOf(flow.TCP, 1)), 4},
		{packet("10.0.0.1", "10.0.0.2", rules.ServiceOf(flow.UDP, 1)), 5},
	} {
		if v, err := rules.Decide(rs, "f", c.p); err != nil || v.Rule.Line != c.line {
			t.Errorf("%s: by line %d %v, want %d", c.p, v.Rule.Line, err, c.line)
		}
	}
}

// TestUndecidedMatchesSayTheirProtocol: nft lists "meta l4proto tcp tcp flags …"
// without the first half.
func TestUndecidedMatchesSayTheirProtocol(t *testing.T) {
	match := func(left, right string) string {
		return doc(rule(`{"match": {"op": "==", "left": ` + left + `, "right": ` + right + `}}, {"drop": null}`))
	}
	for _, c := range []struct {
		text, test string
		yes, no    rules.Packet
	}{
		{match(`{"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["syn", "ack"]]}`, `"syn"`), "tcp flags syn / syn,ack",
			packet("10.0.0.1", "10.0.0.2", rules.ServiceOf(flow.TCP, 1)), packet("10.0.0.1", "10.0.0.2", rules.ServiceOf(flow.UDP, 1))},
		{match(`{"payload": {"protocol": "ip6", "field": "hoplimit"}}`, `5`), "ip6 hoplimit 5",
			packet("fd00::1", "fd00::2", rules.ServiceOf(flow.TCP, 1)), packet("10.0.0.1", "10.0.0.2", rules.ServiceOf(flow.TCP, 1))},
		{match(`{"tcp option": {"name": "maxseg", "field": "size"}}`, `5`), "tcp option field size name maxseg 5",
			packet("10.0.0.1", "10.0.0.2", rules.ServiceOf(flow.TCP, 1)), packet("10.0.0.1", "10.0.0.2", rules.ServiceOf(flow.UDP, 1))},
	} {
		rs, err := Read("x", c.text)
		if err != nil {
			t.Fatal(err)
		}
		for want, p := range map[rules.Action]rules.Packet{rules.Drop: c.yes, rules.Accept: c.no} {
			yes(c.test)(&p)
			if v, err := rules.Decide(rs, "f", p); err != nil || v.Action != want {
				t.Errorf("%s: %s %v, want %s; %+v", p, v.Action, err, want, rs.Chain("f").Rules)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	b, err := os.ReadFile("testdata/sample.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(doc(rule(`{"match": {"op": "<", "left": {"payload": {"protocol": "th", "field": "dport"}}, "right": 0}}, {"drop": null}`)))
	f.Add(doc(rule(`{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": {"set": [["*", {"drop": null}], [{"range": [1, 300]}, {"accept": null}]]}}}`)))
	f.Fuzz(func(t *testing.T, text string) {
		rs, err := Read("f", text)
		if err != nil {
			return
		}
		for _, h := range rules.Hooked(rs) {
			_, err1 := rules.Flatten(rs, h)
			_, err2 := rules.Decide(rs, h, packet("10.0.0.1", "10.0.0.2", rules.ServiceOf(flow.TCP, 80)))
			if err2 != nil && err1 == nil {
				t.Errorf("Decide fails where Flatten does not: %v", err2)
			}
		}
	})
}
