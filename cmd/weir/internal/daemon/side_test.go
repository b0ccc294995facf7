package daemon

import (
	"net/netip"
	"testing"

	"weir/nft/host"
	"weir/plans"
)

func TestSide(t *testing.T) {
	hop := func(iface string) []host.Hop { return []host.Hop{{Iface: iface}} }
	m := host.Machine{
		Interfaces: []host.Interface{{Name: "lan0", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.20.16.1/24")}}},
		Routes: []host.Route{
			{Dst: netip.MustParsePrefix("0.0.0.0/0"), Hops: hop("wan0")}, {Dst: netip.MustParsePrefix("::/0"), Hops: hop("wan0")},
			{Dst: netip.MustParsePrefix("10.20.0.0/16"), Hops: hop("lan0")}, {Dst: netip.MustParsePrefix("10.20.99.0/24"), Hops: hop("wan0")},
			{Dst: netip.MustParsePrefix("fd20::/48"), Hops: hop("lan0")},
		},
	}
	byIface := plans.Scope{InsideIfaces: []string{"lan0"}}
	byPrefix := plans.Scope{Inside: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}}
	for _, c := range []struct {
		scope plans.Scope
		addr  string
		want  side
	}{
		{byIface, "10.20.16.10", insideOf}, {byIface, "10.20.55.10", insideOf}, {byIface, "fd20::1", insideOf},
		{byIface, "10.20.99.10", outOf}, {byIface, "198.51.100.7", outOf}, {byIface, "2001:db8::1", outOf},
		{byIface, "10.20.16.1", ownOf}, {byPrefix, "10.20.16.1", ownOf},
		{byPrefix, "10.20.99.10", insideOf}, {byPrefix, "fd20::1", outOf},
	} {
		if got := sideIn(c.scope, m, netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s with %+v is %s, want %s", c.addr, c.scope, got, c.want)
		}
	}
}
