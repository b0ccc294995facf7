package compile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir/nft"
	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/compile/oracle"
	"weir/phases/flow"
	"weir/phases/policy"
)

// Few addresses, ports and names, so that everything meets everything; all of
// them stand at edges.
var (
	poolInside  = []string{"10.20.0.0/16", "10.20.1.0/24", "10.20.1.25/32", "10.20.1.24/31", "10.20.255.0/24", "10.20.1.128/25", "fd20::/48", "fd20:0:0:1::/64", "fd20:0:0:1::25/128", "fd20:0:0:1::/127"}
	poolOutside = []string{"198.51.100.0/24", "198.51.100.7/32", "198.51.100.6/31", "198.51.100.128/25", "128.0.0.0/1", "255.255.255.0/24", "192.0.2.1/32",
		"2001:db8::/32", "2001:db8:1::/64", "2001:db8:1::7/128", "2000::/3", "ffff::/16", "2001:db8:1::6/127"}
	poolEverywhere = []string{"0.0.0.0/0", "::/0"}
	poolServices   = []string{"tcp/443", "tcp/80", "tcp/441-443", "tcp/440-450", "tcp/0", "tcp/65535", "tcp/1-65535", "tcp", "udp/53", "udp/50-60", "udp", "sctp/5000",
		"icmp/8", "icmp", "icmp/5-20", "icmpv6/128-129", "icmpv6", "icmpv6/128", "esp", "gre", "ip/41", "udplite/7"}
	poolMACs   = []string{"02:00:5e:10:00:07", "02:00:5e:10:00:08"}
	poolGroups = []string{"desks", "servers", "cameras", "guests"}
)

