package compile

import (
	"cmp"
	"slices"

	"weir/nft"
)

// HoneypotSet holds a family while its captured flows may live: a lease that
// the daemon refreshes after a probe came through. While the set is empty
// nothing is redirected and what was captured is ended.
const HoneypotSet = nft.HoneypotSet

// honeypotGate is the input side of the redirect: captured connections live
// only under the lease.
//
//	chain w_base_i { type filter hook input priority -10; policy accept;
//	  ct status dnat ct direction original meta l4proto tcp th dport 2323 jump w_hpgate
//	}
//	chain w_hpgate {
//	  meta nfproto @w_hp accept
//	  counter name w_hpcut
//	  meta l4proto tcp reject with tcp reset
//	  reject with icmpx port-unreachable
//	}
//
// At the end of the hook stands a count of what was redirected and arrives: a
// rule of somebody else's in between may drop it.
//
//	chain w_base_l { type filter hook input priority 300; policy accept;
//	  ct status dnat ct direction original meta l4proto tcp th dport 2323 ct state new counter name w_hpin
//	}
func honeypotGate(port uint16) []nft.Chain {
	captured := func(more ...nft.Stmt) nft.Rule {
		return rule(append([]nft.Stmt{is(nft.CTStatus, nft.Value{Lo: host32(statusDNAT)}), is(nft.CTDirection, one(0)), proto(6),
			is(nft.ThDport, one(byte(port>>8), byte(port)))}, more...)...)
	}
	return []nft.Chain{
		{Name: "w_hpgate", Rules: []nft.Rule{
			rule(in(HoneypotSet, nft.NFProtoF), accept),
			rule(count("w_hpcut")),
			rule(proto(6), nft.Reject{With: "tcp reset"}),
			rule(nft.Reject{With: "icmpx port-unreachable"}),
		}},
		{Name: "w_base_l", Type: "filter", Hook: "input", Priority: 300, Rules: []nft.Rule{captured(state(stateNew), count("w_hpin"))}},
		{Name: "w_base_i", Type: "filter", Hook: "input", Priority: -10, Rules: []nft.Rule{captured(jump("w_hpgate"))}},
	}
}

// redirects says whether the revision needs the nat entry: forwarded packets are
// judged, and this step sends some of them to the honeypot. A plan that will
// have a honeypot later has no nat chain before: one changes how the kernel
// treats every connection, if only by choosing another port where two collide.
func (b *builder) redirects() bool {
	return slices.Contains(b.hooks, nft.HookForward) && b.denies() && slices.ContainsFunc(b.groups, b.captures)
}

// nat writes the redirect. It asks what filter asks, in the same order, and
// redirects only what filter would deny: with the lease gone, filter rejects.
//
//	chain rID_n {
//	  meta nfproto != @w_hp accept                   # no lease: nothing is redirected
//	  fib daddr type local accept
//	  jump rID_scope_n
//	  jump rID_lifelines
//	  ip saddr @w_quar4 accept
//	  ip6 saddr @w_quar6 accept
//	  ip saddr vmap @rID_n4                          # dispatch as in filter
//	  …
//	}
//	chain rID_ng_<group> {
//	  … goto rID_nd_<group>                          # never: honeypot
//	  ip daddr . meta l4proto @x4… accept            # allow rules
//	  goto rID_nd_<group>
//	}
//	chain rID_nd_<group> {
//	  meta l4proto != tcp accept                     # filter rejects
//	  jump w_unblocks
//	  meta nfproto vmap @w_g_<group>
//	  jump w_capture
//	  limit rate 100/second burst 100 packets log prefix "weir h <group> " group 101 snaplen 96
//	  counter name w_c_<group>_denied
//	  meta l4proto tcp counter name w_hpto redirect to :2323
//	}
func (b *builder) nat() {
	hook := nft.HookNAT
	b.scope(hook)
	rules := []nft.Rule{
		rule(notIn(HoneypotSet, nft.NFProtoF), accept),
		rule(is(nft.FibDaddr, nft.Value{Lo: host32(fibLocal)}), accept),
		rule(jump(b.name("scope_" + hook))),
		rule(jump(b.name("lifelines"))),
	}
	for _, f := range families {
		rules = append(rules, rule(in("w_quar"+f.suffix, f.saddr), accept))
	}
	b.chain(hook, append(rules, b.dispatch(hook, func(g Group) nft.Verdict {
		if b.captures(g) {
			return goTo(b.name("ng_" + g.Name))
		}
		return accept
	})...)...)
	for _, g := range b.groups {
		if b.captures(g) {
			b.captured(g)
		}
	}
}

// captures says whether any flow of a group is redirected in this step.
func (b *builder) captures(g Group) bool {
	return g.Treatment == Honeypot || g.Treatment.Denies() && slices.ContainsFunc(b.in.Never, func(n Never) bool {
		return n.Deny == Honeypot && (n.Group == "" || n.Group == g.Name)
	})
}

func (b *builder) captured(g Group) {
	redirect := b.apply(g, goTo(b.name("nd_"+g.Name)), accept)
	yes := goTo(b.name("nv_" + g.Name))
	b.chain("nv_"+g.Name, redirect...)
	byDeny := map[Treatment][]tuple{}
	for _, n := range b.in.Never {
		if n.Group == "" || n.Group == g.Name {
			t := cmp.Or(n.Deny, g.Treatment)
			byDeny[t] = append(byDeny[t], tuple{from: n.From, to: n.To, services: n.Services})
		}
	}
	var rules []nft.Rule
	for _, t := range []Treatment{Drop, Honeypot, Reject} {
		v := accept
		if t == Honeypot {
			v = yes
		}
		for _, l := range b.lookups(byDeny[t], nft.ThDport) {
			rules = append(rules, l.rule(v))
		}
	}
	if g.Treatment == Honeypot {
		for _, l := range b.lookups(b.rules[g.Name], nft.ThDport) {
			rules = append(rules, l.rule(accept))
		}
		rules = append(rules, rule(yes))
	}
	b.chain("ng_"+g.Name, append(rules, rule(accept))...)
	tcp := proto(6)
	tcp.Not = true
	b.chain("nd_"+g.Name,
		rule(tcp, accept),
		rule(jump(nft.UnblockChain)),
		rule(vmap(nft.BackMap(g.Name), nft.NFProtoF)),
		rule(jump("w_capture")),
		rule(nft.Limit{Rate: 100, Unit: "second", Burst: 100},
			nft.Log{Prefix: "weir h " + g.Name + " ", Group: b.in.VerdictGroup, Snaplen: logSnaplen}),
		rule(count(deniedCounter(g.Name))),
		rule(proto(6), count("w_hpto"), nft.Redirect{Port: b.in.HoneypotPort}))
}
