package compile

import (
	"time"

	"weir/nft"
	"weir/phases/flow"
)

// Limits of the memories and logs. A memory that is full forgets nothing and
// learns nothing: what it misses is counted or goes through the log limits.
const (
	memorySize    = 65536
	memoryTimeout = time.Hour
	pickTimeout   = 24 * time.Hour
	sourceRate    = 10 // log lines per second and source
	sourceBurst   = 50
	groupRate     = 500 // log lines per second, group and treatment
	groupBurst    = 1000
	logSnaplen    = 96
)

// baseCounters are the counters that belong to no group.
var baseCounters = []string{
	"w_reply", "w_related", "w_untracked", "w_invalid", "w_pickup", "w_local", "w_inside", "w_outside",
	"w_inbound", "w_refused", "w_misses", "w_suppressed", "w_spared", "w_quarantined", "w_hpcut",
}

func allowedCounter(group string) string { return "w_c_" + group + "_allowed" }
func wouldCounter(group string) string   { return "w_c_" + group + "_would" }
func deniedCounter(group string) string  { return "w_c_" + group + "_denied" }

// skeleton returns what every revision with these hooks and groups needs; of
// shadowed ones more.
func skeleton(hooks, groups, shadowed []string, logGroup, verdictGroup, honeypot uint16) nft.Ruleset {
	s := nft.Ruleset{Family: "inet", Table: nft.TableName}
	s.Counters = append(s.Counters, baseCounters...)
	for _, g := range groups {
		s.Counters = append(s.Counters, allowedCounter(g), wouldCounter(g), deniedCounter(g))
	}
	for _, g := range shadowed {
		s.Counters = append(s.Counters, WidensCounter(g), NarrowsCounter(g))
	}
	s.Sets = append(s.Sets,
		nft.Set{Name: nft.MarkerMap, Key: []nft.Type{nft.IfName}, Data: nft.Mark},
		nft.Set{Name: nft.TxMap, Key: []nft.Type{nft.IfName}, Data: nft.Mark})
	for _, h := range hooks {
		s.Sets = append(s.Sets,
			nft.Set{Name: nft.TrialMap(h), Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType, HasTimeout: true},
			nft.Set{Name: nft.StableMap(h), Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType, Size: 16}) // with a size the kernel chooses its fastest set
	}
	for _, g := range groups {
		s.Sets = append(s.Sets,
			nft.Set{Name: nft.BackMap(g), Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType, HasTimeout: true},
			nft.Set{Name: nft.SpareMap(g), Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType, HasTimeout: true})
	}
	for _, f := range families {
		s.Sets = append(s.Sets,
			nft.Set{Name: "w_nospare" + f.suffix, Key: []nft.Type{f.addr, f.addr}, Interval: true, HasTimeout: true},
			nft.Set{Name: "w_quar" + f.suffix, Key: []nft.Type{f.addr}, HasTimeout: true},
			nft.Set{Name: "w_ls" + f.suffix, Key: []nft.Type{f.addr}, Dynamic: true, HasTimeout: true,
				Size: memorySize, DefaultTimeout: time.Minute},
			nft.Set{Name: "w_sup" + f.suffix, Key: []nft.Type{f.addr}, Dynamic: true, HasTimeout: true, Counter: true,
				Size: memorySize, DefaultTimeout: 24 * time.Hour})
		s.Sets = append(s.Sets, nft.Set{Name: "w_pick" + f.suffix, Key: []nft.Type{f.addr, nft.InetService, f.addr, nft.InetService},
			Dynamic: true, HasTimeout: true, Size: memorySize, DefaultTimeout: pickTimeout})
		s.Sets = append(s.Sets, memories("w_seen"+f.suffix, "w_seenb"+f.suffix, "w_seeni"+f.suffix, f)...)
		for _, t := range []string{"a", "d"} {
			s.Sets = append(s.Sets, logMemories(t, groups, f)...)
		}
		if len(shadowed) > 0 {
			s.Sets = append(append(s.Sets, logMemories("w", shadowed, f)...), logMemories("c", shadowed, f)...)
		}
	}
	if honeypot != 0 {
		s.Counters = append(s.Counters, "w_hpto", "w_hpin")
		s.Sets = append(s.Sets, nft.Set{Name: HoneypotSet, Key: []nft.Type{nft.NFProto}, HasTimeout: true})
	}

	s.Chains = append(s.Chains,
		captureChain("w_capture", "weir n ", logGroup),
		captureChain("w_capture_in", "weir in ", logGroup),
		nft.Chain{Name: nft.UnblockChain},
		pickedUp(), picked(),
		// ip saddr . ip daddr @w_nospare4 return
		// ip6 saddr . ip6 daddr @w_nospare6 return
		// counter name w_spared accept
		nft.Chain{Name: "w_spare", Rules: []nft.Rule{
			rule(in("w_nospare4", nft.IPSaddr, nft.IPDaddr), ret),
			rule(in("w_nospare6", nft.IP6Saddr, nft.IP6Daddr), ret),
			rule(count("w_spared"), accept),
		}},
		// limit rate 100/second log prefix "weir q " group 101 snaplen 96
		// counter name w_quarantined drop
		nft.Chain{Name: "w_quarantined", Rules: []nft.Rule{
			rule(nft.Limit{Rate: 100, Unit: "second", Burst: 100}, nft.Log{Prefix: "weir q ", Group: verdictGroup, Snaplen: logSnaplen}),
			rule(count("w_quarantined"), drop),
		}},
		// counter name w_refused drop       # w_capture_in has logged it
		nft.Chain{Name: "w_refuse", Rules: []nft.Rule{rule(count("w_refused"), drop)}},
	)
	for _, g := range groups {
		s.Chains = append(s.Chains, logChains("a", g, verdictGroup)...)
		s.Chains = append(s.Chains, logChains("d", g, verdictGroup)...)
		// ct state established meta l4proto tcp jump w_picked
		// jump w_la_<group>
		// counter name w_c_<group>_would accept
		s.Chains = append(s.Chains, nft.Chain{Name: nft.AlertChain(g), Rules: []nft.Rule{
			rule(state(stateEstablished), proto(flow.TCP), jump("w_picked")),
			rule(jump("w_la_" + g)),
			rule(count(wouldCounter(g)), accept),
		}})
	}
	for _, g := range shadowed {
		s.Chains = append(s.Chains, shadowChains(g, verdictGroup)...)
	}
	for _, h := range hooks {
		s.Chains = append(append(s.Chains, mainChains(h)...), baseChain(h))
	}
	if honeypot != 0 {
		s.Chains = append(s.Chains, honeypotGate(honeypot)...)
	}
	return s
}

