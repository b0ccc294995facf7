package diagram_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"weir/phases/flow"
	"weir/phases/policy"
	"weir/phases/policy/diagram"
	"weir/phases/policy/rules"
)

// flat writes a group's rules as a first-match list.
func flat(p policy.Policy, group string) []rules.FlatRule {
	var out []rules.FlatRule
	for _, b := range p.Boxes() {
		if b.Group != group {
			continue
		}
		r := rules.FlatRule{Action: rules.Accept}
		r.Match.Family = b.Family
		r.Match.Src = []rules.Addrs{{Ranges: []rules.AddrRange{rules.PrefixRange(b.Client)}}}
		r.Match.Dst = []rules.Addrs{{Ranges: []rules.AddrRange{rules.PrefixRange(b.Server)}}}
		r.Match.Services = []rules.Services{{Ranges: []rules.ServiceRange{{Lo: rules.ServiceOf(b.Service.Proto, uint16(b.Service.Lo)), Hi: rules.ServiceOf(b.Service.Proto, uint16(b.Service.Hi))}}}}
		out = append(out, r)
	}
	return append(out, rules.FlatRule{Action: rules.Drop})
}

// sameDiagrams says whether two policies are the same function in some groups.
func sameDiagrams(t testing.TB, a, b policy.Policy, groups []string) bool {
	for _, g := range groups {
		x, y := flat(a, g), flat(b, g)
		s, f := diagram.NewSpace(x, y), diagram.NewForest(0)
		n, err := s.Build(f, x, diagram.Allowed)
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.Build(f, y, diagram.Allowed)
		if err != nil {
			t.Fatal(err)
		}
		if n != m {
			return false
		}
	}
	return true
}

// TestPoliciesAsDiagrams: two policies are equal, by subtraction of boxes, if
// and only if their diagrams are the same.
func TestPoliciesAsDiagrams(t *testing.T) {
	svc := []flow.Service{flow.Single(flow.TCP, 443), {Proto: flow.TCP, Lo: 80, Hi: 90}, {Proto: flow.TCP, Lo: 85, Hi: 443}, flow.All(flow.TCP), flow.Single(flow.UDP, 53), flow.Single(flow.ICMP, 8), flow.All(flow.ESP)}
	var to, from []netip.Prefix
	for _, p := range []string{"198.51.100.0/24", "198.51.100.0/25", "198.51.100.128/25", "198.51.100.7/32", "0.0.0.0/0", "2001:db8::/32", "2001:db8::7/128"} {
		to = append(to, netip.MustParsePrefix(p))
	}
	for _, p := range []string{"10.2.0.0/24", "10.2.0.0/25", "10.2.0.128/25", "10.2.0.9/32", "fd00:2::/64"} {
		from = append(from, netip.MustParsePrefix(p))
	}
	equal := 0
	rapid.Check(t, func(r *rapid.T) {
		draw := func(label string) (p policy.Policy) {
			for range rapid.IntRange(0, 5).Draw(r, label) {
				p.Rules = append(p.Rules, policy.Rule{Group: "g0",
					Services:  rapid.SliceOfN(rapid.SampledFrom(svc), 1, 2).Draw(r, "services"),
					To:        rapid.SliceOfN(rapid.SampledFrom(to), 0, 3).Draw(r, "to"),
					Endpoints: rapid.SliceOfN(rapid.SampledFrom(from), 0, 2).Draw(r, "from")})
			}
			return p
		}
		a, b := draw("a"), draw("b")
		if rapid.Bool().Draw(r, "reworded") {
			b = policy.Policy{}
			for _, box := range a.Boxes() {
				b.Rules = append(b.Rules, policy.Rule{Group: "g0", Endpoints: []netip.Prefix{box.Client}, To: []netip.Prefix{box.Server}, Services: []flow.Service{box.Service}, Families: []flow.Family{box.Family}})
			}
			if rapid.Bool().Draw(r, "less") && len(b.Rules) > 0 {
				b.Rules = b.Rules[1:]
			}
		}
		got := policy.Equal(a, b)
		if got != sameDiagrams(t, a, b, []string{"g0"}) {
			r.Fatalf("Equal says %v of\n%v\n%v", got, a.Boxes(), b.Boxes())
		}
		if got {
			equal++
		}
	})
	if equal == 0 {
		t.Error("no two were equal")
	}
}

// exact is a policy as evidence gives it: one rule for each endpoint, server and
// service.
func exact(n, groups int) policy.Policy {
	var p policy.Policy
	for i := range n {
		e := i / 10
		p.Rules = append(p.Rules, policy.Rule{Group: fmt.Sprintf("g%d", i%groups), Reason: policy.Observed,
			Endpoints: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(e >> 16), byte(e >> 8), byte(e)}), 32)},
			To:        []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(i % 10), byte(i >> 8), byte(i * 7)}), 32)},
			Services:  []flow.Service{flow.Single(flow.TCP, uint16(1+i%3))}})
	}
	return p
}

// servers is a policy by destination and service.
func servers(n int) policy.Policy {
	r := rand.New(rand.NewPCG(1, 2))
	var p policy.Policy
	for range n {
		p.Rules = append(p.Rules, policy.Rule{Group: "g0", To: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(256))}), 24+8*r.IntN(2)).Masked()},
			Services: []flow.Service{flow.Single(flow.TCP, uint16(r.IntN(1000)))}})
	}
	return p
}

// reworded says the same with each network cut in two.
func reworded(p policy.Policy) policy.Policy {
	var q policy.Policy
	for _, r := range p.Rules {
		if len(r.To) == 1 && r.To[0].Bits() < 32 {
			a := r.To[0]
			b := a.Addr().As4()
			b[3] |= 128
			r.To = []netip.Prefix{netip.PrefixFrom(a.Addr(), 25), netip.PrefixFrom(netip.AddrFrom4(b), 25)}
		}
		q.Rules = append(q.Rules, r)
	}
	return q
}

func groupsOf(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("g%d", i))
	}
	return out
}

// BenchmarkEqual is why subtraction of boxes stays behind policy.Equal: the
// diagram is faster only where thousands of rules of one group say the same in
// other words.
func BenchmarkEqual(b *testing.B) {
	for _, c := range []struct {
		name   string
		p, q   policy.Policy
		groups []string
	}{
		{"exact=1000,groups=50", exact(1000, 50), exact(1000, 50), groupsOf(50)},
		{"exact=10000,groups=50", exact(10000, 50), exact(10000, 50), groupsOf(50)},
		{"exact=10000,groups=1", exact(10000, 1), exact(10000, 1), groupsOf(1)},
		{"servers=1000", servers(1000), reworded(servers(1000)), groupsOf(1)},
		{"servers=10000", servers(10000), reworded(servers(10000)), groupsOf(1)},
	} {
		b.Run("boxes/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !policy.Equal(c.p, c.q) {
					b.Fatal()
				}
			}
		})
		b.Run("diagram/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !sameDiagrams(b, c.p, c.q, c.groups) {
					b.Fatal()
				}
			}
		})
	}
}
