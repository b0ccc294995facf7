package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"weir/phases/flow"
)

// Lifeline is what no step may cut, as narrow as the machine's own
// configuration allows. From empty means this machine itself. Neighbour
// discovery, router advertisements, MLD, ICMP errors and packet-too-big are not
// listed: every revision passes them.
type Lifeline struct {
	Name     string         `json:"name"`
	From     []netip.Prefix `json:"from,omitempty"`
	To       []netip.Prefix `json:"to,omitempty"`
	Names    []string       `json:"names,omitempty"` // destinations that are known by name only, see Resolve
	Services []flow.Service `json:"services"`
	Reply    bool           `json:"reply,omitempty"` // stateless, in the answer's direction: Services are source ports
	Why      string         `json:"why"`
}

var (
	dns    = []flow.Service{flow.Single(flow.UDP, 53), flow.Single(flow.TCP, 53)}
	dnsTLS = flow.Single(flow.TCP, 853)
	ntp    = flow.Single(flow.UDP, 123)
	nts    = flow.Single(flow.TCP, 4460)
)

// Lifelines derives from a Machine what it needs to go on working and to stay
// reachable. The order is stable.
func Lifelines(m Machine) []Lifeline {
	var out []Lifeline
	add := func(l Lifeline) {
		if len(l.To)+len(l.Names) > 0 {
			out = append(out, l)
		}
	}
	var plain, tls []netip.Addr
	for _, r := range m.Resolvers {
		plain = append(plain, r.Addr)
		if r.TLS {
			tls = append(tls, r.Addr)
		}
	}
	add(Lifeline{Name: "resolvers", To: hosts(plain), Services: dns, Why: "this machine asks them for names"})
	add(Lifeline{Name: "resolvers-tls", To: hosts(tls), Services: []flow.Service{dnsTLS}, Why: "this machine asks them for names over TLS"})
	out = append(out, timeLines(m)...)
	out = append(out, dhcpLines(m)...)
	out = append(out, routingLines(m)...)
	for i, s := range m.Sessions {
		why := "a management session is open from " + s.Remote.Addr().String()
		if s.Operator {
			why = "the operator is connected from " + s.Remote.Addr().String()
		}
		out = append(out, Lifeline{Name: "session-" + strconv.Itoa(i+1), Reply: true, Why: why,
			From: hosts([]netip.Addr{s.Local.Addr()}), To: hosts([]netip.Addr{s.Remote.Addr()}),
			Services: []flow.Service{flow.Single(flow.TCP, s.Local.Port())}})
	}
	return out
}

func timeLines(m Machine) []Lifeline {
	plain := Lifeline{Name: "time", Services: []flow.Service{ntp}, Why: "this machine sets its clock by them"}
	keyed := Lifeline{Name: "time-keys", Services: []flow.Service{nts}, Why: "this machine gets its keys for time from them"}
	var addrs, keyAddrs []netip.Addr
	for _, t := range m.TimeServers {
		switch {
		case t.Addr.IsLoopback():
			continue
		case t.Addr.IsValid():
			addrs = append(addrs, t.Addr)
		default:
			plain.Names = append(plain.Names, t.Name)
		}
		if t.NTS && t.Addr.IsValid() {
			keyAddrs = append(keyAddrs, t.Addr)
		} else if t.NTS {
			keyed.Names = append(keyed.Names, t.Name)
		}
	}
	plain.To, keyed.To = hosts(addrs), hosts(keyAddrs)
	var out []Lifeline
	for _, l := range []Lifeline{plain, keyed} {
		if len(l.To)+len(l.Names) > 0 {
			out = append(out, l)
		}
	}
	return out
}

