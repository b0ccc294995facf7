package daemon

import (
	"net/netip"
	"slices"

	"weir/nft/host"
	"weir/plans"
)

// side says on which side of this machine an address is, as far as prefixes and
// routes tell.
type side string

const (
	insideOf side = "inside"
	outOf    side = "outside"
	ownOf    side = "own" // an address of this machine
)

func (d *Daemon) sideOf(p plans.Plan, a netip.Addr) (side, error) {
	machine, err := host.Look("/")
	if err != nil {
		return "", err
	}
	return sideIn(p.Scope, machine, a), nil
}

func sideIn(s plans.Scope, machine host.Machine, a netip.Addr) side {
	for _, i := range machine.Interfaces {
		if slices.ContainsFunc(i.Prefixes, func(p netip.Prefix) bool { return p.Addr() == a }) {
			return ownOf
		}
	}
	if insidePrefix(s, netip.PrefixFrom(a, a.BitLen())) || slices.ContainsFunc(waysTo(machine, a), func(iface string) bool { return slices.Contains(s.InsideIfaces, iface) }) {
		return insideOf
	}
	return outOf
}

// waysTo lists the interfaces by which the most specific routes reach an address.
func waysTo(machine host.Machine, a netip.Addr) []string {
	best, out := -1, []string(nil)
	for _, r := range machine.Routes {
		if !r.Dst.Contains(a) || r.Dst.Bits() < best {
			continue
		}
		if r.Dst.Bits() > best {
			best, out = r.Dst.Bits(), nil
		}
		for _, h := range r.Hops {
			out = append(out, h.Iface)
		}
	}
	return out
}
