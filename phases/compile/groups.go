package compile

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"weir/nft"
)

// lookup is one rule's matches: what it reads from one content set.
type lookup struct {
	part  part // byPort: it stands behind the protocols with ports
	stmts []nft.Stmt
}

// rule writes a lookup that stands alone.
func (l lookup) rule(tail ...nft.Stmt) nft.Rule {
	var s []nft.Stmt
	if l.part == byPort {
		s = append(s, ported())
	}
	return nft.Rule{Stmts: append(append(s, l.stmts...), tail...)}
}

// bare writes a lookup in a chain that only the protocols with ports reach.
func (l lookup) bare(tail ...nft.Stmt) nft.Rule {
	return nft.Rule{Stmts: append(append([]nft.Stmt{}, l.stmts...), tail...)}
}

// lookups turns tuples into content sets and the matches that read them.
func (b *builder) lookups(tuples []tuple, port nft.Field) []lookup {
	boxes := split(tuples)
	kinds := make([]kind, 0, len(boxes))
	for k := range boxes {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, compareKinds)
	var out []lookup
	for _, k := range kinds {
		var names []string
		if k.exact {
			names = b.content.exact(k, boxes[k])
		} else {
			names = b.content.ranges(k, boxes[k])
		}
		var guard []nft.Stmt
		var fields []nft.Field
		if k.fam < 2 {
			f := families[k.fam]
			if !k.src && !k.dst {
				guard = append(guard, f.is())
			}
			if k.src {
				fields = append(fields, f.saddr)
			}
			if k.dst {
				fields = append(fields, f.daddr)
			}
			if k.part == byType {
				guard = append(guard, proto(f.icmp))
				fields = append(fields, f.icmpField)
			}
		}
		switch k.part {
		case byPort:
			fields = append(fields, nft.L4Proto, port)
		case byProto:
			fields = append(fields, nft.L4Proto)
		}
		for _, n := range names {
			out = append(out, lookup{part: k.part, stmts: append(slices.Clone(guard), in(n, fields...))})
		}
	}
	return out
}

// entry writes the chain that trial and stable lead to.
//
//	chain rID_f {
//	  jump rID_scope_f
//	  ct state new jump w_capture
//	  jump rID_lifelines
//	  ip saddr @w_quar4 goto w_quarantined
//	  ip6 saddr @w_quar6 goto w_quarantined
//	  meta iiftype ether ip saddr @p4… ether saddr vmap @rID_m     # forward: MACs
//	  meta skuid { 33 } goto rID_g_<group>                         # output: this machine's users
//	  ip saddr vmap @rID_4
//	  ip6 saddr vmap @rID_6
//	  iifname vmap @rID_i
//	  goto rID_g_unassigned
//	}
func (b *builder) entry(hook string) {
	b.scope(hook)
	rules := []nft.Rule{
		rule(jump(b.name("scope_" + hook))),
		rule(state(stateNew), jump("w_capture")),
	}
	rules = append(rules, rule(jump(b.name("lifelines"))))
	for _, f := range families {
		rules = append(rules, rule(in("w_quar"+f.suffix, f.saddr), goTo("w_quarantined")))
	}
	if b.in.Off { // whoever is cut off stays so through every rollback
		b.chain(hook, append(rules, rule(accept))...)
		return
	}
	b.chain(hook, append(rules, b.dispatch(hook, func(g Group) nft.Verdict { return goTo(b.name("g_" + g.Name)) })...)...)
}

