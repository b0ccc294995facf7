package capture

import (
	"net/netip"
	"testing"
	"time"

	"weir/nft/netns"
)

// Through masquerading and DNAT the tuple is what a filter rule sees, in the
// log and in the connection table alike, and the address that the client asked
// for is kept beside it.
func TestStory19TupleBehindNAT(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules+`
table inet nat {
  chain pre { type nat hook prerouting priority -100; policy accept;
    ip daddr 203.0.113.9 tcp dport 8443 dnat ip to 198.51.100.7:443
    ip6 daddr 2001:db8:9::9 tcp dport 8443 dnat ip6 to [2001:db8:1::7]:443
  }
  chain post { type nat hook postrouting priority 100; policy accept; oifname "wan0" masquerade; }
}`)
	opt := prepare(t, lab.Gateway)
	log, seen := startLog(t, opt, 100)
	_, ended := startConnections(t, opt)
	if err := lab.Outside.EchoTCP("198.51.100.7:443", "[2001:db8:1::7]:443"); err != nil {
		t.Fatal(err)
	}
	type test struct{ client, server, dial, asked string }
	tests := []test{
		{netns.ClientIP4, netns.OutsideIP4, "203.0.113.9:8443", "203.0.113.9:8443"},
		{netns.ClientIP6, netns.OutsideIP6, "[2001:db8:9::9]:8443", "[2001:db8:9::9]:8443"},
	}
	for _, c := range tests {
		if err := lab.Client.Try("tcp", c.dial, 2*time.Second); err != nil {
			t.Fatal(err)
		}
		r := seen.wait(t, c.dial, is(c.client, c.server, "tcp/443"))
		// A kernel that cannot put the connection into the line leaves what was
		// asked for to the connection table.
		if want := netip.MustParseAddrPort(c.asked); r.Asked.IsValid() != log.Stats().Tracked || r.Asked.IsValid() && r.Asked != want {
			t.Errorf("the log says that %v was asked for, want %s", r.Asked, c.asked)
		}
	}
	deleteAll(t, opt)
	for _, c := range tests {
		r := ended.wait(t, c.dial, closed(is(c.client, c.server, "tcp/443")))
		if r.Asked != netip.MustParseAddrPort(c.asked) {
			t.Errorf("the event says that %v was asked for, want %s", r.Asked, c.asked)
		}
	}
}
