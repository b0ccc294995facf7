package lifeline

import (
	"net/netip"
	"testing"

	"weir/nft/eval"
	"weir/nft/host"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/plans"
)

// Renewals were denied, and exactly when the lease was over the address was
// gone: a machine that leases its address, or hands addresses out, goes on doing
// so under a step that denies everything.
func TestStory17LeasesAreRenewed(t *testing.T) {
	a := netip.MustParseAddr
	server := a("192.0.2.1")
	m := host.Machine{
		Leases:    []host.Lease{{Own: true, Addr: a("192.0.2.10"), Server: server}, {Own: true, Addr: a("2001:db8::10")}},
		Listeners: []host.Listener{{Proto: "udp", Addr: netip.MustParseAddrPort("0.0.0.0:67")}, {Proto: "udp", Addr: netip.MustParseAddrPort("[::]:547")}},
	}
	in := compile.Input{Scope: compile.Scope{Hooks: []string{"output"}, Inbound: "observe"},
		Groups:    []compile.Group{{Name: "machine", Self: true, Families: []flow.Family{flow.IPv4, flow.IPv6}, Treatment: compile.Drop}, {Name: plans.Unassigned, Treatment: compile.Drop}},
		Lifelines: Fixed(plans.Plan{Scope: plans.Scope{Hooks: []string{"output"}}}, m)}
	rev, err := compile.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	k := eval.NewMachine(rev.Skeleton, rev.Ruleset)
	if err := k.Stable(rev); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		from, to string
		sport    uint16
		port     uint16
		passes   bool
	}{
		{"asks anybody", "192.0.2.10", "255.255.255.255", 68, 67, true},
		{"renews with its server", "192.0.2.10", server.String(), 68, 67, true},
		{"renews with a stranger", "192.0.2.10", "198.51.100.7", 68, 67, false},
		{"asks every DHCPv6 server", "fe80::10", "ff02::1:2", 546, 547, true},
		{"renews with a DHCPv6 server on the link", "fe80::10", "fe80::1", 546, 547, true},
		{"DHCPv6 with a stranger", "2001:db8::10", "2001:db8:1::7", 546, 547, false},
		{"answers a client", "192.0.2.10", "192.0.2.77", 67, 68, true},
		{"answers a DHCPv6 client", "fe80::10", "fe80::77", 547, 546, true},
		{"something else", "192.0.2.10", server.String(), 68, 69, false},
	} {
		p := eval.NewPacket("o", flow.Flow{Client: a(c.from), Server: a(c.to), Proto: flow.UDP, Port: c.port})
		p.SrcPort, p.Out = c.sport, "eth0"
		got, err := k.Eval(p)
		if err != nil {
			t.Fatal(err)
		}
		if got.Passes() != c.passes {
			t.Errorf("%s: %s by %s", c.name, got.Verdict, got.Chain)
		}
	}
}