// dhcpLines lets this machine renew its own leases and, where it hands leases
// out, answer.
func dhcpLines(m Machine) []Lifeline {
	var own4, own6, served4, served6 bool
	servers := []netip.Addr{netip.MustParseAddr("255.255.255.255")}
	for _, l := range m.Leases {
		switch {
		case l.Own && l.Addr.Is4():
			own4 = true
			if l.Server.IsValid() {
				servers = append(servers, l.Server)
			}
		case l.Own:
			own6 = true
		case l.Addr.Is4():
			served4 = true
		default:
			served6 = true
		}
	}
	for _, d := range m.Daemons {
		switch d {
		case "dhclient", "dhcpcd":
			own4, own6 = true, true
		case "dhcpd", "kea-dhcp4":
			served4 = true
		case "kea-dhcp6":
			served6 = true
		}
	}
	for _, l := range m.Listeners {
		switch {
		case l.Proto != "udp":
		case l.Addr.Port() == 67:
			served4 = true
		case l.Addr.Port() == 547:
			served6 = true
		case l.Addr.Port() == 68:
			own4 = true
		case l.Addr.Port() == 546:
			own6 = true
		}
	}
	var out []Lifeline
	line := func(on bool, name, why string, port uint16, to ...netip.Prefix) {
		if on {
			out = append(out, Lifeline{Name: name, To: to, Services: []flow.Service{flow.Single(flow.UDP, port)}, Why: why})
		}
	}
	link6 := []netip.Prefix{netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff02::1:2/128")}
	line(own4, "dhcp", "this machine has its address from DHCP", 67, hosts(servers)...)
	line(own6, "dhcp6", "this machine has its address from DHCPv6", 547, link6...)
	line(served4, "dhcp-serve", "this machine hands out leases", 68, netip.MustParsePrefix("0.0.0.0/0"))
	line(served6, "dhcp6-serve", "this machine hands out leases", 546, netip.MustParsePrefix("fe80::/10"))
	return out
}

// routingLines keeps routing and redundancy protocols that run here.
func routingLines(m Machine) []Lifeline {
	var out []Lifeline
	everywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	runs := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(m.Daemons, n) })
	}
	if runs("keepalived") {
		out = append(out, Lifeline{Name: "vrrp", To: everywhere, Services: []flow.Service{flow.All(flow.VRRP)}, Why: "keepalived runs here"})
	}
	if runs("ospfd", "ospf6d", "bird", "bird6") {
		out = append(out, Lifeline{Name: "ospf", To: everywhere, Services: []flow.Service{flow.All(flow.OSPF)}, Why: "a routing daemon runs here"})
	}
	var peers []netip.Addr
	for _, p := range m.Peers {
		peers = append(peers, p.Addr)
	}
	if len(peers) > 0 {
		bgp := []flow.Service{flow.Single(flow.TCP, 179)}
		out = append(out, Lifeline{Name: "bgp", To: hosts(peers), Services: bgp, Why: "BGP sessions are open"},
			Lifeline{Name: "bgp-answers", To: hosts(peers), Services: bgp, Reply: true, Why: "BGP sessions are open"})
	}
	return out
}

// hosts turns addresses into prefixes of one address, sorted, without zones.
func hosts(addrs []netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		if a.IsValid() {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return slices.Compact(out)
}

// Pin fills the empty From of lifelines with the machine's own addresses (for
// DHCP also the unspecified one). Where only this machine's output is judged
// that changes nothing and would break with the next address; where forwarded
// packets are judged too, an empty From would hold the way open for everybody.
func Pin(m Machine, lines []Lifeline) []Lifeline {
	var own []netip.Addr
	for _, i := range m.Interfaces {
		for _, p := range i.Prefixes {
			if !i.Loopback {
				own = append(own, p.Addr())
			}
		}
	}
	out := slices.Clone(lines)
	for i, l := range out {
		if len(l.From) > 0 {
			continue
		}
		from := own
		if slices.Contains(l.Services, flow.Single(flow.UDP, 67)) {
			from = append(slices.Clone(own), netip.IPv4Unspecified())
		}
		out[i].From = hosts(from)
	}
	return out
}

// Resolve adds to lifelines the addresses that lookup gives for their names.
// A name without an address stays in Names, and the error names it: nothing is
// held open for it.
func Resolve(ctx context.Context, lines []Lifeline, lookup func(context.Context, string) ([]netip.Addr, error)) ([]Lifeline, error) {
	out := slices.Clone(lines)
	var errs []error
	for i, l := range out {
		var found []netip.Addr
		out[i].Names = nil
		for _, name := range l.Names {
			addrs, err := lookup(ctx, name)
			if err == nil && len(addrs) == 0 {
				err = errors.New("it has none")
			}
			if err != nil {
				out[i].Names = append(out[i].Names, name)
				errs = append(errs, fmt.Errorf("cannot find the address of %s for the lifeline %q; name its addresses in the plan: %w", name, l.Name, err))
			}
			found = append(found, addrs...)
		}
		out[i].To = append(slices.Clone(l.To), hosts(found)...)
	}
	return out, errors.Join(errs...)
}
