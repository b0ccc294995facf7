package demo

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"weir/nft/netns"
)

// host is one machine of the small office.
type host struct {
	name   string
	v4, v6 string // without the prefix length
	mac    string // "": the kernel chooses
	ns     *netns.NS
}

// network is the office: hosts on one flat link behind a masquerading gateway,
// and an "Internet" that answers.
//
//	desks, a stranger, server, mail relay, camera, doorbell ── lan0 gateway wan0 ── internet
type network struct {
	arrived  atomic.Int64 // remote desktop connections that reached the Internet
	gateway  *netns.NS
	internet *netns.NS
	hosts    map[string]*host
}

// The addresses of the Internet's services.
const (
	webV4, webV6       = "198.51.100.7", "2001:db8:100::7"
	mailV4, mailV6     = "198.51.100.25", "2001:db8:100::25"
	updateV4, updateV6 = "203.0.113.5", "2001:db8:113::5"
	vendorV4, vendorV6 = "203.0.113.66", "2001:db8:113::66" // where the camera phones home
	gwV4, gwV6         = "10.20.0.1", "fd20::1"
)

// shop is one of the many web servers that people visit.
func shop(i int) site {
	i = i%shops + firstShop
	return site{fmt.Sprintf("198.51.100.%d", i), fmt.Sprintf("2001:db8:100::1:%d", i)}
}

const firstShop, shops = 101, 100

func wideWeb() []string {
	var out []string
	for i := range shops {
		out = append(out, shop(i).v4+"/32", shop(i).v6+"/128")
	}
	return out
}

func (n *network) build() error {
	var err error
	if n.gateway, err = netns.New("gateway"); err != nil {
		return err
	}
	if n.internet, err = netns.New("internet"); err != nil {
		return err
	}
	hosts := []*host{
		{name: "desk1", v4: "10.20.16.11", v6: "fd20:0:0:16::11"},
		{name: "desk2", v4: "10.20.16.12", v6: "fd20:0:0:16::12"},
		{name: "stranger", v4: "10.20.16.66", v6: "fd20:0:0:16::66"}, // somebody's laptop on a desk's socket
		{name: "server", v4: "10.20.1.10", v6: "fd20:0:0:1::10"},
		{name: "mail", v4: "10.20.1.25", v6: "fd20:0:0:1::25"},
		{name: "camera", v4: "10.20.40.9", v6: "fd20:0:0:40::9"},
		{name: "doorbell", v4: "10.20.40.77", v6: "fd20:0:0:40::77", mac: "02:00:5e:10:00:07"},
	}
	n.hosts = map[string]*host{}
	if err := n.gateway.Forward(); err != nil {
		return err
	}
	var ports []string
	for i, h := range hosts {
		if h.ns, err = netns.New(h.name); err != nil {
			return err
		}
		n.hosts[h.name] = h
		port := fmt.Sprintf("port%d", i)
		ports = append(ports, port)
		if h.mac == "" {
			h.mac = fmt.Sprintf("02:00:5e:20:00:%02x", i+1)
		}
		mac, err := net.ParseMAC(h.mac)
		if err != nil {
			return err
		}
		if err := netns.Link(h.ns, "eth0", n.gateway, port, mac); err != nil {
			return err
		}
		if err := h.ns.Addr("eth0", h.v4+"/16", h.v6+"/48"); err != nil {
			return err
		}
	}
	if err := n.gateway.Bridge("lan0", ports...); err != nil {
		return err
	}
	if err := netns.Link(n.gateway, "wan0", n.internet, "eth0"); err != nil {
		return err
	}
	if err := errors.Join(
		n.gateway.Addr("lan0", gwV4+"/16", gwV6+"/48"),
		n.gateway.Addr("wan0", "192.0.2.1/24", "2001:db8::1/64"),
		n.internet.Addr("eth0", "192.0.2.254/24", "2001:db8::fe/64"),
		n.internet.Addr("lo", webV4+"/32", mailV4+"/32", updateV4+"/32", vendorV4+"/32",
			webV6+"/128", mailV6+"/128", updateV6+"/128", vendorV6+"/128"),
		n.internet.Addr("lo", wideWeb()...),
		n.gateway.Route("default4", "192.0.2.254"),
		n.gateway.Route("default6", "2001:db8::fe"),
		n.gateway.Masquerade("wan0"),
	); err != nil {
		return err
	}
	for _, h := range hosts {
		if err := errors.Join(h.ns.Route("default4", gwV4), h.ns.Route("default6", gwV6)); err != nil {
			return err
		}
	}
	return n.services()
}

// services starts what the Internet answers: web (TCP and UDP), mail, names,
// time, a database and remote desktop. Everything echoes what it is sent; ping
// is answered by the kernel.
func (n *network) services() error {
	const both = "::" // every address of both families
	for _, port := range []string{"80", "443", "25", "587", "5432", "8883"} {
		if err := n.internet.EchoTCP(net.JoinHostPort(both, port)); err != nil {
			return err
		}
	}
	if err := n.internet.ServeTCP(net.JoinHostPort(both, "3389"), func(c net.Conn) {
		n.arrived.Add(1)
		io.Copy(c, c) //nolint:errcheck // the peer has gone
	}); err != nil {
		return err
	}
	// An answer by UDP must come from the address that was asked.
	for _, a := range []string{webV4, webV6, mailV4, mailV6, updateV4, updateV6, vendorV4, vendorV6} {
		for _, port := range []string{"53", "123", "443"} {
			if err := n.internet.EchoUDP(net.JoinHostPort(a, port)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *network) close() error {
	var errs []error
	for _, h := range n.hosts {
		errs = append(errs, h.ns.Close())
	}
	for _, ns := range []*netns.NS{n.gateway, n.internet} {
		if ns != nil {
			errs = append(errs, ns.Close())
		}
	}
	return errors.Join(errs...)
}