func drawPrefixes(t *rapid.T, label string, most int, pools ...[]string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Concat(pools...)), 0, most, rapid.ID).Draw(t, label) {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func drawServices(t *rapid.T, label string, least int) []flow.Service {
	return services(rapid.SliceOfN(rapid.SampledFrom(poolServices), least, 4).Draw(t, label)...)
}

// drawInput draws a whole step. treatments limits what groups may have.
func drawInput(t *rapid.T, treatments ...compile.Treatment) compile.Input {
	in := compile.Input{Off: rapid.IntRange(0, 15).Draw(t, "off") == 0}
	in.Scope = compile.Scope{
		Hooks:   rapid.SampledFrom([][]string{{"forward"}, {"output"}, {"forward", "output"}}).Draw(t, "hooks"),
		Inbound: rapid.SampledFrom([]string{"observe", "refuse", "ignore"}).Draw(t, "inbound"),
	}
	if rapid.IntRange(0, 4).Draw(t, "inside") > 0 {
		in.Scope.Inside = prefixes("10.20.0.0/16", "fd20::/48")
	}
	if rapid.IntRange(0, 3).Draw(t, "ifaces") == 0 {
		in.Scope.InsideIfaces = []string{"lan0", "guest0"}
	}
	if rapid.IntRange(0, 3).Draw(t, "outside") == 0 {
		in.Scope.Outside = drawPrefixes(t, "outsidePrefixes", 3, poolOutside)
	}
	if rapid.IntRange(0, 3).Draw(t, "outIfaces") == 0 {
		in.Scope.OutsideIfaces = []string{"wan0"}
	}
	for range rapid.IntRange(0, 2).Draw(t, "inboundAllow") {
		in.Scope.InboundAllow = append(in.Scope.InboundAllow, compile.InboundRule{
			From: drawPrefixes(t, "from", 2, poolOutside, poolEverywhere), To: drawPrefixes(t, "to", 2, poolInside), Services: drawServices(t, "services", 0)})
	}
	in.Groups = drawGroups(t, treatments)
	names := []string{"unassigned"}
	for _, g := range in.Groups {
		names = append(names, g.Name)
	}
	in.Policy = drawPolicy(t, names, 12)
	for i := range rapid.IntRange(0, 2).Draw(t, "lifelines") {
		in.Lifelines = append(in.Lifelines, compile.Lifeline{Name: fmt.Sprint("l", i), From: drawPrefixes(t, "from", 2, poolInside),
			To: drawPrefixes(t, "to", 2, poolOutside), Services: drawServices(t, "services", rapid.IntRange(0, 1).Draw(t, "least")),
			Reply: rapid.Bool().Draw(t, "reply")})
	}
	in.Never = drawNevers(t, names)
	if rapid.IntRange(0, 2).Draw(t, "links") == 0 {
		in.Links = prefixes("10.20.1.0/24", "fd20:0:0:1::/64")
	}
	if rapid.IntRange(0, 2).Draw(t, "shadow") == 0 {
		in.Shadow = drawShadow(t, in)
	}
	return in
}

func drawPolicy(t *rapid.T, names []string, most int) (out policy.Policy) {
	for range rapid.IntRange(0, most).Draw(t, "rules") {
		r := policy.Rule{Group: rapid.SampledFrom(names).Draw(t, "group"), Services: drawServices(t, "services", 1),
			Families: rapid.SliceOfNDistinct(rapid.SampledFrom([]flow.Family{flow.IPv4, flow.IPv6}), 0, 2, rapid.ID).Draw(t, "families")}
		if rapid.Bool().Draw(t, "byEndpoint") {
			r.Endpoints = drawPrefixes(t, "endpoints", 3, poolInside, poolEverywhere)
		}
		if rapid.Bool().Draw(t, "byServer") {
			r.To = drawPrefixes(t, "servers", 4, poolOutside, poolEverywhere)
		}
		out.Rules = append(out.Rules, r)
	}
	return out
}

func drawNevers(t *rapid.T, names []string) (out []compile.Never) {
	for i := range rapid.IntRange(0, 2).Draw(t, "nevers") {
		n := compile.Never{Name: fmt.Sprint("n", i), From: drawPrefixes(t, "from", 2, poolInside), To: drawPrefixes(t, "to", 2, poolOutside),
			Services: drawServices(t, "services", 0), Deny: rapid.SampledFrom([]compile.Treatment{"", compile.Drop, compile.Reject, compile.Honeypot}).Draw(t, "deny")}
		if rapid.Bool().Draw(t, "one") {
			n.Group = rapid.SampledFrom(names).Draw(t, "group")
		}
		out = append(out, n)
	}
	return out
}

func drawGroups(t *rapid.T, treatments []compile.Treatment) []compile.Group {
	var out []compile.Group
	members := rapid.Permutation(poolInside).Draw(t, "members")
	macs := slices.Clone(poolMACs)
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(append(slices.Clone(poolGroups), "unassigned")), 0, 5, rapid.ID).Draw(t, "groups") {
		g := compile.Group{Name: name, Treatment: rapid.SampledFrom(treatments).Draw(t, "treatment"), Seed: rapid.Uint32().Draw(t, "seed")}
		for range rapid.IntRange(0, 3).Draw(t, "count") {
			if len(members) > 0 {
				g.Members, members = append(g.Members, netip.MustParsePrefix(members[0])), members[1:]
			}
		}
		if len(macs) > 0 && rapid.Bool().Draw(t, "mac") {
			g.MACs, macs = macs[:1], macs[1:]
		}
		switch name {
		case "guests":
			g.Ifaces = []string{"guest0"}
		case "desks":
			g.Self, g.UIDs = rapid.Bool().Draw(t, "self"), []uint32{33, 1000}
		case "servers":
			g.Self = rapid.IntRange(0, 3).Draw(t, "self") == 0
		}
		if rapid.IntRange(0, 2).Draw(t, "partial") == 0 {
			g.Share, g.ShareBy = rapid.SampledFrom([]int{1, 5, 50, 99, 100}).Draw(t, "share"), rapid.SampledFrom([]string{"mac", "ipv4"}).Draw(t, "shareBy")
		}
		if rapid.IntRange(0, 2).Draw(t, "prefixes") == 0 {
			g.Prefixes = drawPrefixes(t, "only", 2, poolInside)
		}
		out = append(out, g)
	}
	return out
}

