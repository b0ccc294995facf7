package policy

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/phases/flow"
)

// The generators draw from few addresses and ports, so that rules meet.

var (
	drawClient = rapid.SampledFrom([]string{"10.0.0.0/8", "10.20.0.0/16", "10.20.1.0/24", "10.20.1.7/32", "10.20.1.8/31",
		"0.0.0.0/0", "fd20::/48", "fd20:0:0:1::/64", "fd20:0:0:1::7/128", "::/0", "::ffff:10.20.1.0/120"})
	drawServer = rapid.SampledFrom([]string{"198.51.100.0/24", "198.51.100.7/32", "198.51.100.128/25", "198.51.0.0/16",
		"203.0.113.255/32", "255.255.255.255/32", "0.0.0.0/1", "2001:db8::/32", "2001:db8:1::/64", "2001:db8:1::7/128", "8000::/1", "2001:db8:1::/127"})
	drawService = rapid.SampledFrom([]string{"tcp/443", "tcp/80-443", "tcp/0-100", "tcp", "udp/53", "udp/65535", "udp",
		"icmp/8", "icmp", "icmpv6/128-129", "icmpv6", "esp", "gre", "ip/41"})
	drawGroup  = rapid.SampledFrom([]string{"desks", "servers"})
	drawFamily = rapid.SampledFrom([]flow.Family{flow.IPv4, flow.IPv6})
)

func drawPrefixes(g *rapid.Generator[string]) *rapid.Generator[[]netip.Prefix] {
	return rapid.Custom(func(t *rapid.T) []netip.Prefix {
		var out []netip.Prefix
		for _, s := range rapid.SliceOfN(g, 0, 3).Draw(t, "prefixes") {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	})
}

var drawRule = rapid.Custom(func(t *rapid.T) Rule {
	r := Rule{Group: drawGroup.Draw(t, "group"), Reason: Observed,
		Endpoints: drawPrefixes(drawClient).Draw(t, "endpoints"), To: drawPrefixes(drawServer).Draw(t, "to"),
		Families: rapid.SliceOfNDistinct(drawFamily, 0, 2, rapid.ID).Draw(t, "families")}
	for _, s := range rapid.SliceOfN(drawService, 1, 3).Draw(t, "services") {
		svc, _ := flow.ParseService(s)
		r.Services = append(r.Services, svc)
	}
	if rapid.Bool().Draw(t, "expires") {
		r.Expires = time.Unix(int64(rapid.IntRange(1, 9).Draw(t, "when")), 0).UTC()
	}
	return r
})

var drawPolicy = rapid.Custom(func(t *rapid.T) Policy {
	return Policy{Rules: rapid.SliceOfN(drawRule, 0, 6).Draw(t, "rules")}
})

// near returns the edges of a prefix and its neighbours: where mistakes are.
func near(t *rapid.T, p netip.Prefix) netip.Addr {
	first := p.Masked().Addr()
	b := first.AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	end, _ := netip.AddrFromSlice(b)
	a := rapid.SampledFrom([]netip.Addr{first, end, first.Prev(), end.Next(), first.Next()}).Draw(t, "edge")
	if !a.IsValid() {
		return first
	}
	return a
}

var drawFlow = rapid.Custom(func(t *rapid.T) flow.Flow {
	fam := drawFamily.Draw(t, "family")
	of := func(g *rapid.Generator[string]) netip.Addr {
		for {
			p := clean(netip.MustParsePrefix(g.Draw(t, "near")))
			if a := near(t, p); flow.FamilyOf(a) == fam {
				return a
			}
		}
	}
	svc, _ := flow.ParseService(drawService.Draw(t, "service"))
	f := flow.Flow{Client: of(drawClient), Server: of(drawServer), Proto: svc.Proto}
	f.Port = rapid.SampledFrom([]uint16{svc.Lo, svc.Hi, min(svc.Hi+1, svc.Proto.Max()), svc.Lo - min(svc.Lo, 1)}).Draw(t, "port")
	if f.Proto.Max() == 0 {
		f.Port = 0
	}
	return f
})

// allows is Allows once more, written on what the fields mean.
func allows(p Policy, group string, f flow.Flow) bool {
	within := func(list []netip.Prefix, a netip.Addr) bool {
		for _, p := range list {
			if p.Masked().Contains(a) || p.Addr().Is4In6() && p.Contains(netip.AddrFrom16(a.As16())) {
				return true
			}
		}
		return len(list) == 0
	}
	for _, r := range p.Rules {
		family := len(r.Families) == 0
		for _, x := range r.Families {
			family = family || (x == flow.IPv4) == f.Client.Is4()
		}
		service := false
		for _, s := range r.Services {
			service = service || s.Proto == f.Proto && s.Lo <= f.Port && f.Port <= s.Hi
		}
		if f.Proto == flow.ICMP && f.Client.Is6() || f.Proto == flow.ICMPv6 && f.Client.Is4() {
			service = false
		}
		if r.Group == group && family && service && within(r.Endpoints, f.Client) && within(r.To, f.Server) {
			return true
		}
	}
	return false
}

func TestMembershipAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy.Draw(t, "policy")
		index, normal := NewIndex(p), p.Normalise()
		for range 20 {
			g, f := drawGroup.Draw(t, "group"), drawFlow.Draw(t, "flow")
			want := allows(p, g, f)
			r1, got1 := Allows(p, g, f)
			r2, got2 := index.Allows(g, f)
			_, got3 := Allows(normal, g, f)
			got4 := false
			for _, b := range p.Boxes() {
				got4 = got4 || b.Group == g && b.Contains(f)
			}
			if got1 != want || got2 != want || got3 != want || got4 != want {
				t.Fatalf("%s %v: want %t; Allows %t, Index %t, Normalise %t, Boxes %t", g, f, want, got1, got2, got3, got4)
			}
			if !reflect.DeepEqual(r1, r2) {
				t.Fatalf("%s %v: Allows names %+v, Index %+v", g, f, r1, r2)
			}
		}
	})
}

func TestDiffIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPolicy.Draw(t, "a"), drawPolicy.Draw(t, "b")
		onlyA, onlyB := Diff(a, b)
		if Equal(a, b) != (len(onlyA)+len(onlyB) == 0) {
			t.Fatalf("Equal does not agree with Diff: %v %v", onlyA, onlyB)
		}
		if Within(a, b) != (len(onlyA) == 0) || Within(b, a) != (len(onlyB) == 0) {
			t.Fatalf("Within does not agree with Diff: %v %v", onlyA, onlyB)
		}
		in := func(boxes []Box, g string, f flow.Flow) bool {
			for _, b := range boxes {
				if b.Group == g && b.Contains(f) {
					return true
				}
			}
			return false
		}
		for range 30 {
			g, f := drawGroup.Draw(t, "group"), drawFlow.Draw(t, "flow")
			ina, inb := allows(a, g, f), allows(b, g, f)
			if in(onlyA, g, f) != (ina && !inb) || in(onlyB, g, f) != (inb && !ina) {
				t.Fatalf("%s %v: a %t, b %t, onlyA %v, onlyB %v", g, f, ina, inb, onlyA, onlyB)
			}
		}
		for _, x := range onlyA {
			if f := x.Example(); !x.Contains(f) || !allows(a, x.Group, f) || allows(b, x.Group, f) {
				t.Fatalf("example %v of %v is not only in a", f, x)
			}
		}
	})
}

func TestNormaliseIsEqualAndStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy.Draw(t, "policy")
		n := p.Normalise()
		if !Equal(p, n) {
			t.Fatal("Normalise changes what is allowed")
		}
		if again := n.Normalise(); !reflect.DeepEqual(n, again) {
			t.Fatalf("Normalise twice differs:\n%v\n%v", n, again)
		}
		mixed := Policy{Rules: rapid.Permutation(p.Rules).Draw(t, "order")}
		if m := mixed.Normalise(); !reflect.DeepEqual(n, m) {
			t.Fatalf("Normalise depends on the order:\n%v\n%v", n, m)
		}
	})
}

func TestJSONBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy.Draw(t, "policy").Normalise()
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var q Policy
		if err := json.Unmarshal(b, &q); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		if !reflect.DeepEqual(p.Rules, q.Rules) && len(p.Rules)+len(q.Rules) > 0 {
			t.Fatalf("%s\n%+v\n%+v", b, p, q)
		}
	})
}

func TestJSONRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"unknown reason": `{"group":"a","services":["tcp/1"],"reason":"because"}`,
		"unknown family": `{"group":"a","services":["tcp/1"],"families":["ipv5"],"reason":"observed"}`,
		"unknown field":  `{"group":"a","services":["tcp/1"],"reason":"observed","prio":1}`,
		"no service":     `{"group":"a","services":[],"reason":"observed"}`,
		"empty prefix":   `{"group":"a","to":[""],"services":["tcp/1"],"reason":"observed"}`,
		"empty service":  `{"group":"a","services":[""],"reason":"observed"}`,
	} {
		var r Rule
		if err := json.Unmarshal([]byte(text), &r); err == nil {
			t.Errorf("%s: read as %+v", name, r)
		}
	}
}

func rule(group, endpoints, to, services string) Rule {
	list := func(s string) (out []netip.Prefix) {
		for _, x := range strings.Fields(s) {
			out = append(out, netip.MustParsePrefix(x))
		}
		return out
	}
	r := Rule{Group: group, Endpoints: list(endpoints), To: list(to)}
	for _, s := range strings.Fields(services) {
		v, err := flow.ParseService(s)
		if err != nil {
			panic(err)
		}
		r.Services = append(r.Services, v)
	}
	return r
}

