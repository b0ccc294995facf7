package kerneltest

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"weir/nft"
	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/compile/oracle"
	"weir/phases/flow"
	"weir/phases/policy"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

var (
	inside    = prefixes("10.20.1.0/24", "10.20.1.25/32", "10.20.1.24/31", "10.20.2.0/25", "10.20.255.0/24", "fd20:0:0:1::/64", "fd20:0:0:1::25/128", "fd20:0:0:1::/127", "fd20:0:0:2::/64")
	outside   = prefixes("198.51.100.0/24", "198.51.100.7/32", "198.51.100.6/31", "198.51.100.128/25", "203.0.113.0/24", "128.0.0.0/1", "2001:db8:1::/64", "2001:db8:1::7/128", "2001:db8:1::6/127", "2001:db8:ff::/48", "2000::/3")
	macs      = []string{"02:00:5e:10:00:07", "02:00:5e:10:00:08"}
	treatment = []compile.Treatment{compile.Open, compile.Alert, compile.Drop, compile.Reject, compile.Honeypot}
	offered   = []string{"tcp/443", "tcp/440-450", "tcp/80", "tcp", "tcp/65535", "udp/53", "udp/50-60", "udp/0-1000", "sctp/5000", "icmp/8", "icmp/5-20", "icmp", "icmpv6/128", "icmpv6", "icmpv6/120-139", "esp", "gre", "ip/41", "ip/99"}
)

var more = flag.Int("steps", 1, "times as many random steps")

type source struct{ *rand.Rand }

func pick[T any](r source, list []T) T { return list[r.IntN(len(list))] }

func (r source) prefixes(list []netip.Prefix, most int) (out []netip.Prefix) {
	for range r.IntN(most + 1) {
		out = append(out, pick(r, list))
	}
	return out
}

func (r source) services(least int) (out []flow.Service) {
	for range least + r.IntN(3) {
		s, err := flow.ParseService(pick(r, offered))
		if err != nil {
			panic(err)
		}
		out = append(out, s)
	}
	return out
}

// near returns an address at an edge of a prefix.
func (r source) near(list []netip.Prefix, v4 bool) netip.Addr {
	for {
		p := pick(r, list)
		if p.Addr().Is4() != v4 {
			continue
		}
		lo, hi := nft.Range(p)
		a, _ := netip.AddrFromSlice(lo)
		b, _ := netip.AddrFromSlice(hi)
		if c := pick(r, []netip.Addr{a, a.Next(), b, b.Prev(), b.Next(), a.Prev()}); ordinary(c) {
			return c
		}
	}
}

// ordinary addresses are forwarded by the kernel like any other.
func ordinary(a netip.Addr) bool {
	return a.IsValid() && a.IsGlobalUnicast() && !(a.Is4() && a.As4()[0] >= 224) && !(a.Is6() && a.As16()[0]>>5 != 1 && a.As16()[0] != 0xfd)
}

