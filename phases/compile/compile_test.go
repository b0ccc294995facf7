package compile_test

import (
	"net/netip"
	"os/exec"
	"strings"
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

func services(list ...string) []flow.Service {
	var out []flow.Service
	for _, s := range list {
		v, err := flow.ParseService(s)
		if err != nil {
			panic(err)
		}
		out = append(out, v)
	}
	return out
}

// office is a step with every treatment and every kind of rule.
func office() compile.Input {
	return compile.Input{
		Scope: compile.Scope{
			Hooks:  []string{"forward", "output"},
			Inside: prefixes("10.20.0.0/16", "fd20::/48"), Outside: prefixes("0.0.0.0/0", "2000::/3"), OutsideIfaces: []string{"wan0"},
			InsideIfaces: []string{"lan0"}, Inbound: "refuse",
			InboundAllow: []compile.InboundRule{{To: prefixes("10.20.1.80", "fd20::80"), Services: services("tcp/443")}},
		},
		Groups: []compile.Group{
			{Name: "workstations", Members: prefixes("10.20.16.0/20", "fd20:0:0:16::/64"), Treatment: compile.Reject, Share: 5, ShareBy: "ipv4", Seed: 7},
			{Name: "servers", Members: prefixes("10.20.1.0/24", "fd20:0:0:1::/64"), Treatment: compile.Drop},
			{Name: "mail", Members: prefixes("10.20.1.25", "fd20:0:0:1::25"), Treatment: compile.Alert},
			{Name: "cameras", Members: prefixes("10.20.40.0/24"), Treatment: compile.Honeypot, Prefixes: prefixes("10.20.40.0/28")},
			{Name: "doorbell", MACs: []string{"02:00:5e:10:00:07"}, Treatment: compile.Reject, Share: 50, ShareBy: "mac", Seed: 9},
			{Name: "guests", Ifaces: []string{"guest0"}, Treatment: compile.Open},
			{Name: "me", Self: true, UIDs: []uint32{33, 1000}, Treatment: compile.Reject},
		},
		Policy: policy.Policy{Rules: []policy.Rule{
			{Group: "workstations", Services: services("tcp/80", "tcp/443", "udp/443", "esp", "icmp/8", "icmpv6/128")},
			{Group: "servers", To: prefixes("198.51.100.7", "2001:db8:1::7"), Services: services("tcp/443", "udp", "esp", "icmp/8", "icmpv6/128-129", "tcp/8000-8100")},
			{Group: "servers", Endpoints: prefixes("10.20.1.31"), To: prefixes("198.51.100.0/24"), Services: services("tcp/5432", "gre", "icmp")},
			{Group: "servers", Endpoints: prefixes("10.20.1.31", "fd20:0:0:1::31"), To: prefixes("198.51.100.9", "2001:db8:1::9"), Services: services("tcp/22", "icmp/8")},
			{Group: "mail", Endpoints: prefixes("10.20.1.25"), Services: services("tcp/25")},
			{Group: "me", Services: services("udp/53", "tcp/53")},
		}},
		Lifelines: []compile.Lifeline{
			{Name: "resolvers", To: prefixes("9.9.9.9", "2620:fe::fe"), Services: services("udp/53", "tcp/53")},
			{Name: "session", From: prefixes("10.20.0.1"), To: prefixes("192.0.2.10"), Services: services("tcp/22"), Reply: true},
			{Name: "sink", To: prefixes("192.0.2.0/28")},
		},
		Never: []compile.Never{
			{Name: "no-rdp", Services: services("tcp/3389", "tcp/23"), Deny: compile.Honeypot},
			{Name: "no-doc", Group: "servers", To: prefixes("203.0.113.0/24"), Deny: compile.Reject},
		},
		Links: prefixes("10.20.0.0/16", "fd20::/48"),
	}
}

func mustCompile(t testing.TB, in compile.Input) nft.Revision {
	t.Helper()
	rev, err := compile.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// checkWithNft has the nft program judge the text without loading it.
func checkWithNft(t *testing.T, text string) {
	t.Helper()
	c := exec.Command("unshare", "-n", "nft", "-c", "-f", "-")
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("nft refuses the text: %v\n%s\n%s", err, out, text)
	}
}

func TestNftTakesTheText(t *testing.T) {
	rev := mustCompile(t, office())
	checkWithNft(t, rev.Skeleton.String()+rev.Ruleset.String())
}
