package kernel_test

import (
	"net/netip"
	"testing"

	"weir/nft"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/policy"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a := netip.MustParseAddr(s)
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p)
	}
	return out
}

func services(t testing.TB, list ...string) []flow.Service {
	t.Helper()
	var out []flow.Service
	for _, s := range list {
		v, err := flow.ParseService(s)
		must(t, err)
		out = append(out, v)
	}
	return out
}

// office is a compiled step with every statement that weir writes.
func office(t testing.TB) nft.Revision {
	t.Helper()
	rev, err := compile.Compile(compile.Input{
		Scope: compile.Scope{
			Hooks:  []string{"forward", "output"},
			Inside: prefixes("10.20.0.0/16", "fd20::/48"), OutsideIfaces: []string{"wan0"},
			InsideIfaces: []string{"lan0", "lan1"}, Inbound: "refuse",
			InboundAllow: []compile.InboundRule{{To: prefixes("10.20.1.80", "fd20::80"), Services: services(t, "tcp/443")}},
		},
		Groups: []compile.Group{
			{Name: "workstations", Members: prefixes("10.20.16.0/20", "fd20:0:0:16::/64"), Treatment: compile.Reject, Share: 5, ShareBy: "ipv4", Seed: 7},
			{Name: "servers", Members: prefixes("10.20.1.0/24", "fd20:0:0:1::/64"), Treatment: compile.Drop},
			{Name: "cameras", Members: prefixes("10.20.40.0/24"), Treatment: compile.Honeypot, Prefixes: prefixes("10.20.40.0/28")},
			{Name: "doorbell", MACs: []string{"02:00:5e:10:00:07"}, Treatment: compile.Reject, Share: 50, ShareBy: "mac", Seed: 9},
			{Name: "guests", Ifaces: []string{"guest0"}, Treatment: compile.Open},
			{Name: "me", Self: true, UIDs: []uint32{33, 1000}, Treatment: compile.Reject},
		},
		Policy: policy.Policy{Rules: []policy.Rule{
			{Group: "workstations", Services: services(t, "tcp/80", "tcp/443", "udp/443", "esp", "icmp/8", "icmpv6/128")},
			{Group: "servers", To: prefixes("198.51.100.7", "2001:db8:1::7"), Services: services(t, "tcp/443", "udp", "esp", "icmp/8", "icmpv6/128-129", "tcp/8000-8100")},
			{Group: "servers", Endpoints: prefixes("10.20.1.31"), To: prefixes("198.51.100.0/24"), Services: services(t, "tcp/5432", "gre", "icmp")},
			{Group: "servers", Endpoints: prefixes("10.20.1.31", "fd20:0:0:1::31"), To: prefixes("198.51.100.9", "2001:db8:1::9"), Services: services(t, "tcp/22", "icmp/8")},
			{Group: "me", Services: services(t, "udp/53", "tcp/53")},
		}},
		Lifelines: []compile.Lifeline{
			{Name: "resolvers", To: prefixes("9.9.9.9", "2620:fe::fe"), Services: services(t, "udp/53", "tcp/53")},
			{Name: "session", From: prefixes("10.20.0.1"), To: prefixes("192.0.2.10"), Services: services(t, "tcp/22"), Reply: true},
		},
		Never: []compile.Never{
			{Name: "no-rdp", Services: services(t, "tcp/3389", "tcp/23"), Deny: compile.Honeypot},
			{Name: "no-doc", Group: "servers", To: prefixes("203.0.113.0/24"), Deny: compile.Reject},
		},
		Links: prefixes("10.20.0.0/16", "fd20::/48"),
	})
	must(t, err)
	return rev
}