// input draws a step.
func (r source) input(hooks []string, treatments []compile.Treatment) compile.Input {
	in := compile.Input{Scope: compile.Scope{Hooks: hooks, Inside: prefixes("10.20.0.0/16", "fd20::/48"), Inbound: pick(r, []string{"observe", "refuse", "ignore"})}}
	if r.IntN(3) == 0 {
		in.Scope.OutsideIfaces = []string{"wan0"}
	}
	if r.IntN(3) == 0 {
		in.Scope.InsideIfaces = []string{"guest0"}
	}
	in.Scope.InboundAllow = []compile.InboundRule{{To: r.prefixes(inside, 2), Services: r.services(0)}}
	members := slices.Clone(inside)
	r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	for i, name := range []string{"desks", "servers", "cameras", "guests", "unassigned"} {
		g := compile.Group{Name: name, Treatment: pick(r, treatments), Seed: r.Uint32()}
		if name != "unassigned" {
			g.Members, members = members[:2], members[2:]
		}
		switch {
		case i < 2:
			g.MACs = []string{macs[i]}
		case name == "guests":
			g.Ifaces = []string{"guest0"}
			g.Self, g.UIDs = r.IntN(2) == 0, []uint32{33, 1000}
		case name == "cameras":
			g.Self = r.IntN(3) == 0
		}
		if r.IntN(3) == 0 {
			g.Share, g.ShareBy = 1+r.IntN(99), pick(r, []string{"mac", "ipv4"})
		}
		if r.IntN(4) == 0 {
			g.Prefixes = r.prefixes(inside, 2)
		}
		in.Groups = append(in.Groups, g)
		for range r.IntN(4) {
			rule := policy.Rule{Group: name, Services: r.services(1)}
			if r.IntN(2) == 0 {
				rule.Endpoints = r.prefixes(inside, 2)
			}
			if r.IntN(3) > 0 {
				rule.To = r.prefixes(outside, 3)
			}
			if r.IntN(4) == 0 {
				rule.Families = []flow.Family{pick(r, []flow.Family{flow.IPv4, flow.IPv6})}
			}
			in.Policy.Rules = append(in.Policy.Rules, rule)
		}
	}
	if r.IntN(2) == 0 {
		in.Lifelines = append(in.Lifelines, compile.Lifeline{Name: "l", To: prefixes("198.51.100.6/31", "2001:db8:1::6/127"), Services: r.services(0), Reply: r.IntN(2) == 0})
	}
	for i := range r.IntN(3) {
		n := compile.Never{Name: fmt.Sprint("n", i), To: r.prefixes(outside, 1), Services: r.services(1), Deny: pick(r, []compile.Treatment{"", compile.Drop, compile.Reject, compile.Honeypot})}
		if r.IntN(2) == 0 {
			n.Group = pick(r, in.Groups).Name
		}
		in.Never = append(in.Never, n)
	}
	if r.IntN(3) == 0 {
		in.Links = prefixes("10.20.1.0/24", "fd20:0:0:1::/64")
	}
	if r.IntN(2) == 0 {
		in.Shadow = r.shadow(in)
	}
	return in
}

// shadow draws a candidate for two groups: most of the live rules, and some of
// its own.
func (r source) shadow(in compile.Input) *compile.Shadow {
	s := &compile.Shadow{Name: "x", Groups: []string{"desks", pick(r, []string{"servers", "cameras", "guests", "unassigned"})}}
	for _, rule := range in.Policy.Rules {
		if slices.Contains(s.Groups, rule.Group) && r.IntN(4) > 0 {
			s.Policy.Rules = append(s.Policy.Rules, rule)
		}
	}
	for range 1 + r.IntN(3) {
		s.Policy.Rules = append(s.Policy.Rules, policy.Rule{Group: pick(r, s.Groups), To: r.prefixes(outside, 2), Services: r.services(1)})
	}
	if r.IntN(4) == 0 {
		s.Never = []compile.Never{{Name: "s", Group: s.Groups[0], To: r.prefixes(outside, 2), Services: r.services(1)}}
	}
	return s
}

