package compile

import (
	"net/netip"
	"slices"

	"weir/nft"
	"weir/phases/flow"
)

// Destinations that no plan judges: multicast, broadcast, link-local, loopback.
var local = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

// scope writes the chain that passes, counted, what is not from inside to
// outside, and returns for the rest.
//
//	chain rID_scope_X {
//	  meta nfproto ipv4 ip saddr @p4… ip daddr != @p4… oifname "wan0" return   # most packets: see plain
//	  oifname "lo" counter name w_local accept
//	  ip daddr @p4… counter name w_local accept          # multicast, broadcast, link-local
//	  ip daddr @p4… goto rID_in_X                        # to inside
//	  oifname { lan0 } goto rID_in_X
//	  ip saddr @p4… goto rID_out_X                       # from inside: judged
//	  iifname { lan0 } goto rID_out_X
//	  counter name w_outside accept
//	}
//	chain rID_in_X {
//	  ip saddr @p4… counter name w_inside accept
//	  jump w_capture_in                                  # not with inbound: ignore
//	  counter name w_inbound accept
//	}
//	chain rID_out_X {                                    # only where the plan restricts outside
//	  ip daddr @p4… return
//	  oifname { wan0 } return
//	  counter name w_outside accept
//	}
func (b *builder) scope(hook string) {
	sc := b.in.Scope
	oif := leaving(hook)
	rules := []nft.Rule{rule(b.pass(hook, "w_local", ifnames(oif, []string{"lo"}))...)}
	for _, f := range families {
		rules = append(rules, rule(b.pass(hook, "w_local", in(b.prefixSet(local, f), f.daddr))...))
	}
	if hook != nft.HookNAT {
		rules = slices.Insert(rules, 0, b.plain(hook)...)
	}
	inChain := b.name("in_" + hook)
	toInside := false
	for i, f := range families {
		if b.inside[i] != "" {
			rules = append(rules, rule(in(b.inside[i], f.daddr), goTo(inChain)))
			toInside = true
		}
	}
	if len(sc.InsideIfaces) > 0 {
		rules = append(rules, rule(ifnames(oif, sc.InsideIfaces), goTo(inChain)))
		toInside = true
	}
	judged := nft.Stmt(ret)
	restricted := len(sc.Outside)+len(sc.OutsideIfaces) > 0
	if restricted {
		judged = goTo(b.name("out_" + hook))
	}
	if hook == nft.HookOutput {
		rules = append(rules, rule(judged)) // what this machine sends is from inside
	} else {
		for i, f := range families {
			if b.inside[i] != "" {
				rules = append(rules, rule(in(b.inside[i], f.saddr), judged))
			}
		}
		if len(sc.InsideIfaces) > 0 {
			rules = append(rules, rule(ifnames(nft.IIFName, sc.InsideIfaces), judged))
		}
		rules = append(rules, rule(b.pass(hook, "w_outside")...))
	}
	b.chain("scope_"+hook, rules...)
	if toInside {
		b.inward(hook)
	}
	if !restricted {
		return
	}
	rules = nil
	for i, f := range families {
		if b.outside[i] != "" {
			rules = append(rules, rule(in(b.outside[i], f.daddr), ret))
		}
	}
	if len(sc.OutsideIfaces) > 0 {
		rules = append(rules, rule(ifnames(oif, sc.OutsideIfaces), ret))
	}
	b.chain("out_"+hook, append(rules, rule(b.pass(hook, "w_outside")...))...)
}

// plain writes one rule for each family that returns for what is plainly judged
// and what most packets are: from an inside prefix to an address that is neither
// inside nor local, by a way out. The rules after it decide the same of such
// packets, one question at a time.
func (b *builder) plain(hook string) []nft.Rule {
	sc := b.in.Scope
	never := append([]string{"lo"}, sc.InsideIfaces...)
	ways := slices.DeleteFunc(slices.Clone(sc.OutsideIfaces), func(n string) bool { return slices.Contains(never, n) })
	var rules []nft.Rule
	for i, f := range families {
		stmts := []nft.Stmt{f.is()}
		if hook != nft.HookOutput {
			if b.inside[i] == "" {
				continue
			}
			stmts = append(stmts, b.among(sc.Inside, f, f.saddr))
		}
		stmts = append(stmts, notIn(b.prefixSet(slices.Concat(local, sc.Inside), f), f.daddr))
		switch {
		case len(ways) > 0:
			stmts = append(stmts, ifnames(nft.OIFName, ways))
		case len(sc.OutsideIfaces) > 0:
			continue
		default:
			m := ifnames(nft.OIFName, never)
			m.Not = true
			stmts = append(stmts, m)
			if b.outside[i] != "" {
				stmts = append(stmts, in(b.outside[i], f.daddr))
			} else if len(sc.Outside) > 0 {
				continue
			}
		}
		rules = append(rules, nft.Rule{Stmts: append(stmts, ret)})
	}
	return rules
}

