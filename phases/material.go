package phases

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"weir/phases/compile"
	"weir/phases/policy"
	"weir/phases/refactor"
	"weir/plans"
)

// Material is what a step is frozen from beside the plan; the daemon gathers
// it.
type Material struct {
	Policy       policy.Policy      // from evidence, answers and declared flows
	UpTo         time.Time          // evidence is up to here
	Evidence     string             // its hash
	Lifelines    []compile.Lifeline // the machine's own
	Self         []netip.Prefix     // this machine's addresses
	Never        []plans.Never      // from answers (enforce.Nevers)
	Links        []netip.Prefix     // prefixes of the inside links
	InboundAllow []compile.InboundRule
	Facts        Facts
}

// input is everything that a step's revision is computed from. over is the
// confirmed step that it is frozen upon, or nil.
func input(plan plans.Plan, step Step, over *Frozen, m Material) compile.Input {
	in := compile.Input{
		Scope: compile.Scope{
			Hooks: plan.Scope.Hooks, Inside: plan.Scope.Inside, Outside: plan.Scope.Outside,
			InsideIfaces: plan.Scope.InsideIfaces, OutsideIfaces: plan.Scope.OutsideIfaces,
			Inbound: plan.Scope.Inbound, InboundAllow: m.InboundAllow,
		},
		Policy:   rulesFor(plan, step, over, m.Policy),
		Links:    m.Links,
		LogGroup: plan.Capture.LogGroup, VerdictGroup: plan.Capture.VerdictGroup, HoneypotPort: plan.Capture.HoneypotPort,
	}
	for _, g := range plan.Groups {
		t, ok := step.Target(g.Name)
		if !ok {
			t = Target{Group: g.Name, Treatment: compile.Alert}
		}
		cg := compile.Group{
			Name: g.Name, Members: g.Members, MACs: g.MACs, Ifaces: g.Ifaces, Self: g.Self, UIDs: g.UIDs, Families: g.Families,
			Treatment: t.Treatment, Share: t.Share, Prefixes: t.Prefixes,
		}
		if t.Share != 0 {
			cg.ShareBy, cg.Seed = shareBy(g, m.Links), seed(plan.Name, g.Name)
		}
		in.Groups = append(in.Groups, cg)
	}
	for _, l := range plan.Lifelines {
		in.Lifelines = append(in.Lifelines, compile.Lifeline{Name: l.Name, Services: l.Services,
			From: resolve(plan, l.From, m.Self), To: resolve(plan, l.To, m.Self)})
	}
	in.Lifelines = append(in.Lifelines, m.Lifelines...)
	for _, n := range slices.Concat(plan.Never, m.Never) {
		c := compile.Never{Name: n.Name, To: resolve(plan, n.To, m.Self), Services: n.Services, Deny: compile.Treatment(n.Deny)}
		if n.From.Any || n.From.Inside || n.From.Outside {
			in.Never = append(in.Never, c)
			continue
		}
		for _, g := range n.From.Groups {
			c.Group = g
			in.Never = append(in.Never, c)
		}
		c.Group = ""
		if c.From = resolve(plan, plans.Target{Self: n.From.Self, Prefixes: n.From.Prefixes}, m.Self); len(c.From) > 0 {
			in.Never = append(in.Never, c)
		}
	}
	return in
}

// rulesFor chooses each group's rules. A group that denies already, and that
// the step does not narrow, keeps the rules that were confirmed: what later
// evidence would add or take away is a step of its own. That step is the
// confirmed one requested again, or the one with which a changed plan comes
// into force: there such a group gets the fresh rules beside the old ones, so
// that nothing that passes now is denied.
func rulesFor(plan plans.Plan, step Step, over *Frozen, fresh policy.Policy) policy.Policy {
	denies := func(group string) bool {
		if over == nil || slices.Contains(step.Narrows, group) {
			return false
		}
		was, ok := over.Step.Target(group)
		is, _ := step.Target(group)
		return ok && was.Treatment.Denies() && is.Treatment.Denies()
	}
	widen := over != nil && (over.Plan != plan.Hash || over.Step.Name == step.Name)
	var out policy.Policy
	if over != nil {
		for _, r := range over.Input.Policy.Rules {
			if denies(r.Group) {
				out.Rules = append(out.Rules, r)
			}
		}
	}
	for _, r := range fresh.Rules {
		if denies(r.Group) && (!widen || slices.ContainsFunc(out.Rules, func(o policy.Rule) bool { return reflect.DeepEqual(o, r) })) {
			continue
		}
		out.Rules = append(out.Rules, r)
	}
	for _, r := range plan.Refactor {
		if slices.Contains(step.Swapped, r.Name) {
			out = refactor.Replace(out, plan, r)
		}
	}
	return out
}

// resolve turns a target into prefixes; none means any.
func resolve(plan plans.Plan, t plans.Target, self []netip.Prefix) []netip.Prefix {
	if t.Any || t.Outside {
		return nil
	}
	out := slices.Clone(t.Prefixes)
	if t.Inside {
		out = append(out, plan.Scope.Inside...)
	}
	if t.Self {
		out = append(out, self...)
	}
	for _, name := range t.Groups {
		if g, ok := groupOf(plan, name); ok {
			out = append(out, g.Members...)
		}
	}
	return out
}

// shareBy: by MAC where every member is on a link, else by IPv4 address.
func shareBy(g plans.Group, links []netip.Prefix) string {
	if len(g.Ifaces) > 0 || g.Self {
		return "ipv4"
	}
	for _, p := range g.Members {
		if !slices.ContainsFunc(links, func(l netip.Prefix) bool { return l.Bits() <= p.Bits() && l.Overlaps(p) }) {
			return "ipv4"
		}
	}
	return "mac"
}

func seed(plan, group string) uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%s", plan, group)
	return h.Sum32()
}