// mainChains is what the base chain jumps to. In nat only the first packet of a
// connection comes by, so nothing has to be told apart. What passes unjudged
// (replies, and what connection tracking cannot place) is asked first whether
// it comes from an endpoint that is cut off: that one answers nobody.
//
//	chain w_judged_X {
//	  meta nfproto vmap @w_trial_X
//	  meta nfproto vmap @w_stable_X
//	}
//	chain w_passed_X {
//	  ip saddr @w_quar4 goto w_judged_X
//	  ip6 saddr @w_quar6 goto w_judged_X
//	  ct direction reply counter name w_reply accept
//	  ct state related counter name w_related accept
//	  ct state untracked counter name w_untracked accept
//	  ct state invalid counter name w_invalid accept
//	  goto w_pickedup
//	}
//	chain w_main_X {
//	  ct direction reply goto w_passed_X
//	  ct state related,untracked,invalid goto w_passed_X
//	  ct status expected accept
//	  meta l4proto tcp ct state new tcp flags & (fin|syn|rst|ack) != syn goto w_passed_X
//	  meta nfproto vmap @w_trial_X
//	  meta nfproto vmap @w_stable_X
//	}
func mainChains(hook string) []nft.Chain {
	judge := []nft.Rule{rule(vmap(nft.TrialMap(hook), nft.NFProtoF)), rule(vmap(nft.StableMap(hook), nft.NFProtoF))}
	if hook == nft.HookNAT {
		return []nft.Chain{{Name: "w_main_" + hook, Rules: judge}}
	}
	judged, passed := nft.Chain{Name: "w_judged_" + hook, Rules: judge}, nft.Chain{Name: "w_passed_" + hook}
	for _, f := range families {
		passed.Rules = append(passed.Rules, rule(in("w_quar"+f.suffix, f.saddr), goTo(judged.Name)))
	}
	reply := is(nft.CTDirection, one(1))
	passed.Rules = append(passed.Rules,
		rule(reply, count("w_reply"), accept),
		rule(state(stateRelated), count("w_related"), accept),
		rule(state(stateUntracked), count("w_untracked"), accept),
		rule(state(stateInvalid), count("w_invalid"), accept),
		rule(goTo("w_pickedup")))
	pickup := nft.Match{Fields: []nft.Field{nft.TCPFlags}, Mask: []byte{0x17}, Values: []nft.Value{one(0x02)}, Not: true}
	return []nft.Chain{judged, passed, {Name: "w_main_" + hook, Rules: append([]nft.Rule{
		rule(reply, goTo(passed.Name)),
		rule(state(stateRelated|stateUntracked|stateInvalid), goTo(passed.Name)),
		rule(is(nft.CTStatus, nft.Value{Lo: host32(statusExpected)}), accept),
		rule(proto(flow.TCP), state(stateNew), pickup, goTo(passed.Name)),
	}, judge...)}}
}

