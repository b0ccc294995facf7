package honeypot

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"weir/nft/capture"
	"weir/phases/flow"
)

// End deletes the entries of redirected connections from the connection table,
// and no others: those whose answers come from this port of this machine
// although the client asked for somebody else. It returns how many. The calling
// thread's namespace must be that of the options.
func End(ctx context.Context, opt capture.Options, port uint16) (int, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return 0, fmt.Errorf("cannot list this machine's addresses: %w", err)
	}
	mine := map[netip.Addr]bool{}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				mine[ip.Unmap()] = true
			}
		}
	}
	n, err := capture.DeleteConnections(ctx, opt, func(r flow.Record) bool { return captured(r, port, mine) })
	if err != nil {
		return n, fmt.Errorf("cannot end what was captured: %w", err)
	}
	return n, nil
}

// captured: a record's server is the source of the reply tuple, and Asked is
// set where the client asked for another.
func captured(r flow.Record, port uint16, mine map[netip.Addr]bool) bool {
	return r.Proto == flow.TCP && r.Port == port && mine[r.Server] && r.Asked.IsValid() && !mine[r.Asked.Addr()]
}
