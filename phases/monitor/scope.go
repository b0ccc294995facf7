package monitor

import (
	"net/netip"
	"slices"

	"weir/phases/flow"
	"weir/plans"
)

// InScope says whether a record is of a flow that the plan judges: from inside
// to outside, opened inside; or, marked Inbound, opened outside towards inside.
// Dumps of the connection table hold everything that the machine does, and do
// not know who is outside: the record comes back with Inbound set where its
// client is. The rest is not evidence. Where only interfaces are named,
// addresses cannot tell, and everything that is not addressed to a special
// address is taken.
func InScope(s plans.Scope, r flow.Record) (flow.Record, bool) {
	r.Client, r.Server = r.Client.Unmap(), r.Server.Unmap()
	if !hooked(s, r.Hook) {
		return r, false
	}
	if outbound(s, r.Client, r.Server, r.Hook) && !r.Inbound {
		return r, true
	}
	if r.Hook != "output" && outbound(s, r.Server, r.Client, "") && len(s.Inside) > 0 || r.Inbound {
		r.Inbound = true
		return r, s.Inbound != "ignore" && !special(r.Client)
	}
	return r, false
}

// hooked says whether the plan judges what passes a hook: what this machine
// sends and receives itself only with "output".
func hooked(s plans.Scope, hook string) bool {
	switch hook {
	case "forward":
		return slices.Contains(s.Hooks, "forward")
	case "output", "input":
		return slices.Contains(s.Hooks, "output")
	}
	return true // from elsewhere: addresses decide
}

func outbound(s plans.Scope, inside, outside netip.Addr, hook string) bool {
	if special(outside) || special(inside) {
		return false
	}
	host := hook == "output" || !slices.Contains(s.Hooks, "forward")
	if len(s.Inside) > 0 && len(s.InsideIfaces) == 0 && !host && !contains(s.Inside, inside) {
		return false
	}
	if len(s.Outside) > 0 {
		return contains(s.Outside, outside)
	}
	return !contains(s.Inside, outside)
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) })
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func special(a netip.Addr) bool {
	return !a.IsValid() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() ||
		a.IsLinkLocalUnicast() || a == broadcast
}
