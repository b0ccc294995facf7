package rehearse

import (
	"cmp"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"weir/nft"
	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/flow"
)

// Case is one packet to play.
type Case struct {
	Packet   eval.Packet
	Group    string // that it is a packet of, as far as is known
	Of       Origin
	Lifeline string // its name, where it is one's packet
	AnyPort  bool   // the source port means nothing
}

// Origin is where a packet comes from.
type Origin string

// The origins.
const (
	Recorded Origin = "recorded" // the first packet of a flow of the evidence
	MadeUp   Origin = "made up"  // one that probably no rule allows
	Held     Origin = "lifeline" // what no step may cut
)

// Flow is a recorded flow.
type Flow struct {
	flow.Flow
	Group   string
	Inbound bool // opened from outside; Client is the outside host
	Self    bool // this machine is the client
}

// Lab names the interfaces by which packets come and go where a step names
// none, and who sends what the machine itself sends.
const (
	AnyInside  = "rin0"
	AnyOutside = "rout0"
	Nobody     = uint32(65534)
)

// Ifaces returns the interfaces of a gateway on which every packet of the steps
// can be played: all that they name, at least one of each side.
func Ifaces(inputs ...compile.Input) (inside, outside []string) {
	for _, in := range inputs {
		inside = append(inside, in.Scope.InsideIfaces...)
		outside = append(outside, in.Scope.OutsideIfaces...)
		for _, g := range in.Groups {
			inside = append(inside, g.Ifaces...)
		}
	}
	outside = slices.DeleteFunc(outside, func(n string) bool { return slices.Contains(inside, n) })
	// The spare ones come last: what a step names decides more.
	return append(unique(inside), AnyInside), append(unique(outside), AnyOutside)
}

func unique(list []string) []string {
	var out []string
	for _, n := range list {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// Cases chooses packets for a step: of the recorded flows at most upTo, one of
// each group, service and family before a second one of any; for each group and
// family one that probably no rule allows; and one for each lifeline. The order
// is stable.
func Cases(in compile.Input, recorded []Flow, upTo int) []Case {
	b := &builder{in: in, known: map[ends]bool{}}
	for _, l := range in.Lifelines {
		b.lifeline(l)
	}
	for _, g := range in.Groups {
		b.unheard(g)
	}
	for _, f := range choose(recorded, upTo) {
		b.recorded(f)
	}
	return b.out
}

// choose takes one flow of each kind, then others evenly from all.
func choose(all []Flow, upTo int) []Flow {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port), flow.Compare(a.Flow, b.Flow))
	})
	if len(all) <= upTo {
		return all
	}
	type kind struct {
		group   string
		proto   flow.Proto
		port    uint16
		family  flow.Family
		inbound bool
	}
	seen := map[kind]bool{}
	var first, rest []Flow
	for _, f := range all {
		k := kind{f.Group, f.Proto, f.Port, f.Family(), f.Inbound}
		if seen[k] {
			rest = append(rest, f)
			continue
		}
		seen[k] = true
		first = append(first, f)
	}
	return append(evenly(first, upTo), evenly(rest, upTo-min(upTo, len(first)))...)
}

func evenly(list []Flow, n int) []Flow {
	if len(list) <= n {
		return list
	}
	var out []Flow
	for i := range n {
		out = append(out, list[i*len(list)/n])
	}
	return out
}

// ends is what connection tracking tells flows without ports apart by.
type ends struct {
	a, b  netip.Addr
	proto flow.Proto
}

type builder struct {
	in    compile.Input
	out   []Case
	known map[ends]bool
}

// add keeps a packet unless tracking would take it for an answer to, or for
// another one of, an earlier one.
func (b *builder) add(c Case) {
	p := &c.Packet
	if !routed(*p) {
		return
	}
	c.AnyPort = p.SrcPort == 0
	p.SrcPort = cmp.Or(p.SrcPort, uint16(20000+len(b.out)%40000))
	if !p.Proto.HasPorts() {
		e := ends{p.Src, p.Dst, p.Proto}
		if p.Src.Compare(p.Dst) > 0 {
			e.a, e.b = e.b, e.a
		}
		if !p.Proto.IsICMP() && b.known[e] {
			return
		}
		b.known[e] = true
	}
	if p.Proto == flow.TCP && p.TCPFlags == 0 {
		p.TCPFlags = 0x02 // SYN
	}
	p.State = State(*p)
	b.out = append(b.out, c)
}

// routed says whether a router passes a packet on at all.
func routed(p eval.Packet) bool {
	for _, a := range []netip.Addr{p.Src, p.Dst} {
		if !a.IsValid() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240) {
			return false
		}
	}
	// What IPv6 takes for a header of its own needs another inside.
	return p.Src != p.Dst && (p.Src.Is4() || !slices.Contains([]flow.Proto{0, 43, 44, flow.AH, 59, 60, 135, 139, 140}, p.Proto))
}

// Routes lists which way packets go: pairs of prefix and interface. What is for
// inside goes there, the rest goes outside.
func Routes(in compile.Input, cases []Case) [][2]string {
	b := &builder{in: in}
	out := [][2]string{{"0.0.0.0/0", b.outside()}, {"::/0", b.outside()}}
	seen := map[netip.Addr]bool{}
	for _, c := range cases {
		if p := c.Packet; p.Out != b.outside() && !seen[p.Dst] {
			seen[p.Dst] = true
			out = append(out, [2]string{netip.PrefixFrom(p.Dst, p.Dst.BitLen()).String(), p.Out})
		}
	}
	return out
}

// way is the interface by which the lab's gateway sends to an address.
func (b *builder) way(to netip.Addr) string {
	if slices.ContainsFunc(b.in.Scope.Inside, func(p netip.Prefix) bool { return p.Contains(to) }) {
		return b.inside("")
	}
	return b.outside()
}

