package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"weir/phases/flow"
)

// manyFlows is a policy of exact flows: each endpoint has ten servers.
func manyFlows(n int) Policy {
	var p Policy
	for i := range n {
		e := i / 10
		p.Rules = append(p.Rules, Rule{Group: fmt.Sprintf("g%d", i%50), Reason: Observed,
			Endpoints: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(e >> 16), byte(e >> 8), byte(e)}), 32)},
			To:        []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(i % 10), byte(i >> 8), byte(i * 7)}), 32)},
			Services:  []flow.Service{flow.Single(flow.TCP, uint16(1+i%3))}})
	}
	return p
}

func BenchmarkDiff(b *testing.B) {
	for _, n := range []int{1000, 10000, 100000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			p, q := manyFlows(n), Policy{}
			for g := range 50 {
				q.Rules = append(q.Rules, Rule{Group: fmt.Sprintf("g%d", g), Services: []flow.Service{{Proto: flow.TCP, Lo: 1, Hi: 2}}})
			}
			for b.Loop() {
				Diff(p, q)
			}
		})
	}
}

func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			p := manyFlows(n)
			x := NewIndex(p)
			f := flow.Flow{Client: p.Rules[7].Endpoints[0].Addr(), Server: p.Rules[7].To[0].Addr(), Proto: flow.TCP, Port: 1}
			for b.Loop() {
				x.Allows("g7", f)
			}
		})
	}
}

func BenchmarkEqual(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			p, q := manyFlows(n), manyFlows(n)
			for i := range q.Rules {
				q.Rules[i].Services = append([]flow.Service{flow.Single(flow.TCP, 9)}, q.Rules[i].Services...)
				p.Rules[i].Services = append(p.Rules[i].Services, flow.Single(flow.TCP, 9))
			}
			for b.Loop() {
				if !Equal(p, q) {
					b.Fatal("not equal")
				}
			}
		})
	}
}