// pickedUp passes TCP that tracking meets in mid-connection, and remembers it:
// who opened it cannot be told any more, and its packets would be judged as
// those of a client with the server's port for its own. Where the tuple was
// seen from its first packet within the hour, it can be told: that is judged.
//
//	chain w_pickedup {
//	  meta nfproto ipv4 ip saddr . ip daddr . meta l4proto . th dport @w_seen4 counter name w_pickup accept
//	  …
//	  meta nfproto ipv4 update @w_pick4 { ip saddr . th sport . ip daddr . th dport }
//	  …
//	  counter name w_pickup accept
//	}
func pickedUp() nft.Chain {
	c := nft.Chain{Name: "w_pickedup"}
	var remember []nft.Rule
	for _, f := range families {
		known := in("w_seen"+f.suffix, f.saddr, f.daddr, nft.L4Proto, nft.ThDport)
		c.Rules = append(c.Rules, rule(f.is(), proto(flow.TCP), known, count("w_pickup"), accept))
		remember = append(remember, rule(f.is(), proto(flow.TCP), f.pick()))
	}
	c.Rules = append(append(c.Rules, remember...), rule(count("w_pickup"), accept))
	return c
}

// picked is asked before a packet in mid-connection is listed or denied.
//
//	chain w_picked {
//	  meta nfproto ipv4 ip saddr . th sport . ip daddr . th dport @w_pick4 update @w_pick4 { … } counter name w_pickup accept
//	  …
//	}
func picked() nft.Chain {
	c := nft.Chain{Name: "w_picked"}
	for _, f := range families {
		op := f.pick()
		c.Rules = append(c.Rules, rule(f.is(), proto(flow.TCP), in(op.Set, op.Fields...), op, count("w_pickup"), accept))
	}
	return c
}

// pick remembers a connection of a family for pickTimeout after its last packet.
func (f family) pick() nft.SetOp {
	return nft.SetOp{Op: "update", Set: "w_pick" + f.suffix, Fields: []nft.Field{f.saddr, nft.ThSport, f.daddr, nft.ThDport}}
}

// baseChain holds one jump, so that everything behind it can be replaced.
func baseChain(hook string) nft.Chain {
	c := nft.Chain{Name: "w_base_" + hook, Type: "filter", Priority: 10,
		Rules: []nft.Rule{rule(jump("w_main_" + hook))}}
	switch hook {
	case nft.HookForward:
		c.Hook = "forward"
	case nft.HookOutput:
		c.Hook = "output"
	case nft.HookNAT:
		c.Type, c.Hook, c.Priority = "nat", "prerouting", -90
	}
	return c
}
