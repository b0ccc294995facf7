package host

import (
	"net/netip"
	"time"
)

// Machine is what Look found. Lists are sorted and without duplicates.
type Machine struct {
	Interfaces  []Interface  `json:"interfaces"`
	Neighbours  []Neighbour  `json:"neighbours"`
	Routes      []Route      `json:"routes"`
	Resolvers   []Resolver   `json:"resolvers"`
	TimeServers []TimeServer `json:"timeServers"`
	Leases      []Lease      `json:"leases"`
	Sessions    []Session    `json:"sessions"`
	Listeners   []Listener   `json:"listeners"`
	Peers       []Peer       `json:"peers"`
	Daemons     []string     `json:"daemons"` // names of running programs that matter, see watched
	Chains      []Chain      `json:"chains"`  // nftables base chains, weir's own included
	Forwards4   bool         `json:"forwards4"`
	Forwards6   bool         `json:"forwards6"`
	Problems    []string     `json:"problems"` // what could not be read, in words
}

// Interface is a network interface with its addresses.
type Interface struct {
	Name     string         `json:"name"`
	Index    int            `json:"index"`
	MAC      string         `json:"mac,omitempty"`
	MTU      int            `json:"mtu"`
	Up       bool           `json:"up"`
	Loopback bool           `json:"loopback,omitempty"`
	Prefixes []netip.Prefix `json:"prefixes"` // the interface's own addresses with their lengths
}

// Neighbour is an entry of the ARP or neighbour discovery table with a link
// address.
type Neighbour struct {
	Addr   netip.Addr `json:"addr"`
	MAC    string     `json:"mac"`
	Iface  string     `json:"iface"`
	Router bool       `json:"router,omitempty"`
}

// Route is a unicast route of the main table. A default route has the length
// 0; one with several Hops is multipath.
type Route struct {
	Dst  netip.Prefix `json:"dst"`
	Hops []Hop        `json:"hops"`
}

// Hop is a way out. Via is the zero address on a link.
type Hop struct {
	Via   netip.Addr `json:"via,omitzero"`
	Iface string     `json:"iface"`
}

// Resolver is a name server that this machine asks.
type Resolver struct {
	Addr netip.Addr `json:"addr"`
	TLS  bool       `json:"tls,omitempty"` // port 853 as well
	File string     `json:"file"`
}

// TimeServer is an NTP server. Addr is valid where the configuration has an
// address instead of a name.
type TimeServer struct {
	Name string     `json:"name,omitempty"`
	Addr netip.Addr `json:"addr,omitzero"`
	NTS  bool       `json:"nts,omitempty"`
	File string     `json:"file"`
}

// Lease is a DHCP lease: one that this machine has (Own), or one that it hands
// out. Expires is zero where it never ends or the file does not say.
type Lease struct {
	Own     bool       `json:"own"`
	Addr    netip.Addr `json:"addr"`
	MAC     string     `json:"mac,omitempty"`
	Name    string     `json:"name,omitempty"`
	Server  netip.Addr `json:"server,omitzero"`
	Iface   string     `json:"iface,omitempty"`
	Expires time.Time  `json:"expires,omitzero"`
	File    string     `json:"file"`
}

// Session is a management connection into this machine.
type Session struct {
	Local, Remote netip.AddrPort
	Operator      bool   `json:"operator,omitempty"` // the one that this program was started from
	Program       string `json:"program,omitempty"`
}

// Listener is a socket that waits for others.
type Listener struct {
	Proto   string         `json:"proto"` // "tcp" or "udp"
	Addr    netip.AddrPort `json:"addr"`
	Program string         `json:"program,omitempty"`
}

// Peer is a neighbour of a routing protocol over TCP (BGP).
type Peer struct {
	Addr    netip.Addr `json:"addr"`
	Program string     `json:"program,omitempty"`
}

// Chain is an nftables base chain.
type Chain struct {
	Family   string `json:"family"`
	Table    string `json:"table"`
	Name     string `json:"name"`
	Type     string `json:"type"`
	Hook     string `json:"hook"`
	Priority int    `json:"priority"`
	Drops    bool   `json:"drops,omitempty"` // policy drop
}

// DefaultRoutes returns the routes to everywhere.
func (m Machine) DefaultRoutes() []Route {
	var out []Route
	for _, r := range m.Routes {
		if r.Dst.Bits() == 0 {
			out = append(out, r)
		}
	}
	return out
}

// Shares says why another machine may carry a part of the same traffic, so
// that what is seen here may not be all: nil when nothing speaks for it.
func (m Machine) Shares() []string {
	var why []string
	for _, d := range m.Daemons {
		if d == "keepalived" || d == "conntrackd" {
			why = append(why, d+" runs here: another gateway may carry the same traffic")
		}
	}
	for _, r := range m.DefaultRoutes() {
		if len(r.Hops) > 1 {
			why = append(why, "the default route "+r.Dst.String()+" has several ways: replies may come another way")
		}
	}
	return why
}
