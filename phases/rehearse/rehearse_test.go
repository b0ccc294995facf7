package rehearse

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/policy"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func services(list ...string) []flow.Service {
	var out []flow.Service
	for _, s := range list {
		x, err := flow.ParseService(s)
		if err != nil {
			panic(err)
		}
		out = append(out, x)
	}
	return out
}

func office() compile.Input {
	return compile.Input{
		Scope: compile.Scope{Hooks: []string{"forward", "output"}, Inside: prefixes("10.20.0.0/16", "fd20::/48"), OutsideIfaces: []string{"wan0"}, Inbound: "observe"},
		Groups: []compile.Group{
			{Name: "desks", Members: prefixes("10.20.16.0/24", "fd20:0:0:16::/64"), Treatment: compile.Reject},
			{Name: "cameras", Members: prefixes("10.20.40.0/24"), Treatment: compile.Alert},
			{Name: "gateway", Self: true, Treatment: compile.Reject},
			{Name: "unassigned", Treatment: compile.Alert},
		},
		Policy: policy.Policy{Rules: []policy.Rule{{Group: "desks", Services: services("tcp/443")}}},
	}
}

// What is chosen has one flow of each kind before a second one of any, never
// more than asked for, and is the same whatever the order of the evidence.
func TestChoose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []Flow
		for i := range rapid.IntRange(0, 300).Draw(t, "flows") {
			all = append(all, Flow{Group: rapid.SampledFrom([]string{"desks", "cameras"}).Draw(t, "group"), Flow: flow.Flow{
				Client: netip.AddrFrom4([4]byte{10, 20, 16, byte(i)}), Server: netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}),
				Proto: flow.TCP, Port: rapid.Uint16Range(1, 30).Draw(t, "port")}})
		}
		upTo := rapid.IntRange(0, 350).Draw(t, "upTo")
		got := choose(all, upTo)
		if len(got) != min(upTo, len(all)) {
			t.Fatalf("chose %d of %d, up to %d", len(got), len(all), upTo)
		}
		kinds := func(list []Flow) map[string]bool {
			out := map[string]bool{}
			for _, f := range list {
				out[fmt.Sprint(f.Group, f.Port)] = true
			}
			return out
		}
		if want := min(len(kinds(all)), upTo); len(kinds(got)) < want {
			t.Fatalf("%d kinds of %d in %d flows", len(kinds(got)), len(kinds(all)), len(got))
		}
		slices.Reverse(all)
		if again := choose(all, upTo); !slices.Equal(got, again) {
			t.Fatal("the order of the evidence matters")
		}
		seen := map[flow.Flow]bool{}
		for _, f := range got {
			if seen[f.Flow] {
				t.Fatalf("%v twice", f)
			}
			seen[f.Flow] = true
		}
	})
}