// drawWorld draws exceptions, quarantine, groups put back and spared.
func drawWorld(t *rapid.T) *oracle.World {
	w := &oracle.World{Shares: map[string]string{}}
	some := func(label string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(poolGroups), 0, 2, rapid.ID).Draw(t, label)
	}
	if rapid.Bool().Draw(t, "calm") {
		return w
	}
	w.Back, w.Spared = some("back"), some("spared")
	if rapid.Bool().Draw(t, "quarantine") {
		w.Quarantined = []netip.Addr{netip.MustParseAddr("10.20.1.25"), netip.MustParseAddr("fd20:0:0:1::25")}
	}
	for _, p := range drawPrefixes(t, "nospare", 2, poolInside) {
		to := rapid.SampledFrom(poolOutside).Draw(t, "to")
		w.NoSpare = append(w.NoSpare, compile.Lifeline{From: []netip.Prefix{p}, To: prefixes(to)})
	}
	if rapid.Bool().Draw(t, "unblock") {
		w.Unblocked = []compile.Lifeline{{From: prefixes("10.20.0.0/16"), To: prefixes("128.0.0.0/1"), Services: services("tcp/440-450")},
			{From: prefixes("fd20::/48"), To: prefixes("2000::/3"), Services: services("tcp/440-450")}}
	}
	return w
}

