package netns

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The kernel finishes links and IPv6 addresses in the background. What is sent
// before is lost without an error, and comes a second later where somebody
// sends it again.

// until waits for ready, which is cheap to ask.
func (n *NS) until(what string, ready func() (bool, error)) error {
	const patience, pause = 5 * time.Second, 100 * time.Microsecond
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		ok := false
		err := n.Do(func() (err error) {
			ok, err = ready()
			return err
		})
		if err != nil || ok {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s in %s: not within %v", what, n.name, patience)
		}
	}
}

// carries waits until an interface that is up has its queue, and the
// link-local address from which a router asks for neighbours.
func (n *NS) carries(iface string) error {
	return n.until(iface+" carries packets", func() (bool, error) {
		l, err := n.nl.LinkByName(iface)
		if err != nil || l.Attrs().OperState != netlink.OperUp {
			return false, err
		}
		off, err := readSysctl("net/ipv6/conf/" + iface + "/disable_ipv6")
		if err != nil || off == "1" {
			return err == nil, err
		}
		addrs, err := n.nl.AddrList(l, netlink.FAMILY_V6)
		for _, a := range addrs {
			if a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
				return true, nil
			}
		}
		return false, err
	})
}

// listens waits until an interface has joined the multicast group in which
// neighbours ask for an address (RFC 4291, 2.7.1).
func (n *NS) listens(iface string, a netip.Addr) error {
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	own := a.As16()
	copy(group[13:], own[13:])
	want := " " + iface + " " + hex.EncodeToString(group[:]) + " "
	return n.until(a.String()+" on "+iface+" is heard", func() (bool, error) {
		b, err := os.ReadFile("/proc/thread-self/net/igmp6")
		return strings.Contains(strings.Join(strings.Fields(string(b)), " "), want), err
	})
}