// A never rule over what the machine depends on is a contradiction, named by its
// packet; one beside it, of a group that denies nothing, or with a lifeline of the
// plan, is none.
func TestContradictions(t *testing.T) {
	own := []compile.Lifeline{
		{Name: "resolvers", From: prefixes("198.51.100.1/32", "2001:db8::1/128"), To: prefixes("198.51.100.53/32", "2001:db8::53/128"), Services: services("udp/53", "tcp/53")},
		{Name: "session-1", Reply: true, From: prefixes("198.51.100.1/32"), To: prefixes("192.0.2.10/32"), Services: services("tcp/22")},
	}
	for _, c := range []struct {
		name  string
		never compile.Never
		plan  []compile.Lifeline
		want  string // "" none
	}{
		{"story 18: names", compile.Never{Services: services("udp/53")}, nil, "198.51.100.1 -> 198.51.100.53 udp/53 (lifeline resolvers)"},
		{"names over TCP", compile.Never{Services: services("tcp/1-100")}, nil, "tcp/53 (lifeline resolvers)"},
		{"names in IPv6", compile.Never{Services: services("udp/53"), To: prefixes("2001:db8::/32")}, nil, "2001:db8::1 -> 2001:db8::53 udp/53"},
		{"names elsewhere", compile.Never{Services: services("udp/53"), To: prefixes("203.0.113.0/24")}, nil, ""},
		{"names of another group", compile.Never{Group: "desks", Services: services("udp/53")}, nil, ""},
		{"names of this machine", compile.Never{Group: "gateway", Services: services("udp/53")}, nil, "lifeline resolvers"},
		{"names, as the plan says", compile.Never{Services: services("udp/53")}, []compile.Lifeline{{Name: "dns", To: prefixes("198.51.100.53/32", "2001:db8::53/128"), Services: services("udp/53")}}, ""},
		{"story 6: the operator's SSH", compile.Never{Services: services("tcp/1024-65535")}, nil, "198.51.100.1 -> 192.0.2.10 tcp/51234 (lifeline session-1)"},
		{"story 14: neighbour discovery", compile.Never{Services: services("icmpv6")}, nil, "icmpv6 type 135, without which IPv6 finds no neighbours"},
		{"routers", compile.Never{Services: services("icmpv6/134")}, nil, "IPv6 finds no router"},
		{"packet too big", compile.Never{Services: services("icmpv6/2")}, nil, "large IPv6 packets are lost"},
		{"errors", compile.Never{Services: services("icmp/0-5")}, nil, "icmp type 3"},
		{"ping", compile.Never{Services: services("icmpv6/128", "icmp/8")}, nil, ""},
		{"neighbours, of a group in alert", compile.Never{Group: "cameras", Services: services("icmpv6")}, nil, ""},
	} {
		in := office()
		c.never.Name = "no"
		in.Never, in.Lifelines = []compile.Never{c.never}, c.plan
		got := Contradictions(in, own)
		if c.want == "" && len(got) > 0 || c.want != "" && !strings.Contains(strings.Join(got, "\n"), c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		in.Off = true
		if got := Contradictions(in, own); len(got) > 0 {
			t.Errorf("%s: off contradicts %q", c.name, got)
		}
	}
}

// Cut finds what a ruleset denies of a lifeline, in both families.
func TestCut(t *testing.T) {
	in := office()
	rev, err := compile.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	lines := []compile.Lifeline{
		{Name: "resolvers", From: prefixes("198.51.100.1/32", "2001:db8::1/128"), To: prefixes("198.51.100.53/32", "2001:db8::53/128"), Services: services("udp/53")},
		{Name: "session-1", Reply: true, From: prefixes("198.51.100.1/32"), To: prefixes("192.0.2.10/32"), Services: services("tcp/22")},
		{Name: "multicast", To: prefixes("ff02::1:2/128"), Services: services("udp/547")},
	}
	cut, err := Cut(in, rev, lines)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cut {
		if c.Packet.Hook == "o" {
			got = append(got, c.String())
		}
	}
	if want := []string{"198.51.100.1 -> 198.51.100.53 udp/53 (lifeline resolvers)", "2001:db8::1 -> 2001:db8::53 udp/53 (lifeline resolvers)"}; !slices.Equal(got, want) {
		t.Errorf("cut %q, want %q", got, want)
	}
	in.Lifelines = lines
	if rev, err = compile.Compile(in); err != nil {
		t.Fatal(err)
	}
	if cut, err := Cut(in, rev, lines); err != nil || len(cut) > 0 {
		t.Errorf("frozen with them, cut %v: %v", cut, err)
	}
}

// A judge that is told what became of packets finds every kind of mistake.
func TestJudgeFinds(t *testing.T) {
	in := office()
	rev, err := compile.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	j, err := NewJudge(in, rev, nil)
	if err != nil {
		t.Fatal(err)
	}
	var cases []Case
	var left []string
	counted := map[string]uint64{}
	for _, to := range []string{"tcp/443", "tcp/25"} {
		s := services(to)[0]
		p := eval.NewPacket("f", flow.Flow{Client: netip.MustParseAddr("10.20.16.9"), Server: netip.MustParseAddr("198.51.100.7"), Proto: s.Proto, Port: s.Lo})
		p.In, p.Out, p.TCPFlags = AnyInside, "wan0", 2
		cases = append(cases, Case{Packet: p, Group: "desks", Of: Recorded})
	}
	left, counted["w_c_desks_allowed"], counted["w_c_desks_denied"] = []string{"wan0", ""}, 1, 1
	if err := j.Check(cases, left, counted); err != nil {
		t.Errorf("what is right: %v", err)
	}
	for want, wrong := range map[string][]string{
		"should pass and does not":    {"", ""},
		"should be denied":            {"wan0", "wan0"},
		"left by rin0, not by wan0":   {"rin0", ""},
		"1 packets were played, not ": {"wan0"},
	} {
		if err := j.Check(cases, wrong, counted); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	counted["w_c_desks_denied"] = 2
	if err := j.Check(cases, left, counted); err == nil || !strings.Contains(err.Error(), "w_c_desks_denied counted 2") {
		t.Errorf("a counter: %v", err)
	}
}