// drawPacket draws a packet at the edges of what the pools name.
func drawPacket(t *rapid.T, hooks []string) eval.Packet {
	fam := rapid.IntRange(0, 1).Draw(t, "family")
	addr := func(pools ...[]string) netip.Addr {
		var own []netip.Prefix
		for _, s := range slices.Concat(pools...) {
			if p := netip.MustParsePrefix(s); p.Addr().Is4() == (fam == 0) {
				own = append(own, p)
			}
		}
		p := rapid.SampledFrom(own).Draw(t, "near")
		first, end := p.Addr(), p.Addr().AsSlice()
		for i := p.Bits(); i < len(end)*8; i++ {
			end[i/8] |= 1 << (7 - i%8)
		}
		lastAddr, _ := netip.AddrFromSlice(end)
		a := rapid.SampledFrom([]netip.Addr{first, first, lastAddr, first.Next(), first.Prev(), lastAddr.Next(), lastAddr.Prev()}).Draw(t, "addr")
		if !a.IsValid() {
			return first
		}
		return a
	}
	svc, _ := flow.ParseService(rapid.SampledFrom(poolServices).Draw(t, "service"))
	near := func() uint16 {
		return rapid.SampledFrom([]uint16{svc.Lo, svc.Hi, min(svc.Hi, svc.Proto.Max()-min(1, svc.Proto.Max())) + min(1, svc.Proto.Max()), svc.Lo - min(svc.Lo, 1)}).Draw(t, "port")
	}
	p := eval.Packet{Proto: svc.Proto, Src: addr(poolInside, poolInside, poolOutside), Dst: addr(poolOutside, poolOutside, poolInside,
		[]string{"127.0.0.1/32", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32", "::1/128", "fe80::/10", "ff00::/8"}),
		Port: near(), SrcPort: near(), State: rapid.SampledFrom([]eval.State{eval.New, eval.New, eval.New, eval.Established, eval.Established, eval.Related, eval.Invalid, eval.Untracked}).Draw(t, "state"),
		Reply: rapid.IntRange(0, 9).Draw(t, "reply") == 0}
	if p.Proto.Max() == 0 {
		p.Port, p.SrcPort = 0, 0
	}
	if p.State == eval.Established && rapid.IntRange(0, 9).Draw(t, "expected") == 0 {
		p.Status = 1
	}
	if p.Proto == flow.TCP {
		p.TCPFlags = rapid.SampledFrom([]byte{0x02, 0x02, 0x02, 0x10, 0x12, 0xc2, 0x04}).Draw(t, "flags")
	}
	p.Hook = rapid.SampledFrom(hooks).Draw(t, "hook")[:1]
	p.Out = rapid.SampledFrom([]string{"wan0", "wan0", "wan1", "lan0", "lo"}).Draw(t, "out")
	if p.Hook == "f" {
		p.In = rapid.SampledFrom([]string{"lan0", "guest0", "wan0", "vpn0"}).Draw(t, "in")
		if rapid.IntRange(0, 3).Draw(t, "ether") > 0 {
			p.MAC = rapid.SampledFrom([][]byte{{2, 0, 0x5e, 0x10, 0, 7}, {2, 0, 0x5e, 0x10, 0, 8}, {2, 0, 0x5e, 0x10, 0, 9}}).Draw(t, "mac")
		}
	} else if rapid.IntRange(0, 3).Draw(t, "socket") > 0 {
		uid := rapid.SampledFrom([]uint32{0, 33, 1000, 1001}).Draw(t, "uid")
		p.UID = &uid
	}
	return p
}

type fields struct {
	suffix       string
	addr         nft.Type
	saddr, daddr nft.Field
}

func byFamily(v4 bool) fields {
	if v4 {
		return fields{"4", nft.IPv4Addr, nft.IPSaddr, nft.IPDaddr}
	}
	return fields{"6", nft.IPv6Addr, nft.IP6Saddr, nft.IP6Daddr}
}

// machine puts a revision and a world together, as the kernel would hold them.
func machine(t testing.TB, rev nft.Revision, w *oracle.World) *eval.Machine {
	t.Helper()
	extra := nft.Ruleset{Chains: []nft.Chain{{Name: nft.UnblockChain}}}
	for i, e := range w.Unblocked {
		f := byFamily(e.From[0].Addr().Is4())
		from, fromEnd := nft.Range(e.From[0])
		to, toEnd := nft.Range(e.To[0])
		svc := e.Services[0]
		s := nft.Set{Name: fmt.Sprint("w_e", i), Key: []nft.Type{f.addr, f.addr, nft.InetProto, nft.InetService}, Interval: true, HasTimeout: true,
			Elements: []nft.Element{{Key: nft.Concat(from, to, nft.ProtoKey(svc.Proto), nft.Port(svc.Lo)), KeyEnd: nft.Concat(fromEnd, toEnd, nft.ProtoKey(svc.Proto), nft.Port(svc.Hi))}}}
		extra.Sets = append(extra.Sets, s)
		extra.Chains[0].Rules = append(extra.Chains[0].Rules,
			nft.R(nft.Is(nft.L4Proto, []byte{6}, []byte{17}, []byte{33}, []byte{132}, []byte{136}), nft.In(s.Name, f.saddr, f.daddr, nft.L4Proto, nft.ThDport), nft.Accept()))
	}
	m := eval.NewMachine(rev.Skeleton, rev.Ruleset, extra)
	m.Strict = true // reading ports where there are none is a mistake
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(m.Stable(rev))
	for _, g := range w.Back {
		if slices.Contains(rev.Groups, g) {
			must(m.Point(nft.BackMap(g), nft.AlertChain(g)))
		}
	}
	spare := &nft.Verdict{Kind: "jump", Chain: "w_spare"}
	for _, g := range w.Spared {
		if slices.Contains(rev.Groups, g) {
			must(m.Fill(nft.SpareMap(g), nft.Element{Key: []byte{2}, Verdict: spare}, nft.Element{Key: []byte{10}, Verdict: spare}))
		}
	}
	for _, v4 := range []bool{true, false} {
		f := byFamily(v4)
		var quar, nospare []nft.Element
		for _, a := range w.Quarantined {
			if a.Is4() == v4 {
				quar = append(quar, nft.Element{Key: nft.Addr(a)})
			}
		}
		for _, l := range w.NoSpare {
			if l.From[0].Addr().Is4() == v4 && l.To[0].Addr().Is4() == v4 {
				from, fromEnd := nft.Range(l.From[0])
				to, toEnd := nft.Range(l.To[0])
				nospare = append(nospare, nft.Element{Key: nft.Concat(from, to), KeyEnd: nft.Concat(fromEnd, toEnd)})
			}
		}
		must(m.Fill("w_quar"+f.suffix, quar...))
		must(m.Fill("w_nospare"+f.suffix, nospare...))
	}
	return m
}

// TestCompiledEqualsOracle: the compiled ruleset decides every packet as the
// input says. More with -rapid.checks=100000.
func TestCompiledEqualsOracle(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := drawInput(r, compile.Open, compile.Alert, compile.Drop, compile.Reject, compile.Honeypot)
		w := drawWorld(r)
		rev, err := compile.Compile(in)
		if err != nil {
			if selfTwice(in) {
				return
			}
			r.Fatal(err)
		}
		m := machine(t, rev, w)
		for range 300 {
			p := drawPacket(r, in.Scope.Hooks)
			want := oracle.Judge(in, w, p)
			got, err := m.Eval(p)
			if err != nil {
				r.Fatalf("%+v: %v", p, err)
			}
			last, differs := "", ""
			for _, c := range got.Counters {
				if strings.HasSuffix(c, "_widens") || strings.HasSuffix(c, "_narrows") {
					differs = c // beside the decision
				} else {
					last = c
				}
			}
			if want.Share != "" { // the first look at a client says on which side it is
				group, _, _ := strings.Cut(want.Share, " ")
				w.Shares[want.Share] = "out"
				if slices.ContainsFunc(got.Path, func(c string) bool {
					return strings.HasSuffix(c, "_d_"+group) || strings.HasSuffix(c, "_e_"+group)
				}) {
					w.Shares[want.Share] = "in"
				}
				want = oracle.Judge(in, w, p)
			}
			// capture comes before lifelines and "off", which count nothing
			if last == "w_misses" || want.Counter == "" && last == "w_suppressed" {
				last = ""
			}
			if got.Verdict != want.Verdict || last != want.Counter || differs != want.Differs && !in.Off {
				r.Fatalf("packet %+v\nwant %+v\ngot  %s, counters %q %q, by %s: %s\npath %v\n%s", p, want, got.Verdict, last, differs, got.Chain, got.Rule, got.Path, rev.Ruleset)
			}
			if p.Hook == "f" && p.State == eval.New && !p.Reply && p.Status == 0 && (p.Proto != flow.TCP || p.TCPFlags&0x17 == 0x02) {
				checkNAT(r, in, rev, m, p, want)
			}
		}
	})
}

