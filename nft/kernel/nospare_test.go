package kernel_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/netns"
)

// Open connections between a pair that is never to be spared end while others
// are spared, in both families.
func TestNeverSpare(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	n := narrow(t, idA)
	must(t, l.Load(ctx, n))
	must(t, l.Client.Addr(netns.ClientIf, "10.20.16.11/24", "fd20:0:0:16::11/64"))
	var ends, stays []net.Conn
	from := func(addr, to string) net.Conn {
		var c net.Conn
		must(t, l.Client.Do(func() (err error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}, Timeout: time.Second}
			c, err = d.Dial("tcp", to+bad)
			return err
		}))
		t.Cleanup(func() { c.Close() })
		return c
	}
	ends = append(ends, from(netns.ClientIP4, outside["ipv4"]), from(netns.ClientIP6, outside["ipv6"]))
	stays = append(stays, from("10.20.16.11", outside["ipv4"]), from("fd20:0:0:16::11", outside["ipv6"]))
	must(t, l.Arm(ctx, nft.Arm{ID: idA, Entry: n.Entry, Tx: "a", Lease: time.Minute, Spare: []string{"desks"}}))
	must(t, l.Confirm(ctx, nft.Confirm{ID: idA, Entry: n.Entry, Tx: "c", Spare: []string{"desks"}, SpareFor: time.Minute}))
	for _, c := range append(ends, stays...) {
		must(t, netns.Exchange(c, time.Second))
	}
	pairs := [][2]netip.Addr{
		{netip.MustParseAddr(netns.ClientIP4), netip.MustParseAddr(netns.OutsideIP4)},
		{netip.MustParseAddr(netns.ClientIP6), netip.MustParseAddr(netns.OutsideIP6)},
	}
	must(t, l.NeverSpare(ctx, pairs, time.Minute))
	must(t, l.NeverSpare(ctx, pairs, time.Hour)) // again
	for i := range ends {
		if netns.Exchange(ends[i], 150*time.Millisecond) == nil {
			t.Error("a connection that is not to be spared goes on")
		}
		must(t, netns.Exchange(stays[i], time.Second))
	}

	// More pairs than are told apart: too many are judged, never too few.
	var many [][2]netip.Addr
	for i := range 1100 {
		many = append(many, [2]netip.Addr{netip.MustParseAddr("10.20.16.11"), netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})})
	}
	must(t, l.NeverSpare(ctx, many, time.Minute))
	for i, c := range stays {
		four := strings.Contains(c.LocalAddr().String(), ".")
		if err := netns.Exchange(c, 150*time.Millisecond); (err == nil) == four {
			t.Errorf("connection %d, %s: %v", i, c.LocalAddr(), err)
		}
	}
	for i := range 1100 {
		many = append(many, [2]netip.Addr{netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}), netip.MustParseAddr("203.0.113.1")})
	}
	must(t, l.NeverSpare(ctx, many, time.Minute))
	if list := nftIn(t, l.Gateway, "", "list", "set", "inet", "weir", "w_nospare4"); strings.Count(list, "expires") != 1 || !strings.Contains(list, "0.0.0.0/0 . 0.0.0.0/0") {
		t.Errorf("listed:\n%s", list)
	}
	if err := l.NeverSpare(ctx, pairs, 0); err == nil {
		t.Error("for no time at all")
	}
}
