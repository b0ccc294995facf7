package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// index numbers the first end of each pair. Where both ends had the same
// number (each namespace counts from 1), the kernel would take the pair for
// one device and delay its start by up to a second (net/core/link_watch.c).
var index atomic.Int32

const firstIndex = 1000

// Link joins two namespaces by a pair of virtual Ethernet interfaces, sets
// both up and waits until they carry packets. The first MAC address is that of aIf, the second that of bIf; the
// kernel chooses what is missing or nil.
func Link(a *NS, aIf string, b *NS, bIf string, macs ...net.HardwareAddr) error {
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: aIf, MTU: 1500, TxQLen: 1000, Index: firstIndex + int(index.Add(1))},
		PeerName:      bIf,
		PeerNamespace: netlink.NsFd(b.FD()),
	}
	if len(macs) > 0 {
		pair.HardwareAddr = macs[0]
	}
	if len(macs) > 1 {
		pair.PeerHardwareAddr = macs[1]
	}
	err := a.Do(func() error { return a.nl.LinkAdd(pair) })
	if err == nil {
		err = errors.Join(a.Up(aIf), b.Up(bIf))
	}
	if err == nil {
		err = errors.Join(a.carries(aIf), b.carries(bIf))
	}
	if err != nil {
		return fmt.Errorf("cannot link %s %s with %s %s: %w", a.name, aIf, b.name, bIf, err)
	}
	return nil
}

// Bridge makes a switch in the namespace and puts interfaces on it, all set
// up, and waits until it carries packets. The other ends must be up.
func (n *NS) Bridge(name string, ports ...string) error {
	err := n.with("make bridge "+name, func() error {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
		if err := n.nl.LinkAdd(br); err != nil {
			return err
		}
		for _, p := range ports {
			l, err := n.nl.LinkByName(p)
			if err == nil {
				err = errors.Join(n.nl.LinkSetMaster(l, br), n.nl.LinkSetUp(l))
			}
			if err != nil {
				return fmt.Errorf("port %s: %w", p, err)
			}
		}
		return n.nl.LinkSetUp(br)
	})
	for _, p := range ports {
		if err == nil {
			err = n.carries(p)
		}
	}
	if err == nil && len(ports) > 0 {
		err = n.carries(name)
	}
	return err
}

// Up sets an interface up.
func (n *NS) Up(iface string) error {
	return n.onLink("set up", iface, n.nl.LinkSetUp)
}

// Down sets an interface down; its routes go with it.
func (n *NS) Down(iface string) error {
	return n.onLink("set down", iface, n.nl.LinkSetDown)
}

// Addr adds addresses to an interface: "10.20.16.10/24", "fd20:0:0:16::10/64".
// IPv6 addresses are usable at once where the interface carries packets.
func (n *NS) Addr(iface string, prefixes ...string) error {
	var six []netip.Addr
	err := n.onLink("add addresses to", iface, func(l netlink.Link) error {
		for _, text := range prefixes {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return err
			}
			a := &netlink.Addr{IPNet: ipNet(p, p.Addr())}
			if p.Addr().Is6() {
				a.Flags = unix.IFA_F_NODAD
				if l.Attrs().OperState == netlink.OperUp {
					six = append(six, p.Addr())
				}
			}
			if err := n.nl.AddrAdd(l, a); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
		}
		return nil
	})
	for _, a := range six {
		if err == nil {
			err = n.listens(iface, a)
		}
	}
	return err
}

// Route sends packets for dst ("default4", "default6" or a prefix) to the
// router via, which must be on a link.
func (n *NS) Route(dst, via string) error {
	return n.with("add a route to "+dst, func() error {
		switch dst {
		case "default4":
			dst = "0.0.0.0/0"
		case "default6":
			dst = "::/0"
		}
		p, err := netip.ParsePrefix(dst)
		if err != nil {
			return err
		}
		gw, err := netip.ParseAddr(via)
		if err != nil {
			return err
		}
		return n.nl.RouteAdd(&netlink.Route{Dst: ipNet(p, p.Masked().Addr()), Gw: gw.AsSlice()})
	})
}

// RoutesOn sends packets for prefixes out of interfaces without a router: pairs
// of prefix and interface.
func (n *NS) RoutesOn(pairs [][2]string) error {
	return n.with("add routes", func() error {
		for _, r := range pairs {
			p, err := netip.ParsePrefix(r[0])
			if err != nil {
				return err
			}
			l, err := n.nl.LinkByName(r[1])
			if err != nil {
				return fmt.Errorf("%s: %w", r[1], err)
			}
			err = n.nl.RouteReplace(&netlink.Route{Dst: ipNet(p, p.Masked().Addr()), LinkIndex: l.Attrs().Index, Scope: netlink.SCOPE_LINK})
			if err != nil {
				return fmt.Errorf("%s on %s: %w", p, r[1], err)
			}
		}
		return nil
	})
}

// NoNeighbours makes an interface send every packet without asking for a link
// address first.
func (n *NS) NoNeighbours(iface string) error {
	return n.onLink("switch neighbours off on", iface, n.nl.LinkSetARPOff)
}

// MAC returns an interface's hardware address.
func (n *NS) MAC(iface string) (net.HardwareAddr, error) {
	var mac net.HardwareAddr
	err := n.onLink("read", iface, func(l netlink.Link) error {
		mac = l.Attrs().HardwareAddr
		return nil
	})
	return mac, err
}

func (n *NS) onLink(what, iface string, f func(netlink.Link) error) error {
	return n.with(what+" "+iface, func() error {
		l, err := n.nl.LinkByName(iface)
		if err != nil {
			return err
		}
		return f(l)
	})
}

func (n *NS) with(what string, f func() error) error {
	if err := n.Do(f); err != nil {
		return fmt.Errorf("cannot %s in %s: %w", what, n.name, err)
	}
	return nil
}

func ipNet(p netip.Prefix, a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(p.Bits(), a.BitLen())}
}
