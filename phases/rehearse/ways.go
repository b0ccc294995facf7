package rehearse

import (
	"net/netip"
	"slices"
	"strings"

	"weir/nft"
	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/flow"
)

// Way is one way out that an intruder in a group would try.
type Way struct {
	Group  string
	Family flow.Family
	Name   string // short: "https", "dns-other"
	How    How
	Packet eval.Packet // the one that leaves or does not
	Parts  int         // fragments that it is sent in; 0: whole
	Fill   int         // bytes of payload
}

// How says what is done beside sending the packet.
type How string

// The ways to try a way.
const (
	Alone   How = "alone"
	Answer  How = "answer"  // as the answer to an outside host that speaks first
	Switch  How = "switch"  // on a connection that was open before the step
	Unblock How = "unblock" // on a connection that an unblock let in, which has ended
)

// try is a way for every group that has the family.
type try struct {
	name   string
	proto  flow.Proto
	port   uint16
	how    How
	family flow.Family // "" both
	parts  int
	fill   int
	flags  byte
}

var tries = []try{
	{name: "https", proto: flow.TCP, port: 443}, {name: "quic", proto: flow.UDP, port: 443}, {name: "http", proto: flow.TCP, port: 80},
	{name: "dns-other", proto: flow.UDP, port: 53, fill: 200}, {name: "dns-tcp", proto: flow.TCP, port: 53}, {name: "dns-tls", proto: flow.TCP, port: 853},
	{name: "ntp", proto: flow.UDP, port: 123}, {name: "ssh", proto: flow.TCP, port: 22}, {name: "mail", proto: flow.TCP, port: 25},
	{name: "remote-desktop", proto: flow.TCP, port: 3389}, {name: "high-port", proto: flow.TCP, port: 54321}, {name: "wireguard", proto: flow.UDP, port: 51820},
	{name: "ping-payload", proto: flow.ICMP, port: 8, fill: 900, family: flow.IPv4}, {name: "ping-payload", proto: flow.ICMPv6, port: 128, fill: 900, family: flow.IPv6},
	{name: "icmp-error", proto: flow.ICMP, port: 3, fill: 200, family: flow.IPv4}, {name: "icmp-error", proto: flow.ICMPv6, port: 1, fill: 200, family: flow.IPv6},
	{name: "icmp-odd", proto: flow.ICMP, port: 13, fill: 200, family: flow.IPv4}, {name: "neighbour", proto: flow.ICMPv6, port: 135, fill: 200, family: flow.IPv6},
	{name: "gre", proto: flow.GRE}, {name: "esp", proto: flow.ESP}, {name: "6in4", proto: 41}, {name: "ipip", proto: flow.IPIP},
	{name: "sctp", proto: flow.SCTP, port: 5000}, {name: "odd-protocol", proto: 253},
	{name: "fragments", proto: flow.UDP, port: 9999, parts: 2, fill: 1000},
	{name: "no-syn", proto: flow.TCP, port: 443, flags: 0x10},
	{name: "outside-first", proto: flow.UDP, port: 3478, how: Answer},
	{name: "tunnel-switch", proto: flow.UDP, port: 1194, how: Switch, fill: 200},
	{name: "tunnel-unblock", proto: flow.UDP, port: 1195, how: Unblock, fill: 200},
}

// Ways lists what an intruder in each group tries under a step, in a stable
// order. Each has a destination of its own, so that no answer and no memory of
// one is another's.
func Ways(in compile.Input) []Way {
	b := &builder{in: in}
	var out []Way
	for _, g := range in.Groups {
		for _, e := range Endpoints(in, g) {
			family := flow.FamilyOf(e.Src)
			add := func(name string, how How, p eval.Packet, parts, fill int) {
				if p.Proto == flow.TCP && p.TCPFlags == 0 {
					p.TCPFlags = 0x02
				}
				p.State = State(p)
				if how == "" {
					how = Alone
				}
				out = append(out, Way{g.Name, family, name, how, p, parts, fill})
			}
			for i, t := range tries {
				if t.family != "" && t.family != family || t.how == Answer && e.Hook != nft.HookForward {
					continue
				}
				p := e
				p.Dst, p.Proto, p.Port, p.TCPFlags = unseen(family, i), t.proto, t.port, t.flags
				add(t.name, t.how, p, t.parts, t.fill)
			}
			for _, to := range resolvers(in, family) {
				p := e
				p.Dst, p.Proto, p.Port, p.Out = to, flow.UDP, 53, b.way(to)
				add("dns-resolver", Alone, p, 0, 200)
			}
			if p, ok := b.spoof(g, e); ok {
				add("spoof", Alone, p, 0, 0)
			}
		}
	}
	return out
}

// unseen is an address set aside for documentation that no plan is likely to
// name.
func unseen(f flow.Family, i int) netip.Addr {
	if f == flow.IPv4 {
		return netip.AddrFrom4([4]byte{203, 0, 113, byte(200 + i)})
	}
	a := netip.MustParseAddr("2001:db8:ffff::").As16()
	a[15] = byte(200 + i)
	return netip.AddrFrom16(a)
}

// resolvers are the first addresses of each family to which a lifeline lets name
// servers be asked.
func resolvers(in compile.Input, f flow.Family) []netip.Addr {
	for _, l := range in.Lifelines {
		if !slices.Contains(l.Services, flow.Single(flow.UDP, 53)) {
			continue
		}
		for _, p := range l.To {
			if p.IsSingleIP() && flow.FamilyOf(p.Addr()) == f {
				return []netip.Addr{p.Addr()}
			}
		}
	}
	return nil
}

// spoof is a packet with the source address of a group that may do more.
func (b *builder) spoof(g compile.Group, e eval.Packet) (eval.Packet, bool) {
	if e.Hook != nft.HookForward {
		return e, false
	}
	rules := func(name string) int {
		n := 0
		for _, r := range b.in.Policy.Rules {
			if r.Group == name {
				n++
			}
		}
		return n
	}
	better := func(a, o compile.Group) bool { // a may do more than o
		if a.Treatment.Denies() != o.Treatment.Denies() {
			return !a.Treatment.Denies()
		}
		return a.Treatment.Denies() && rules(a.Name) > rules(o.Name)
	}
	best, found := compile.Group{}, false
	for _, o := range b.in.Groups {
		if o.Name != g.Name && o.Name != "unassigned" && len(o.Members) > 0 && better(o, g) && (!found || better(o, best)) {
			best, found = o, true
		}
	}
	if !found {
		return e, false
	}
	src, ok := b.member(best, flow.FamilyOf(e.Src))
	if !ok {
		return e, false
	}
	p := e
	p.Src, p.Dst, p.Proto, p.Port = src, unseen(flow.FamilyOf(src), 40), flow.TCP, 443
	for _, r := range b.in.Policy.Rules {
		if r.Group != best.Name || len(r.Services) == 0 || len(r.Endpoints) > 0 {
			continue
		}
		s := r.Services[0]
		if !s.Proto.HasPorts() {
			continue
		}
		for _, to := range orAny(r.To, unseen(flow.IPv4, 40).String()+"/32", unseen(flow.IPv6, 40).String()+"/128") {
			if flow.FamilyOf(to.Addr()) == flow.FamilyOf(src) {
				p.Dst, p.Proto, p.Port = somebody(to), s.Proto, s.Lo
				p.Out = b.way(p.Dst)
				return p, routed(p)
			}
		}
	}
	return p, true
}

// Text says what a way's packet is.
func (w Way) Text() string {
	c := Case{Packet: w.Packet}.String()
	return c[:strings.LastIndex(c, " (")]
}