// packet draws the first packet of a flow.
func (r source) packet(in compile.Input, n int) eval.Packet {
	v4 := r.IntN(2) == 0
	var svc flow.Service
	for {
		svc, _ = flow.ParseService(pick(r, offered))
		if svc.Proto.Fits(map[bool]flow.Family{true: flow.IPv4, false: flow.IPv6}[v4]) {
			break
		}
	}
	p := eval.Packet{Hook: pick(r, in.Scope.Hooks)[:1], Proto: svc.Proto, State: eval.New, Src: r.near(inside, v4), Dst: r.near(outside, v4)}
	switch {
	case svc.Proto.HasPorts():
		p.Port = pick(r, []uint16{svc.Lo, svc.Hi, svc.Hi + 1, svc.Lo - 1, 53, 443})
		p.SrcPort = uint16(1024 + n%60000)
		if p.Proto == flow.SCTP && p.Port == 0 {
			p.Port = 1
		}
		if r.IntN(8) == 0 {
			p.SrcPort = max(svc.Lo, 1)
		}
	case svc.Proto == flow.ICMP:
		p.Port = pick(r, []uint16{8, 8, 13})
	case svc.Proto == flow.ICMPv6:
		p.Port = 128
	}
	if p.Proto.HasPorts() && p.Port == 0 {
		p.Port = 1 // connection tracking calls port 0 invalid
	}
	if p.Proto == flow.TCP {
		p.TCPFlags = 2
	}
	p.In = pick(r, []string{"lan0", "lan0", "guest0"})
	if p.Hook == "f" {
		switch r.IntN(12) {
		case 0: // from outside to inside; what comes back of it later is a reply
			if p.Proto.HasPorts() {
				p.Src, p.Dst, p.In, p.SrcPort = r.near(outside, v4), r.near(inside, v4), "wan0", uint16(1024+n%60000)
			}
		case 1: // a foreign source from an inside link
			if p.Proto.HasPorts() {
				p.Src, p.SrcPort = r.near(outside, v4), uint16(1024+n%60000)
			}
		case 2:
			for p.Dst = p.Src; p.Src == p.Dst; {
				p.Dst = r.near(inside, v4)
			}
		}
		p.MAC = pick(r, [][]byte{{2, 0, 0x5e, 0x10, 0, 7}, {2, 0, 0x5e, 0x10, 0, 8}, {2, 0, 0x5e, 0x10, 0, 9}})
	} else {
		p.In = ""
		uid := pick(r, []uint32{0, 33, 1000, 1001})
		p.UID = &uid
	}
	p.Out = "wan0"
	for out, list := range map[string][]netip.Prefix{"lan0": prefixes("10.20.0.0/16", "fd20::/48"), "wan1": prefixes("203.0.113.0/24", "2001:db8:ff::/48")} {
		for _, q := range list {
			if q.Contains(p.Dst) {
				p.Out = out
			}
		}
	}
	return p
}

// TestKernelDecidesAsOracle sends random packets through compiled rulesets and
// compares what the wires and the counters say with the oracle, and with the
// interpreter where the kernel's hash has the word.
func TestKernelDecidesAsOracle(t *testing.T) {
	for _, c := range []struct {
		name       string
		hooks      []string
		treatments []compile.Treatment
		masquerade bool
		steps      int
	}{
		{"gateway", []string{"forward"}, treatment, false, 6},
		{"masquerading gateway", []string{"forward"}, treatment, true, 4},
		{"host", []string{"output"}, treatment, false, 4},
		{"both", []string{"forward", "output"}, treatment, false, 3},
		{"alert drops nothing", []string{"forward", "output"}, treatment[:2], false, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t)
			if c.masquerade {
				must(t, g.ns.Masquerade("wan0"))
				must(t, g.ns.Masquerade("wan1"))
				g.masquerades = true
			}
			next := uint32(1000)
			for seed := range uint64(c.steps * *more) {
				r := source{rand.New(rand.NewPCG(seed, 7))}
				in := r.input(c.hooks, c.treatments)
				rev, err := compile.Compile(in)
				must(t, err)
				g.stable(rev)
				next = g.compare(t, r, in, rev, next, 400)
				if t.Failed() {
					t.Fatalf("seed %d\n%s", seed, rev.Ruleset)
				}
			}
		})
	}
}

