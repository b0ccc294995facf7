package honeypot

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"weir/nft/capture"
	"weir/phases/flow"
)

// Redirected tells the entries of redirected connections from all others: those
// whose answers come from Port of this machine although the client asked for
// somebody else.
type Redirected struct {
	Port uint16
	Mine map[netip.Addr]bool // this machine's addresses
}

// Find reads this machine's addresses in the calling thread's network
// namespace.
func Find(port uint16) (Redirected, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return Redirected{}, fmt.Errorf("cannot list this machine's addresses: %w", err)
	}
	r := Redirected{Port: port, Mine: map[netip.Addr]bool{}}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				r.Mine[ip.Unmap()] = true
			}
		}
	}
	return r, nil
}

// Is says whether a record of the connection table is of a redirected
// connection: its server is the source of the reply tuple, and Asked is set
// where the client asked for another.
func (r Redirected) Is(c flow.Record) bool {
	return c.Proto == flow.TCP && c.Port == r.Port && r.Mine[c.Server] && c.Asked.IsValid() && !r.Mine[c.Asked.Addr()]
}

// End deletes the entries of redirected connections from the connection table,
// and no others. It returns how many.
func (r Redirected) End(ctx context.Context, opt capture.Options) (int, error) {
	n, err := capture.DeleteConnections(ctx, opt, r.Is)
	if err != nil {
		return n, fmt.Errorf("cannot end what was captured: %w", err)
	}
	return n, nil
}
