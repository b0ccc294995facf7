package plans

import (
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"
)

// Classifier says which group an endpoint is in, as the kernel decides it. It
// never changes and may be used by several goroutines.
type Classifier struct {
	inside bart.Lite
	any    bool // no inside prefixes: every source is inside
	links  bart.Lite
	linked bool
	macs   map[string]string
	ifaces map[string]string
	byAddr bart.Table[string]
	uids   map[uint32]string
	self   string
}

// NewClassifier prepares a plan's groups. Links are the prefixes of this
// machine's own inside links: a MAC address counts only with a source in one
// of them, since behind a router it is the router's. Without links any inside
// source counts.
func NewClassifier(p *Plan, links ...netip.Prefix) *Classifier {
	c := &Classifier{macs: map[string]string{}, ifaces: map[string]string{}, uids: map[uint32]string{},
		any: len(p.Scope.Inside) == 0, linked: len(links) > 0, self: Unassigned}
	for _, x := range p.Scope.Inside {
		c.inside.Insert(x)
	}
	for _, x := range links {
		c.links.Insert(x)
	}
	for _, g := range p.Groups {
		for _, m := range g.Members {
			c.byAddr.Insert(m, g.Name)
		}
		for _, m := range g.MACs {
			c.macs[m] = g.Name
		}
		for _, i := range g.Ifaces {
			c.ifaces[i] = g.Name
		}
		for _, u := range g.UIDs {
			c.uids[u] = g.Name
		}
		if g.Self && len(g.UIDs) == 0 {
			c.self = g.Name
		}
	}
	return c
}

// Group returns the group of a source that was forwarded: by its MAC address,
// then the longest prefix, then the interface it came in by; else Unassigned.
// An empty mac or iface is not known. IPv4 in IPv6 counts as IPv4.
func (c *Classifier) Group(src netip.Addr, mac, iface string) string {
	src = src.Unmap().WithZone("")
	if mac != "" && c.near(src) {
		if g, ok := c.macs[strings.ToLower(mac)]; ok {
			return g
		}
	}
	if g, ok := c.byAddr.Lookup(src); ok {
		return g
	}
	if g, ok := c.ifaces[iface]; ok && iface != "" {
		return g
	}
	return Unassigned
}

// near says whether a MAC address seen with this source is the source's own.
func (c *Classifier) near(src netip.Addr) bool {
	if c.linked {
		return c.links.Contains(src)
	}
	return c.any || c.inside.Contains(src)
}

// GroupSelf returns the group of what this machine itself sends: that of the
// socket's user, else the one for the whole machine, else Unassigned. A nil
// uid is not known.
func (c *Classifier) GroupSelf(uid *uint32) string {
	if uid != nil {
		if g, ok := c.uids[*uid]; ok {
			return g
		}
	}
	return c.self
}