// compare sends n packets and judges each.
func (g *gateway) compare(t *testing.T, r source, in compile.Input, rev nft.Revision, next uint32, n int) uint32 {
	t.Helper()
	ctx := context.Background()
	m := eval.NewMachine(rev.Skeleton, rev.Ruleset)
	must(t, m.Stable(rev))
	world := &oracle.World{Shares: map[string]string{}}
	before, err := g.k.Counters(ctx)
	must(t, err)
	type sent struct {
		p    eval.Packet
		want oracle.Decision
	}
	all := map[uint32]sent{}
	count := map[string]uint64{}
	differs := 0
	var passing []uint32
	for i := range n {
		p := r.packet(in, int(next)+i)
		// a masquerading gateway carries one ESP flow to a server, not two
		for g.masquerades && !p.Proto.HasPorts() && !p.Proto.IsICMP() || g.answers(p, false) {
			p = r.packet(in, int(next)+i)
		}
		trace, err := m.Eval(p)
		must(t, err)
		want := oracle.Judge(in, world, p)
		if want.Share != "" {
			world.Shares[want.Share] = "in"
			if trace.Passes() {
				world.Shares[want.Share] = "out"
			}
			want = oracle.Judge(in, world, p)
		}
		if trace.Verdict != want.Verdict {
			t.Fatalf("%+v: interpreter %s, oracle %s", p, trace.Verdict, want.Verdict)
		}
		id := next + uint32(i)
		all[id] = sent{p, want}
		if want.Counter != "" {
			count[want.Counter]++
		}
		if want.Differs != "" {
			count[want.Differs]++
			differs++
		}
		if want.Verdict == "accept" {
			passing = append(passing, id)
		}
		g.inject(p, id)
	}
	next += uint32(n)
	g.settle(next, func() bool {
		return !slices.ContainsFunc(passing, func(id uint32) bool { _, ok := g.heard(id); return !ok })
	})
	bad := 0
	for id, s := range all {
		h, ok := g.heard(id)
		want := map[string]string{"accept": "packet", "drop": "", "reject with tcp reset": "reset", "reject with icmpx admin-prohibited": "unreachable"}[s.want.Verdict]
		if want != "packet" && want != "" && !answerable(s.p) {
			want = ""
		}
		if (want != "") != ok || ok && h.what != want || ok && want == "packet" && h.at != s.p.Out {
			if bad++; bad < 4 {
				t.Errorf("packet %d %+v\nwant %s (%s), heard %+v", id, s.p, s.want.Verdict, s.want.Counter, h)
			}
		}
	}
	after, err := g.k.Counters(ctx)
	must(t, err)
	if slices.Contains(in.Scope.Hooks, "forward") {
		count["w_pickup"] += 2 // settle's own
	}
	if in.Shadow != nil && differs == 0 {
		t.Logf("the candidate of %v disagreed with nothing", in.Shadow.Groups)
	}
	for name, c := range after {
		// logs are limited, and answers of the gateway itself are counted too
		if name == "w_misses" || name == "w_untracked" || name == "w_suppressed" || name == "w_related" || name == "w_reply" || name == "w_local" || name == "w_outside" || name == "w_inside" {
			continue
		}
		if got := c.Packets - before[name].Packets; got != count[name] {
			t.Errorf("counter %s: %d, want %d", name, got, count[name])
		}
	}
	return next + 2
}

// answers says whether connection tracking would take the packet for the reply
// to an earlier one, or (fresh) for another one of a connection that it knows,
// and remembers it.
func (g *gateway) answers(p eval.Packet, fresh bool) bool {
	type ends struct {
		a, b  netip.AddrPort
		proto flow.Proto
	}
	here, there := netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.Port)
	if !p.Proto.HasPorts() {
		here, there = netip.AddrPortFrom(p.Src, 0), netip.AddrPortFrom(p.Dst, 0)
	}
	if here == there || g.sent[ends{there, here, p.Proto}] || fresh && g.sent[ends{here, there, p.Proto}] {
		return true
	}
	g.sent[ends{here, there, p.Proto}] = true
	return false
}

// answerable: before it answers with an ICMP error the kernel checks the
// packet's checksum, also of protocols that it does not know and that have none
// where it looks (net/netfilter, nf_reject_verify_csum).
func answerable(p eval.Packet) bool { return p.Proto != 41 && p.Proto != 99 }