// among matches an address with prefixes: one is compared, more are a set.
func (b *builder) among(list []netip.Prefix, f family, field nft.Field) nft.Match {
	own := ofFamily(list, f)
	if len(own) == 1 && own[0].Bits() > 0 {
		v := nft.Value{Lo: own[0].Addr().AsSlice()}
		if !own[0].IsSingleIP() {
			v.Hi = last(own[0]).AsSlice()
		}
		return is(field, v)
	}
	return in(b.prefixSet(list, f), field)
}

// leaving is the field of the interface that a packet leaves by: before
// routing it has to be asked for.
func leaving(hook string) nft.Field {
	if hook == nft.HookNAT {
		return nft.FibOIFName
	}
	return nft.OIFName
}

// pass accepts, counted; nat counts nothing, filter sees the packet again.
func (b *builder) pass(hook, counter string, match ...nft.Stmt) []nft.Stmt {
	if hook != nft.HookNAT {
		match = append(match, count(counter))
	}
	return append(match, accept)
}

// inward writes what happens to packets for inside. A refusal acts only in a
// step in which some group is denied something: monitor and alert drop nothing.
func (b *builder) inward(hook string) {
	sc := b.in.Scope
	switch hook {
	case nft.HookOutput:
		b.chain("in_"+hook, rule(count("w_inside"), accept))
		return
	case nft.HookNAT:
		b.chain("in_"+hook, rule(accept))
		return
	}
	var rules []nft.Rule
	for i, f := range families {
		if b.inside[i] != "" {
			rules = append(rules, rule(in(b.inside[i], f.saddr), count("w_inside"), accept))
		}
	}
	if len(sc.InsideIfaces) > 0 {
		rules = append(rules, rule(ifnames(nft.IIFName, sc.InsideIfaces), count("w_inside"), accept))
	}
	if sc.Inbound != "ignore" {
		rules = append(rules, rule(jump("w_capture_in")))
	}
	if sc.Inbound == "refuse" && b.denies() {
		var allowed []tuple
		for _, r := range sc.InboundAllow {
			allowed = append(allowed, tuple{from: r.From, to: r.To, services: r.Services})
		}
		for _, l := range b.lookups(allowed, nft.ThDport) {
			rules = append(rules, l.rule(count("w_inbound"), accept))
		}
		// ct state new goto w_refuse
		rules = append(rules, rule(state(stateNew), goTo("w_refuse")))
	}
	b.chain("in_"+hook, append(rules, rule(count("w_inbound"), accept))...)
}

// Errors on the way and neighbour discovery: without them nothing works, so
// they are lifelines of every plan.
var (
	icmpErrors   = []nft.Value{one(3), one(11), one(12)}
	icmpv6Errors = []nft.Value{one(1), one(2), one(3), one(4), one(130), one(131), one(132), one(133), one(134), one(135), one(136), one(143)}
)

// shared writes the chains of the lifelines.
//
//	chain rID_lifelines {
//	  meta l4proto tcp goto rID_lifeports                    # udp, the others
//	  meta nfproto ipv4 meta l4proto icmp icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
//	  meta nfproto ipv6 meta l4proto icmpv6 icmpv6 type { … nd-neighbor-solicit … } accept
//	  ip saddr . ip daddr . meta l4proto @x4… accept
//	  …
//	}
//	chain rID_lifeports {
//	  ip saddr . ip daddr . meta l4proto . th dport @x4… accept
//	  …
//	}
func (b *builder) shared() {
	var ask, answer []tuple
	for _, l := range b.in.Lifelines {
		t := tuple{from: l.From, to: l.To, services: l.Services}
		if l.Reply {
			answer = append(answer, t)
		} else {
			ask = append(ask, t)
		}
	}
	var ports []nft.Rule
	rest := []nft.Rule{
		rule(proto(flow.ICMP), families[0].is(), is(nft.ICMPTypeF, icmpErrors...), accept),
		rule(proto(flow.ICMPv6), families[1].is(), is(nft.ICMP6TypeF, icmpv6Errors...), accept),
	}
	for _, l := range slices.Concat(b.lookups(ask, nft.ThDport), b.lookups(answer, nft.ThSport)) {
		switch l.part {
		case byPort:
			ports = append(ports, l.bare(accept))
		case byType:
			rest = append(rest, l.rule(accept))
		case byProto:
			ports, rest = append(ports, l.rule(accept)), append(rest, l.rule(accept))
		}
	}
	if len(ports) > 0 {
		b.chain("lifeports", ports...)
		rest = append(portedRules(goTo(b.name("lifeports"))), rest...)
	}
	b.chain("lifelines", rest...)
}
