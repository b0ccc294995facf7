package compile_test

import (
	"fmt"
	"net/netip"
	"testing"

	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/policy"
)

// fleet is a step with n exact flows in 50 groups.
func fleet(n int, bits int) compile.Input {
	in := compile.Input{Scope: compile.Scope{Hooks: []string{"forward"}, Inside: prefixes("10.0.0.0/8", "fd00::/8"), Inbound: "observe"}}
	for g := range 50 {
		in.Groups = append(in.Groups, compile.Group{Name: fmt.Sprintf("g%d", g), Treatment: compile.Reject,
			Members: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(g), 0, 0}), 16)}})
	}
	for i := range n {
		g := i % 50
		in.Policy.Rules = append(in.Policy.Rules, policy.Rule{Group: fmt.Sprintf("g%d", g),
			Endpoints: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(g), byte(i >> 8), byte(i)}), 32)},
			To:        []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(i >> 16), byte(i >> 8), byte(i)}), bits).Masked()},
			Services:  []flow.Service{flow.Single(flow.TCP, uint16(i%1000+1))}})
	}
	return in
}

func BenchmarkCompile(b *testing.B) {
	for _, c := range []struct {
		name string
		n    int
		bits int
	}{{"exact", 10_000, 32}, {"exact", 100_000, 32}, {"exact", 1_000_000, 32}, {"ranges", 10_000, 24}, {"ranges", 50_000, 24}} {
		b.Run(fmt.Sprintf("%s=%d", c.name, c.n), func(b *testing.B) {
			in := fleet(c.n, c.bits)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := compile.Compile(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
