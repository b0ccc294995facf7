package expect_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir/phases/compile"
	"weir/phases/expect"
	"weir/phases/flow"
	"weir/phases/policy"
)

// TestAgainstPackets: for made-up rules, a test that holds holds for every
// packet of a small world, and the packet that a failing one names is one that
// decides otherwise.
func TestAgainstPackets(t *testing.T) {
	servers := []string{"198.51.100.0/31", "198.51.100.0/32", "198.51.100.1/32", "198.51.100.2/32"}
	clients := []string{"10.20.16.0/31", "10.20.16.1/32", "10.20.16.0/30"}
	rapid.Check(t, func(rt *rapid.T) {
		prefix := func(from []string, what string) netip.Prefix {
			return netip.MustParsePrefix(rapid.SampledFrom(from).Draw(rt, what))
		}
		service := func() flow.Service {
			lo := rapid.IntRange(20, 24).Draw(rt, "lo")
			return flow.Service{Proto: flow.TCP, Lo: uint16(lo), Hi: uint16(rapid.IntRange(lo, 25).Draw(rt, "hi"))}
		}
		var in compile.Input
		for range rapid.IntRange(0, 4).Draw(rt, "rules") {
			r := policy.Rule{Group: "desks", Services: []flow.Service{service()}, Reason: policy.Observed}
			if rapid.Bool().Draw(rt, "to") {
				r.To = []netip.Prefix{prefix(servers, "server")}
			}
			if rapid.Bool().Draw(rt, "from") {
				r.Endpoints = []netip.Prefix{prefix(clients, "client")}
			}
			in.Policy.Rules = append(in.Policy.Rules, r)
		}
		if rapid.Bool().Draw(rt, "never") {
			in.Never = append(in.Never, compile.Never{Name: "n", To: []netip.Prefix{prefix(servers, "never")}, Services: []flow.Service{service()}})
		}
		if rapid.Bool().Draw(rt, "life") {
			in.Lifelines = append(in.Lifelines, compile.Lifeline{Name: "l", From: []netip.Prefix{prefix(clients, "lifeline")}, Services: []flow.Service{service()}})
		}
		passes := func(f flow.Flow) bool {
			for _, l := range in.Lifelines {
				if l.From[0].Contains(f.Client) && l.Services[0].Contains(f.Service()) {
					return true
				}
			}
			for _, n := range in.Never {
				if n.To[0].Contains(f.Server) && n.Services[0].Contains(f.Service()) {
					return false
				}
			}
			_, ok := policy.Allows(in.Policy, "desks", f)
			return ok
		}
		from, to, s := prefix(clients, "from"), prefix(servers, "to"), service()
		allowed := rapid.Bool().Draw(rt, "allowed")
		word := map[bool]string{true: "allowed", false: "denied"}[allowed]
		p := read(t, fmt.Sprintf("  - {from: [%s], to: [%s], services: [%s], expect: %s}\n", from, to, s, word))
		r := expect.Frozen(p, in)[0]
		all := true
		for c := from.Addr(); from.Contains(c); c = c.Next() {
			for d := to.Addr(); to.Contains(d); d = d.Next() {
				for port := s.Lo; port <= s.Hi; port++ {
					all = all && passes(flow.Flow{Client: c, Server: d, Proto: flow.TCP, Port: port}) == allowed
				}
			}
		}
		if (r.Verdict == expect.Holds) != all {
			rt.Fatalf("%s, but over all packets it is %v", r, all)
		}
		if r.Verdict != expect.Fails {
			return
		}
		words := strings.Fields(r.Packet)
		svc, err := flow.ParseService(words[3])
		if err != nil {
			rt.Fatal(err)
		}
		f := flow.Flow{Client: netip.MustParseAddr(words[0]), Server: netip.MustParseAddr(words[2]), Proto: svc.Proto, Port: svc.Lo}
		if !from.Contains(f.Client) || !to.Contains(f.Server) || !s.Contains(svc) || passes(f) == allowed {
			rt.Fatalf("%s: the packet is no example", r)
		}
	})
}
