package kernel_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"weir/nft"
)

// What was logged as denied is logged again after it was forgotten; other memories
// stay.
func TestForgetDenied(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	must(t, l.ForgetDenied(ctx)) // no table yet
	n := narrow(t, idA)
	must(t, l.Load(ctx, n))
	must(t, l.Arm(ctx, nft.Arm{ID: idA, Entry: n.Entry, Tx: "a", Lease: time.Minute}))
	nftIn(t, l.Gateway, `table inet weir {
	set w_d4_desks { type ipv4_addr; flags dynamic,timeout; timeout 1h; elements = { 10.0.0.1 } }
	set w_db6 { type ipv6_addr; flags dynamic,timeout; timeout 1h; elements = { fd20::1 } }
	set w_a4_desks { type ipv4_addr; flags dynamic,timeout; timeout 1h; elements = { 10.0.0.2 } }
	set w_drop { type ipv4_addr; elements = { 10.0.0.3 } }
}`, "-f", "-")
	must(t, l.ForgetDenied(ctx))
	list := nftIn(t, l.Gateway, "", "list", "table", "inet", "weir")
	for addr, stays := range map[string]bool{"10.0.0.1": false, "fd20::1": false, "10.0.0.2": true, "10.0.0.3": true} {
		if strings.Contains(list, addr) != stays {
			t.Errorf("%s is there: %v\n%s", addr, !stays, list)
		}
	}
}