// State is what connection tracking says of a packet that belongs to nothing it
// knows: not every ICMP type begins something (net/netfilter,
// nf_conntrack_proto_icmp.c and nf_conntrack_proto_icmpv6.c).
func State(p eval.Packet) eval.State {
	switch p.Proto {
	case flow.ICMP:
		if !slices.Contains([]uint16{8, 13, 15, 17}, p.Port) {
			return eval.Invalid
		}
	case flow.ICMPv6:
		switch {
		case slices.Contains([]uint16{130, 131, 132, 133, 134, 135, 136, 143}, p.Port):
			return eval.Untracked
		case p.Port != 128 && p.Port != 139:
			return eval.Invalid
		}
	}
	return eval.New
}

func (b *builder) recorded(f Flow) {
	p := eval.NewPacket(nft.HookForward, f.Flow)
	p.SrcPort = 0
	switch {
	case f.Self:
		if !slices.Contains(b.in.Scope.Hooks, "output") {
			return
		}
		p.Hook, p.Out = nft.HookOutput, b.way(f.Server)
		nobody := Nobody
		p.UID = &nobody
	case !slices.Contains(b.in.Scope.Hooks, "forward"):
		return
	case f.Inbound:
		p.In, p.Out = b.outside(), b.inside("")
	default:
		p.In, p.Out = b.inside(f.Group), b.way(f.Server)
		p.MAC = b.mac(f.Group, f.Client)
	}
	b.add(Case{Packet: p, Group: f.Group, Of: Recorded})
}

// unheard makes up a packet of each family for a member of a group.
func (b *builder) unheard(g compile.Group) {
	for _, c := range Endpoints(b.in, g) {
		to := netip.MustParseAddr("203.0.113.253")
		if c.Src.Is6() {
			to = netip.MustParseAddr("2001:db8:ffff::fd")
		}
		for _, what := range []flow.Service{flow.Single(flow.UDP, 9), flow.Single(flow.TCP, 17)} {
			p := c
			p.Dst, p.Proto, p.Port = to, what.Proto, what.Lo
			b.add(Case{Packet: p, Group: g.Name, Of: MadeUp})
		}
	}
}

// Endpoints returns for each family a packet of a member of the group, without
// its destination: what the group's dispatch looks at is set.
func Endpoints(in compile.Input, g compile.Group) []eval.Packet {
	b := &builder{in: in}
	var out []eval.Packet
	if g.Self {
		if slices.Contains(in.Scope.Hooks, "output") && (len(g.UIDs) == 0 || slices.Contains(g.UIDs, Nobody)) {
			nobody := Nobody
			for _, a := range []string{"192.0.2.1", "2001:db8::1"} {
				out = append(out, eval.Packet{Hook: nft.HookOutput, Src: netip.MustParseAddr(a), Out: b.outside(), UID: &nobody})
			}
		}
		return out
	}
	if !slices.Contains(in.Scope.Hooks, "forward") {
		return nil
	}
	for _, family := range []flow.Family{flow.IPv4, flow.IPv6} {
		a, ok := b.member(g, family)
		if ok {
			out = append(out, eval.Packet{Hook: nft.HookForward, Src: a, In: b.inside(g.Name), Out: b.outside(), MAC: b.mac(g.Name, a)})
		}
	}
	return out
}

// member finds an address of a group: of its own prefixes, else of a link where
// its MACs count, else of inside. Another group's prefix may still be longer;
// whoever judges the packet sees that too.
func (b *builder) member(g compile.Group, family flow.Family) (netip.Addr, bool) {
	for _, list := range [][]netip.Prefix{g.Members, b.in.Links, b.in.Scope.Inside} {
		if len(g.MACs)+len(g.Ifaces) == 0 && g.Name != "unassigned" && len(g.Members) > 0 {
			list = g.Members
		}
		for _, p := range list {
			if flow.FamilyOf(p.Addr()) != family {
				continue
			}
			if a := p.Masked().Addr(); p.IsSingleIP() {
				return a, true
			}
			if a := p.Masked().Addr().Next().Next(); p.Contains(a) {
				return a, true
			}
			return p.Masked().Addr(), true
		}
	}
	return netip.Addr{}, false
}

func (b *builder) outside() string {
	_, outside := Ifaces(b.in)
	return outside[0]
}

func (b *builder) inside(group string) string {
	for _, g := range b.in.Groups {
		if g.Name == group && len(g.Ifaces) > 0 {
			return g.Ifaces[0]
		}
	}
	for _, n := range b.in.Scope.InsideIfaces {
		if !slices.ContainsFunc(b.in.Groups, func(g compile.Group) bool { return slices.Contains(g.Ifaces, n) }) {
			return n
		}
	}
	return AnyInside
}

// mac is a link address of the group, where it has one that counts for the
// address.
func (b *builder) mac(group string, src netip.Addr) []byte {
	for _, g := range b.in.Groups {
		if g.Name != group || len(g.MACs) == 0 {
			continue
		}
		onLink := len(b.in.Links) == 0 || slices.ContainsFunc(b.in.Links, func(p netip.Prefix) bool { return p.Contains(src) })
		if m, err := hex.DecodeString(strings.ReplaceAll(g.MACs[0], ":", "")); err == nil && onLink {
			return m
		}
	}
	return nil
}

// lifeline makes packets of a lifeline: of each service to each of a few
// destinations.
func (b *builder) lifeline(l compile.Lifeline) {
	for _, p := range LifelinePackets(b.in, l) {
		b.add(Case{Packet: p, Of: Held, Lifeline: l.Name})
	}
}
