package bench

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	vnetlink "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/nft/capture"
	"weir/nft/netns"
)

// Where the packets of a gateway go to: networks behind a router that does not
// exist. The far end of the outside link drops them at its first look, as they
// are for another machine's hardware address.
const (
	far4    = "198.18.0.0/15"
	far6    = "2001:db8:2::/48"
	router4 = "198.51.100.99"
	router6 = "2001:db8:1::99"
)

// gateway is a lab of its own for each ruleset, so that they can be measured in
// turns.
type gateway struct {
	*netns.Lab
	*wire
	name    string
	filters bool // it has rules that deny
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newLab(t testing.TB) *netns.Lab {
	t.Helper()
	lab, err := netns.NewLab()
	must(t, err)
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	return lab
}

func newGateway(t testing.TB, name string) *gateway {
	t.Helper()
	g := &gateway{Lab: newLab(t), name: name}
	g.wire = openWire(t, g.Lab)
	for k, v := range map[string]string{"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf." + netns.InsideIf + ".rp_filter": "0",
		"net.netfilter.nf_conntrack_udp_timeout": "600", "net.netfilter.nf_conntrack_udp_timeout_stream": "600"} {
		must(t, g.Gateway.Sysctl(k, v))
	}
	must(t, g.Gateway.Do(func() error {
		link, err := vnetlink.LinkByName(netns.OutsideIf)
		if err != nil {
			return err
		}
		for _, r := range []string{router4, router6} {
			err := vnetlink.NeighAdd(&vnetlink.Neigh{LinkIndex: link.Attrs().Index, IP: net.ParseIP(r),
				State: vnetlink.NUD_PERMANENT, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 0x99}})
			if err != nil {
				return fmt.Errorf("neighbour %s: %w", r, err)
			}
		}
		return nil
	}))
	must(t, g.Gateway.Route(far4, router4))
	must(t, g.Gateway.Route(far6, router6))
	return g
}

// nft loads text with the nft program.
func (g *gateway) nft(t testing.TB, text string) {
	t.Helper()
	c := g.Gateway.Command("nft", "-f", "-")
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out[:min(len(out), 2000)])
	}
}

// passed is how many packets have left by the outside interface.
func (g *gateway) passed(t testing.TB) uint64 {
	t.Helper()
	n, err := capture.InterfaceBytes(capture.Options{NetNS: g.Gateway.FD()}, netns.OutsideIf)
	must(t, err)
	return n[netns.OutsideIf].TXPackets
}

// forget empties the gateway's connection table.
func (g *gateway) forget(t testing.TB) {
	t.Helper()
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: g.Gateway.FD()})
	must(t, err)
	defer c.Close()
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | 2, Flags: netlink.Request | netlink.Acknowledge},
		Data:   []byte{unix.AF_UNSPEC, 0, 0, 0},
	})
	must(t, err)
}

func median[T time.Duration | float64](v []T) T {
	s := slices.Clone(v)
	slices.Sort(s)
	if len(s) == 0 {
		return 0
	}
	return s[len(s)/2]
}
