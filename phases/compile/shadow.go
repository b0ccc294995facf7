package compile

import (
	"fmt"
	"slices"

	"weir/nft"
	"weir/phases/flow"
	"weir/phases/policy"
)

// Shadow is a candidate for the rules of some groups, evaluated beside the live
// ones: where the two differ, the packet is counted and its flow logged. No
// verdict changes, and no packet or connection is marked.
type Shadow struct {
	Name   string        // of the refactoring
	Groups []string      // whose rules are evaluated a second time
	Policy policy.Policy // all that the candidate allows these groups
	Never  []Never       `json:",omitempty"` // denied by the candidate before that, beside the live ones
}

// WidensCounter counts a group's packets that the candidate allows and the live
// rules do not; NarrowsCounter those that it is the other way round with.
func WidensCounter(group string) string  { return "w_c_" + group + "_widens" }
func NarrowsCounter(group string) string { return "w_c_" + group + "_narrows" }

// The chains that a packet passes where the two differ.
func widensChain(group string) string  { return "w_w_" + group }
func narrowsChain(group string) string { return "w_n_" + group }

// shadowed says whether a group's rules are evaluated a second time.
func (b *builder) shadowed(g Group) bool {
	return b.in.Shadow != nil && !b.in.Off && g.Treatment != Open && slices.Contains(b.in.Shadow.Groups, g.Name)
}

// shadowedGroups lists them by name.
func (b *builder) shadowedGroups() []string {
	var out []string
	for _, g := range b.groups {
		if b.shadowed(g) {
			out = append(out, g.Name)
		}
	}
	return out
}

// checkShadow refuses a candidate for groups that are not there, or with rules
// for others.
func (in Input) checkShadow() error {
	s := in.Shadow
	if s == nil {
		return nil
	}
	for _, name := range s.Groups {
		if !slices.ContainsFunc(in.Groups, func(g Group) bool { return g.Name == name }) {
			return fmt.Errorf("cannot compile the shadow %s: there is no group %q", s.Name, name)
		}
	}
	for _, r := range s.Policy.Rules {
		switch {
		case !slices.Contains(s.Groups, r.Group):
			return fmt.Errorf("cannot compile the shadow %s: it has a rule for group %q, which it is not of", s.Name, r.Group)
		case len(r.Services) == 0:
			return fmt.Errorf("cannot compile the shadow %s: a rule of group %s has no services: name at least one", s.Name, r.Group)
		}
		if err := values("a rule of the shadow "+s.Name, r.Services, r.Endpoints, r.To); err != nil {
			return err
		}
	}
	for _, n := range s.Never {
		if n.Group != "" && !slices.Contains(s.Groups, n.Group) {
			return fmt.Errorf("cannot compile the shadow %s: it has a never for group %q, which it is not of", s.Name, n.Group)
		}
		if err := values("never "+n.Name, n.Services, n.From, n.To); err != nil {
			return err
		}
	}
	return nil
}

// shadow writes the chains of a group whose candidate is evaluated first: each
// of its two answers leads to a copy of the live decision, and the copy knows
// whether it agrees.
//
//	chain rID_g_<group> {
//	  … goto rID_v_<group>                       # never, as without a shadow
//	  ip daddr . meta l4proto . th dport @x4… goto rID_n_<group>   # the candidate's never
//	  meta l4proto tcp jump rID_c_<group>        # its rules with ports; udp, the others
//	  ip daddr . meta l4proto @x4… goto rID_y_<group>
//	  goto rID_n_<group>
//	}
//	chain rID_c_<group> { … goto rID_y_<group> }
//	chain rID_y_<group> {                        # the candidate allows it
//	  … counter name w_c_<group>_allowed accept  # the live rules, too
//	  jump w_w_<group>                           # they do not: it widens
//	  goto w_a_<group>                           # as without a shadow
//	}
//	chain rID_n_<group> {                        # it does not
//	  … goto w_n_<group>                         # the live rules do: it narrows
//	  goto w_a_<group>
//	}
func (b *builder) shadow(g Group, before []nft.Rule) {
	s := b.in.Shadow
	yes, no := b.name("y_"+g.Name), b.name("n_"+g.Name)
	var never, rules []tuple
	for _, n := range s.Never {
		if n.Group == "" || n.Group == g.Name {
			never = append(never, tuple{from: n.From, to: n.To, services: n.Services})
		}
	}
	for _, r := range s.Policy.Rules {
		if r.Group == g.Name {
			rules = append(rules, tuple{from: r.Endpoints, to: r.To, services: r.Services, fams: r.Families})
		}
	}
	out := before
	for _, l := range b.lookups(never, nft.ThDport) {
		out = append(out, l.rule(goTo(no)))
	}
	out = append(append(out, b.allow("c_"+g.Name, rules, goTo(yes))...), rule(goTo(no)))
	b.chain("g_"+g.Name, out...)

	live, end := b.rules[g.Name], b.treat(g, b.name("d_"+g.Name))
	agreed := b.allow("p_"+g.Name, live, count(allowedCounter(g.Name)), accept)
	b.chain("y_"+g.Name, append(append(agreed, rule(jump(widensChain(g.Name)))), end...)...)
	b.chain("n_"+g.Name, append(b.allow("q_"+g.Name, live, goTo(narrowsChain(g.Name))), end...)...)
}

// shadowChains belong to the skeleton, so that totals survive every switch.
//
//	chain w_w_<group> {
//	  ct state established meta l4proto tcp jump w_picked
//	  jump w_lw_<group>
//	  counter name w_c_<group>_widens
//	}
//	chain w_n_<group> {
//	  jump w_lc_<group>
//	  counter name w_c_<group>_narrows
//	  counter name w_c_<group>_allowed accept
//	}
func shadowChains(group string, logGroup uint16) []nft.Chain {
	out := append(logChains("w", group, logGroup), logChains("c", group, logGroup)...)
	return append(out,
		nft.Chain{Name: widensChain(group), Rules: []nft.Rule{
			rule(state(stateEstablished), proto(flow.TCP), jump("w_picked")),
			rule(jump("w_lw_" + group)),
			rule(count(WidensCounter(group))),
		}},
		nft.Chain{Name: narrowsChain(group), Rules: []nft.Rule{
			rule(jump("w_lc_" + group)),
			rule(count(NarrowsCounter(group))),
			rule(count(allowedCounter(group)), accept),
		}})
}