// dispatch leads to the group's chain: MAC before longest prefix before
// interface, the rest is unassigned. In output this machine's own groups come
// first.
func (b *builder) dispatch(hook string, verdict func(Group) nft.Verdict) []nft.Rule {
	var rules []nft.Rule
	var macs, ifaces []nft.Element
	var members [2][]member
	verdicts := map[string]*nft.Verdict{}
	to := func(g string) *nft.Verdict { return verdicts[g] }
	var self *nft.Verdict
	for _, g := range b.groups {
		v := verdict(g)
		verdicts[g.Name] = &v
		for _, m := range g.MACs {
			k, _ := parseMAC(m) // checked in checkGroups
			macs = append(macs, nft.Element{Key: k, Verdict: to(g.Name)})
		}
		for _, n := range g.Ifaces {
			ifaces = append(ifaces, nft.Element{Key: ifname(n).Lo, Verdict: to(g.Name)})
		}
		for i, f := range families {
			for _, p := range ofFamily(g.Members, f) {
				members[i] = append(members[i], member{p, g.Name})
			}
		}
		if hook != nft.HookOutput || !g.Self {
			continue
		}
		if len(g.UIDs) == 0 {
			self = &v
			continue
		}
		m := nft.Match{Fields: []nft.Field{nft.SkUID}}
		for _, u := range slices.Compact(slices.Sorted(slices.Values(g.UIDs))) {
			m.Values = append(m.Values, nft.Value{Lo: host32(u)})
		}
		rules = append(rules, rule(m, v))
	}
	if self != nil {
		return append(rules, rule(*self))
	}
	if hook != nft.HookOutput && len(macs) > 0 {
		name := b.verdictMap(hook, "m", nft.EtherAddr, false, macs)
		ether := is(nft.IIFType, nft.Value{Lo: host16(arphrdEther)})
		if len(b.in.Links) == 0 {
			rules = append(rules, rule(ether, vmap(name, nft.EtherSaddr)))
		}
		for _, f := range families {
			if links := b.prefixSet(b.in.Links, f); links != "" {
				rules = append(rules, rule(ether, in(links, f.saddr), vmap(name, nft.EtherSaddr)))
			}
		}
	}
	for i, f := range families {
		var list []nft.Element
		for _, r := range flatten(members[i]) {
			e := span(r.lo, r.hi)
			e.Verdict = to(r.group)
			list = append(list, e)
		}
		if len(list) > 0 {
			rules = append(rules, rule(vmap(b.verdictMap(hook, f.suffix, f.addr, true, list), f.saddr)))
		}
	}
	if hook != nft.HookOutput && len(ifaces) > 0 {
		rules = append(rules, rule(vmap(b.verdictMap(hook, "i", nft.IfName, false, ifaces), nft.IIFName)))
	}
	return append(rules, rule(*to(Unassigned)))
}

// verdictMap makes a map of this revision; both filter hooks share it.
func (b *builder) verdictMap(hook, suffix string, key nft.Type, interval bool, e []nft.Element) string {
	if hook == nft.HookNAT {
		suffix = "n" + suffix
	}
	s := nft.Set{Name: b.name(suffix), Key: []nft.Type{key}, Data: nft.VerdictType, Interval: interval, Elements: e}
	slices.SortFunc(s.Elements, func(x, y nft.Element) int { return bytes.Compare(x.Key, y.Key) })
	s.Elements = slices.CompactFunc(s.Elements, func(x, y nft.Element) bool { return bytes.Equal(x.Key, y.Key) })
	if !interval {
		s.Size = uint32(len(e) + len(e)/4 + 1)
	}
	if !slices.ContainsFunc(b.sets, func(o nft.Set) bool { return o.Name == s.Name }) {
		b.sets = append(b.sets, s)
	}
	return s.Name
}

// group writes the chains of one group.
//
//	chain rID_g_<group> {
//	  … goto rID_v_<group>                                   # never
//	  meta l4proto tcp jump rID_p_<group>                    # allow rules with ports; udp, the others
//	  ip daddr . meta l4proto @x4… counter name w_c_<group>_allowed accept
//	  jhash ip saddr mod 100 seed S < 5 goto rID_d_<group>   # a share; else one goto
//	  goto w_a_<group>
//	}
func (b *builder) group(g Group) {
	if b.in.Off {
		return
	}
	allowed := []nft.Stmt{count(allowedCounter(g.Name)), accept}
	if g.Treatment == Open {
		b.chain("g_"+g.Name, rule(allowed...))
		return
	}
	var rules []nft.Rule
	rules = append(rules, b.never(g)...)
	if b.shadowed(g) {
		b.shadow(g, rules)
	} else {
		rules = append(rules, b.allow("p_"+g.Name, b.rules[g.Name], allowed...)...)
		b.chain("g_"+g.Name, append(rules, b.treat(g, b.name("d_"+g.Name))...)...)
	}
	if g.Treatment.Denies() {
		b.deny("d_"+g.Name, g.Name, g.Treatment)
	}
}

// allow writes the lookups of allow rules, each with a tail; those with ports go
// into a chain of their own, which only the protocols with ports reach.
func (b *builder) allow(ports string, rules []tuple, tail ...nft.Stmt) []nft.Rule {
	var inner, rest []nft.Rule
	for _, l := range b.lookups(rules, nft.ThDport) {
		if l.part == byPort {
			inner = append(inner, l.bare(tail...))
		} else {
			rest = append(rest, l.rule(tail...))
		}
	}
	if len(inner) == 0 {
		return rest
	}
	b.chain(ports, inner...)
	return append(portedRules(jump(b.name(ports))), rest...)
}

// treat ends a chain: deny for those that the treatment applies to, alert for
// the rest.
func (b *builder) treat(g Group, deny string) []nft.Rule {
	rest := goTo(nft.AlertChain(g.Name))
	if !g.Treatment.Denies() {
		return []nft.Rule{rule(rest)}
	}
	return b.apply(g, goTo(deny), rest)
}

