package compile

import "weir/nft"

// memories returns the three sets that remember tuples of a family: with ports,
// bare protocols, ICMP types. A tuple lives for an hour from its first sight
// and is then seen anew.
func memories(ports, bare, icmp string, f family) []nft.Set {
	set := func(name string, key ...nft.Type) nft.Set {
		return nft.Set{Name: name, Key: append([]nft.Type{f.addr, f.addr}, key...), Dynamic: true, HasTimeout: true,
			Size: memorySize, DefaultTimeout: memoryTimeout}
	}
	return []nft.Set{
		set(ports, nft.InetProto, nft.InetService),
		set(bare, nft.InetProto),
		set(icmp, f.icmpType),
	}
}

// logMemories returns the sets of a treatment's log chains: those with ports are
// the group's own, the others are shared.
func logMemories(treatment string, groups []string, f family) []nft.Set {
	p := "w_" + treatment
	out := memories("", p+"b"+f.suffix, p+"i"+f.suffix, f)[1:]
	for _, g := range groups {
		out = append(out, memories(p+f.suffix+"_"+g, "", "", f)[0])
	}
	return out
}

// class is one of the three kinds of tuple: what tells it from the others, its
// fields and the name of its memory.
type class struct {
	guard  []nft.Stmt
	fields []nft.Field
	set    string
}

func classes(f family, ports, bareSet, icmp string) []class {
	return []class{
		{[]nft.Stmt{f.is(), ported()}, []nft.Field{f.saddr, f.daddr, nft.L4Proto, nft.ThDport}, ports},
		{[]nft.Stmt{f.is(), proto(f.icmp)}, []nft.Field{f.saddr, f.daddr, f.icmpField}, icmp},
		{[]nft.Stmt{f.is(), f.bare()}, []nft.Field{f.saddr, f.daddr, nft.L4Proto}, bareSet},
	}
}

func (c class) rule(s ...nft.Stmt) nft.Rule {
	return nft.Rule{Stmts: append(append([]nft.Stmt{}, c.guard...), s...)}
}

// captureChain logs the first sight of a tuple and remembers it. What is
// remembered leaves by the first lookups, as most new connections do. The order
// was measured: looking up before adding logs a burst once; "add", not "update",
// lets a flow that recurs be seen again after an hour.
//
//	ct state established return
//	meta nfproto ipv4 meta l4proto { tcp, … } ip saddr . ip daddr . meta l4proto . th dport @w_seen4 return
//	…
//	meta nfproto ipv4 meta l4proto { tcp, … } log prefix "weir n " group 100 snaplen 96 queue-threshold 64
//	meta nfproto ipv4 meta l4proto { tcp, … } add @w_seen4 { ip saddr . ip daddr . meta l4proto . th dport } return
//	…
//	counter name w_misses
func captureChain(name, prefix string, group uint16) nft.Chain {
	c := nft.Chain{Name: name, Rules: []nft.Rule{rule(state(stateEstablished), ret)}}
	var first []nft.Rule
	for _, f := range families {
		for _, k := range classes(f, "w_seen"+f.suffix, "w_seenb"+f.suffix, "w_seeni"+f.suffix) {
			c.Rules = append(c.Rules, k.rule(in(k.set, k.fields...), ret))
			first = append(first,
				k.rule(nft.Log{Prefix: prefix, Group: group, Snaplen: logSnaplen, Threshold: 64}),
				k.rule(nft.SetOp{Op: "add", Set: k.set, Fields: k.fields}, ret))
		}
	}
	c.Rules = append(append(c.Rules, first...), rule(count("w_misses")))
	return c
}

// logChains log a would-be-denied (treatment "a") or denied ("d") tuple, or one
// that a shadow would let pass ("w") or cut ("c"), once,
// limited per source first, so that one endpoint cannot hide another, and in
// total second. What is not logged is counted, per source and in all, and is
// not remembered: its next packet tries again.
//
//	chain w_la_<group> {
//	  … ip saddr . ip daddr . meta l4proto . th dport @w_a4_<group> return
//	  update @w_ls4 { ip saddr limit rate 10/second burst 50 packets } goto w_ta_<group>
//	  update @w_sup4 { ip saddr }
//	  counter name w_suppressed
//	}
//	chain w_ta_<group> {
//	  limit rate 500/second burst 1000 packets log prefix "weir a <group> " group 101 snaplen 96 goto w_ma_<group>
//	  counter name w_suppressed
//	}
//	chain w_ma_<group> { … add @w_a4_<group> { … } return … }
func logChains(treatment, group string, logGroup uint16) []nft.Chain {
	first := nft.Chain{Name: "w_l" + treatment + "_" + group}
	total := nft.Chain{Name: "w_t" + treatment + "_" + group}
	remember := nft.Chain{Name: "w_m" + treatment + "_" + group}
	for _, f := range families {
		p := "w_" + treatment
		for _, k := range classes(f, p+f.suffix+"_"+group, p+"b"+f.suffix, p+"i"+f.suffix) {
			first.Rules = append(first.Rules, k.rule(in(k.set, k.fields...), ret))
			remember.Rules = append(remember.Rules, k.rule(nft.SetOp{Op: "add", Set: k.set, Fields: k.fields}, ret))
		}
	}
	limit := &nft.Limit{Rate: sourceRate, Unit: "second", Burst: sourceBurst}
	for _, f := range families {
		first.Rules = append(first.Rules,
			rule(f.is(), nft.SetOp{Op: "update", Set: "w_ls" + f.suffix, Fields: []nft.Field{f.saddr}, Limit: limit}, goTo(total.Name)))
	}
	for _, f := range families {
		first.Rules = append(first.Rules,
			rule(f.is(), nft.SetOp{Op: "update", Set: "w_sup" + f.suffix, Fields: []nft.Field{f.saddr}}))
	}
	first.Rules = append(first.Rules, rule(count("w_suppressed")))
	total.Rules = []nft.Rule{
		rule(nft.Limit{Rate: groupRate, Unit: "second", Burst: groupBurst},
			nft.Log{Prefix: "weir " + treatment + " " + group + " ", Group: logGroup, Snaplen: logSnaplen}, goTo(remember.Name)),
		rule(count("w_suppressed")),
	}
	return []nft.Chain{remember, total, first}
}
