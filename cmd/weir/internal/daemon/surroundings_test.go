package daemon

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"weir/nft/capture"
	"weir/nft/host"
	"weir/nft/kernel"
	"weir/plans"
)

// TestSurroundings: each thing that hides traffic is named once, by a name that
// stays, and stops a step where it must.
func TestSurroundings(t *testing.T) {
	scope := &plans.Scope{OutsideIfaces: []string{"wan0"}}
	route := func(dst string, ifaces ...string) host.Route {
		r := host.Route{Dst: netip.MustParsePrefix(dst)}
		for i, name := range ifaces {
			r.Hops = append(r.Hops, host.Hop{Via: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), Iface: name})
		}
		return r
	}
	for _, row := range []struct {
		name  string
		a     around
		scope *plans.Scope
		want  string // name and what it does to a step
	}{
		{"nothing", around{room: &capture.HeadRoom{Count: 10, Max: 100}}, scope, ""},
		{"nothing known of the table", around{}, scope, ""},
		{"a table near its limit", around{room: &capture.HeadRoom{Count: 75, Max: 100}}, scope, "conntrack pass"},
		{"a table at its limit", around{room: &capture.HeadRoom{Count: 95, Max: 100}}, scope, "conntrack fail"},
		{"other gateways", around{machine: host.Machine{Daemons: []string{"conntrackd", "bird", "keepalived"}}}, scope, "conntrackd cannot tell, keepalived cannot tell"},
		{"the default routes that the plan names", around{machine: host.Machine{Routes: []host.Route{route("0.0.0.0/0", "wan0"), route("::/0", "wan0"), route("10.0.0.0/8", "lan0")}}}, scope, ""},
		{"a default route by another interface", around{machine: host.Machine{Routes: []host.Route{route("0.0.0.0/0", "lte0"), route("::/0", "wan0")}}}, scope, "default-route:lte0 cannot tell"},
		{"the same, and no plan is known", around{machine: host.Machine{Routes: []host.Route{route("0.0.0.0/0", "lte0")}}}, nil, ""},
		{"equal-cost paths", around{machine: host.Machine{Routes: []host.Route{route("::/0", "wan0", "wan0")}}}, scope, "equal-cost:::/0 cannot tell"},
		{"other tables", around{bypasses: []kernel.Bypass{{Kind: "flowtable", Family: "inet", Table: "fw", Name: "fast"}, {Kind: "notrack", Family: "ip", Table: "raw", Name: "PREROUTING"},
			{Kind: "redirect", Family: "ip", Table: "nat", Name: "PREROUTING"}, {Kind: "tproxy", Family: "inet", Table: "squid", Name: "pre"}}}, scope,
			"flowtable:inet/fw/fast cannot tell, notrack:ip/raw/PREROUTING cannot tell, redirect:ip/nat/PREROUTING cannot tell, tproxy:inet/squid/pre cannot tell"},
		{"a bridge inside", around{hiding: host.Hiding{Bridges: []host.Bridge{{Name: "br0", Ports: []string{"lan0", "lan1"}}}}}, scope, "bridge:br0 pass"},
		{"a bridge from inside to outside", around{hiding: host.Hiding{Bridges: []host.Bridge{{Name: "br0", Ports: []string{"lan0", "wan0"}}}, Filtered: true}}, scope, "bridge:br0 cannot tell"},
		{"a filter of somebody's", around{machine: host.Machine{Chains: []host.Chain{{Family: "inet", Table: "fw", Name: "fwd", Hook: "forward", Priority: -5, Drops: true},
			{Family: "ip", Table: "filter", Name: "FORWARD", Hook: "forward"}, {Family: "inet", Table: "fw", Name: "in", Hook: "input", Drops: true}, {Family: "inet", Table: "weir", Name: "w_base_f", Hook: "forward", Drops: true}}}},
			scope, "chain:inet/fw/fwd pass"},
		{"VRFs and IPsec", around{hiding: host.Hiding{VRFs: []string{"blue"}, Policies: 2}}, scope, "vrf:blue cannot tell, ipsec cannot tell"},
	} {
		var got []string
		for _, x := range row.a.list(row.scope) {
			got = append(got, fmt.Sprint(x.Name, " ", x.Holds))
			if x.Words == "" || strings.ContainsAny(x.Name, " \n") {
				t.Errorf("%s: %+v", row.name, x)
			}
		}
		if s := strings.Join(got, ", "); s != row.want {
			t.Errorf("%s: %q, want %q", row.name, s, row.want)
		}
	}
}