// apply gives one verdict to those that the treatment applies to, another to
// the rest of the group.
func (b *builder) apply(g Group, yes, rest nft.Verdict) []nft.Rule {
	who := [][]nft.Stmt{nil}
	if len(g.Prefixes) > 0 {
		who = nil
		for _, f := range families {
			if s := b.prefixSet(g.Prefixes, f); s != "" {
				who = append(who, []nft.Stmt{in(s, f.saddr)})
			}
		}
	}
	var rules []nft.Rule
	for _, w := range who {
		if g.partial() {
			hash := nft.Jhash{Field: nft.IPSaddr, Mod: 100, Seed: g.Seed, Below: uint32(g.Share)}
			guard := []nft.Stmt{families[0].is()}
			if g.ShareBy == "mac" {
				hash.Field = nft.EtherSaddr
				guard = []nft.Stmt{is(nft.IIFType, nft.Value{Lo: host16(arphrdEther)})}
			}
			w = append(append(guard, w...), hash)
		}
		rules = append(rules, nft.Rule{Stmts: append(slices.Clone(w), yes)})
	}
	if len(g.Prefixes) > 0 || g.partial() {
		rules = append(rules, rule(rest))
	}
	return rules
}

// never writes the lookups of what is denied before any allow rule.
func (b *builder) never(g Group) []nft.Rule {
	byDeny := map[Treatment][]tuple{}
	for _, n := range b.in.Never {
		if n.Group != "" && n.Group != g.Name {
			continue
		}
		t := n.Deny
		if t == Honeypot {
			t = Reject // the redirect is a chain of its own
		}
		if t == "" || !g.Treatment.Denies() {
			t = g.Treatment
		}
		if t == Honeypot {
			t = Reject
		}
		byDeny[t] = append(byDeny[t], tuple{from: n.From, to: n.To, services: n.Services})
	}
	own := g.Treatment
	if own == Honeypot {
		own = Reject
	}
	var rules []nft.Rule
	for _, t := range []Treatment{Alert, Drop, Reject} {
		if len(byDeny[t]) == 0 {
			continue
		}
		target := nft.AlertChain(g.Name)
		if t != Alert {
			target = b.neverChain(g, t, own)
		}
		for _, l := range b.lookups(byDeny[t], nft.ThDport) {
			rules = append(rules, l.rule(goTo(target)))
		}
	}
	return rules
}

// neverChain names the chain that denies with t those of the group that the
// group's treatment applies to.
func (b *builder) neverChain(g Group, t, own Treatment) string {
	deny := "d_" + g.Name
	if t != own {
		deny = "e_" + g.Name
		b.deny(deny, g.Name, t)
	}
	if !g.partial() && len(g.Prefixes) == 0 {
		return b.name(deny)
	}
	name := "v_" + g.Name
	if t != own {
		name = "u_" + g.Name
	}
	b.chain(name, b.treat(g, b.name(deny))...)
	return b.name(name)
}

// deny writes the end of a denied packet. Everything that may still let it pass
// is asked first: exceptions, the group put back to alert, open connections
// that are spared.
//
//	chain rID_d_<group> {
//	  jump w_unblocks
//	  meta nfproto vmap @w_g_<group>
//	  ct state established meta nfproto vmap @w_s_<group>
//	  ct state established meta l4proto tcp jump w_picked
//	  jump w_ld_<group>
//	  counter name w_c_<group>_denied
//	  ct state established drop                      # in mid-connection: a rollback resumes the same sockets
//	  meta l4proto tcp reject with tcp reset
//	  reject with icmpx admin-prohibited             # drop: drop
//	}
func (b *builder) deny(suffix, group string, t Treatment) {
	rules := []nft.Rule{
		rule(jump(nft.UnblockChain)),
		rule(vmap(nft.BackMap(group), nft.NFProtoF)),
		rule(state(stateEstablished), vmap(nft.SpareMap(group), nft.NFProtoF)),
		rule(state(stateEstablished), proto(6), jump("w_picked")),
		rule(jump("w_ld_" + group)),
		rule(count(deniedCounter(group))),
	}
	if t == Drop {
		rules = append(rules, rule(drop))
	} else {
		rules = append(rules, rule(state(stateEstablished), drop),
			rule(proto(6), nft.Reject{With: "tcp reset"}),
			rule(nft.Reject{With: "icmpx admin-prohibited"}))
	}
	b.chain(suffix, rules...)
}

func parseMAC(s string) ([]byte, error) {
	m, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(m) != 6 || len(s) != 17 {
		return nil, fmt.Errorf("cannot read MAC address %q: want six hex pairs like 02:00:5e:10:00:07", s)
	}
	return m, nil
}
