package compile

import (
	"time"

	"weir/nft"
)

// Limits of the memories and logs. A memory that is full forgets nothing and
// learns nothing: what it misses is counted or goes through the log limits.
const (
	memorySize    = 65536
	memoryTimeout = time.Hour
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

// skeleton returns what every revision with these hooks and groups needs.
func skeleton(hooks, groups []string, logGroup, verdictGroup, honeypot uint16) nft.Ruleset {
	s := nft.Ruleset{Family: "inet", Table: nft.TableName}
	s.Counters = append(s.Counters, baseCounters...)
	for _, g := range groups {
		s.Counters = append(s.Counters, allowedCounter(g), wouldCounter(g), deniedCounter(g))
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
		s.Sets = append(s.Sets, memories("w_seen"+f.suffix, "w_seenb"+f.suffix, "w_seeni"+f.suffix, f)...)
		for _, t := range []string{"a", "d"} {
			m := memories("", "w_"+t+"b"+f.suffix, "w_"+t+"i"+f.suffix, f)
			s.Sets = append(s.Sets, m[1:]...)
			for _, g := range groups {
				s.Sets = append(s.Sets, memories("w_"+t+f.suffix+"_"+g, "", "", f)[0])
			}
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
		// ct state related counter name w_related accept
		// ct state untracked counter name w_untracked accept
		// counter name w_invalid accept
		nft.Chain{Name: "w_odd", Rules: []nft.Rule{
			rule(state(stateRelated), count("w_related"), accept),
			rule(state(stateUntracked), count("w_untracked"), accept),
			rule(count("w_invalid"), accept),
		}},
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
		// jump w_la_<group>
		// counter name w_c_<group>_would accept
		s.Chains = append(s.Chains, nft.Chain{Name: nft.AlertChain(g), Rules: []nft.Rule{
			rule(jump("w_la_" + g)),
			rule(count(wouldCounter(g)), accept),
		}})
	}
	for _, h := range hooks {
		s.Chains = append(s.Chains, mainChain(h), baseChain(h))
	}
	if honeypot != 0 {
		s.Chains = append(s.Chains, honeypotGate(honeypot)...)
	}
	return s
}

// mainChain is what the base chain jumps to. In nat only the first packet of a
// connection comes by, so nothing has to be told apart.
func mainChain(hook string) nft.Chain {
	c := nft.Chain{Name: "w_main_" + hook}
	if hook != nft.HookNAT {
		pickup := nft.Match{Fields: []nft.Field{nft.TCPFlags}, Mask: []byte{0x17}, Values: []nft.Value{one(0x02)}, Not: true}
		c.Rules = []nft.Rule{
			// ct direction reply counter name w_reply accept
			rule(is(nft.CTDirection, one(1)), count("w_reply"), accept),
			// ct state related,untracked,invalid goto w_odd
			rule(state(stateRelated|stateUntracked|stateInvalid), goTo("w_odd")),
			// ct status expected accept
			rule(is(nft.CTStatus, nft.Value{Lo: host32(statusExpected)}), accept),
			// meta l4proto tcp ct state new tcp flags & (fin|syn|rst|ack) != syn counter name w_pickup accept
			rule(proto(6), state(stateNew), pickup, count("w_pickup"), accept),
		}
	}
	c.Rules = append(c.Rules,
		// meta nfproto vmap @w_trial_X
		rule(vmap(nft.TrialMap(hook), nft.NFProtoF)),
		// meta nfproto vmap @w_stable_X
		rule(vmap(nft.StableMap(hook), nft.NFProtoF)))
	return c
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