// checkNAT: under the lease the honeypot gets exactly what filter would deny
// and the plan sends there; without it nobody is redirected.
func checkNAT(r *rapid.T, in compile.Input, rev nft.Revision, m *eval.Machine, p eval.Packet, want oracle.Decision) {
	if _, ok := rev.Entry[nft.HookNAT]; !ok {
		if want.Pot {
			r.Fatalf("%+v belongs to the honeypot, but the revision has no nat entry", p)
		}
		return
	}
	p.Hook = nft.HookNAT
	lease := []nft.Element{{Key: []byte{2}}, {Key: []byte{10}}}
	for _, held := range []bool{false, true} {
		if err := m.Fill(compile.HoneypotSet, lease...); err != nil {
			r.Fatal(err)
		}
		if !held {
			m.Fill(compile.HoneypotSet)
		}
		verdict := "accept"
		if held && want.Pot {
			verdict = "redirect to :2323"
		}
		if got, err := m.Eval(p); err != nil || got.Verdict != verdict {
			r.Fatalf("nat, lease %t: %+v\nwant %s, got %s by %s: %s, %v\npath %v\n%s", held, p, verdict, got.Verdict, got.Chain, got.Rule, err, got.Path, rev.Ruleset)
		}
		p.ToSelf = true
		if got, err := m.Eval(p); err != nil || got.Verdict != "accept" {
			r.Fatalf("nat, to this machine: %+v: %s %v", p, got.Verdict, err)
		}
		p.ToSelf = false
	}
}

// selfTwice: two groups that are all of this machine's output is an error.
func selfTwice(in compile.Input) bool {
	n := 0
	for _, g := range in.Groups {
		if g.Self && len(g.UIDs) == 0 {
			n++
		}
	}
	return n > 1
}

// TestStory05AlertDropsNothing (what a "log" rule must never do): a step without a
// denying treatment holds no rule that could stop a packet.
func TestStory05AlertDropsNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := drawInput(r, compile.Open, compile.Alert)
		rev, err := compile.Compile(in)
		if err != nil {
			if selfTwice(in) {
				return
			}
			r.Fatal(err)
		}
		for _, c := range rev.Ruleset.Chains {
			for _, rule := range c.Rules {
				for _, s := range rule.Stmts {
					switch s := s.(type) {
					case nft.Verdict:
						switch s.Kind {
						case "accept", "continue", "return":
						case "jump", "goto":
							if s.Chain == "w_refuse" {
								r.Fatalf("chain %s: %s", c.Name, rule)
							}
						default:
							r.Fatalf("chain %s: %s", c.Name, rule)
						}
					case nft.Reject, nft.Redirect:
						r.Fatalf("chain %s: %s", c.Name, rule)
					}
				}
			}
		}
		for _, h := range in.Scope.Hooks {
			m := eval.NewMachine(rev.Skeleton, rev.Ruleset)
			if err := m.Stable(rev); err != nil {
				r.Fatal(err)
			}
			for range 20 {
				p := drawPacket(r, []string{h})
				if got, err := m.Eval(p); err != nil || !got.Passes() {
					r.Fatalf("%+v: %s %v", p, got.Verdict, err)
				}
			}
		}
	})
}