func TestDiffInWords(t *testing.T) {
	for _, c := range []struct {
		name         string
		a, b         []Rule
		onlyA, onlyB []string
	}{
		{"a widening", []Rule{rule("desks", "", "198.51.100.7/32", "tcp/443")}, []Rule{rule("desks", "", "198.51.100.0/24", "tcp/443")},
			nil, []string{"desks -> 198.51.100.0/30 tcp/443", "desks -> 198.51.100.4/31 tcp/443", "desks -> 198.51.100.6 tcp/443",
				"desks -> 198.51.100.8/29 tcp/443", "desks -> 198.51.100.16/28 tcp/443", "desks -> 198.51.100.32/27 tcp/443",
				"desks -> 198.51.100.64/26 tcp/443", "desks -> 198.51.100.128/25 tcp/443"}},
		{"a narrowing of ports", []Rule{rule("desks", "", "", "tcp")}, []Rule{rule("desks", "", "", "tcp/1-65534")},
			[]string{"desks -> any ipv4 tcp/0", "desks -> any ipv4 tcp/65535", "desks -> any ipv6 tcp/0", "desks -> any ipv6 tcp/65535"}, nil},
		{"two halves are one whole", []Rule{rule("desks", "", "0.0.0.0/1 128.0.0.0/1 ::/0", "udp/53")}, []Rule{rule("desks", "", "", "udp/53")}, nil, nil},
		{"another group", []Rule{rule("desks", "10.20.1.7/32", "", "esp")}, []Rule{rule("servers", "10.20.1.7/32", "", "esp")},
			[]string{"desks 10.20.1.7 -> any ipv4 esp"}, []string{"servers 10.20.1.7 -> any ipv4 esp"}},
		{"one family", []Rule{rule("desks", "", "", "icmp/8 icmpv6/128")}, []Rule{rule("desks", "", "0.0.0.0/0", "icmp/8")},
			[]string{"desks -> any ipv6 icmpv6/128"}, nil},
		{"siblings join again", []Rule{rule("desks", "", "198.51.100.0/24", "tcp/80 tcp/443")}, []Rule{rule("desks", "", "198.51.100.7/32", "tcp/80")},
			[]string{"desks -> 198.51.100.0/24 tcp/443", "desks -> 198.51.100.0/30 tcp/80", "desks -> 198.51.100.4/31 tcp/80",
				"desks -> 198.51.100.6 tcp/80", "desks -> 198.51.100.8/29 tcp/80", "desks -> 198.51.100.16/28 tcp/80",
				"desks -> 198.51.100.32/27 tcp/80", "desks -> 198.51.100.64/26 tcp/80", "desks -> 198.51.100.128/25 tcp/80"}, nil},
	} {
		onlyA, onlyB := Diff(Policy{c.a}, Policy{c.b})
		if got := words(onlyA); !reflect.DeepEqual(got, c.onlyA) {
			t.Errorf("%s: only a:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.onlyA, "\n"))
		}
		if got := words(onlyB); !reflect.DeepEqual(got, c.onlyB) {
			t.Errorf("%s: only b:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.onlyB, "\n"))
		}
	}
}

func words(b []Box) (out []string) {
	for _, x := range b {
		out = append(out, x.String())
	}
	return out
}

func TestExampleLooksReal(t *testing.T) {
	for services, want := range map[string]string{
		"tcp":        "192.0.2.10 -> 198.51.100.80 tcp/443",
		"tcp/50-60":  "192.0.2.10 -> 198.51.100.80 tcp/53",
		"tcp/0-7":    "192.0.2.10 -> 198.51.100.80 tcp/1",
		"icmp":       "192.0.2.10 -> 198.51.100.80 icmp/8",
		"esp":        "192.0.2.10 -> 198.51.100.80 esp",
		"udp/40-900": "192.0.2.10 -> 198.51.100.80 udp/443",
	} {
		b := Policy{[]Rule{rule("desks", "", "0.0.0.0/0", services)}}.Boxes()
		if got := b[0].Example().String(); got != want {
			t.Errorf("%s: %s, want %s", services, got, want)
		}
	}
}

// TestEmptyPrefixIsNobody: the zero prefix is a mistake and must never mean any.
func TestEmptyPrefixIsNobody(t *testing.T) {
	for _, r := range []Rule{{Group: "desks", To: []netip.Prefix{{}}}, {Group: "desks", Endpoints: []netip.Prefix{{}}}} {
		r.Services = []flow.Service{flow.All(flow.TCP)}
		p := Policy{[]Rule{r}}
		for _, a := range []string{"10.0.0.1", "fd20::1"} {
			f := flow.Flow{Client: netip.MustParseAddr(a), Server: netip.MustParseAddr(a), Proto: flow.TCP, Port: 1}
			_, ok1 := Allows(p, "desks", f)
			_, ok2 := NewIndex(p).Allows("desks", f)
			if ok1 || ok2 || len(p.Boxes()) > 0 {
				t.Errorf("%v: Allows %t, Index %t, boxes %v", f, ok1, ok2, p.Boxes())
			}
		}
	}
}

func TestExpiry(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	p := Policy{[]Rule{{Group: "past", Expires: now.Add(-1)}, {Group: "now", Expires: now}, {Group: "later", Expires: now.Add(1)}, {Group: "never"}}}
	var left []string
	for _, r := range p.At(now).Rules {
		left = append(left, r.Group)
	}
	if got := strings.Join(left, " "); got != "later never" {
		t.Errorf("left: %s", got)
	}
}
