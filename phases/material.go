package phases

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"weir/phases/approval"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/monitor"
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
	Floor        []string           // those of them that stay as long as its configuration does, in words: see Head
	Self         []netip.Prefix     // this machine's addresses; a plan that names "self" cannot be frozen without
	Never        []plans.Never      // from answers (enforce.Nevers)
	Links        []netip.Prefix     // prefixes of the inside links
	InboundAllow []compile.InboundRule
	Seen         func() []refactor.Seen // flows of the evidence, used or denied, with their groups; nil: none
	Facts        Facts
	Rows         []monitor.Row // what the policy was made from, for the forecast
	NotBefore    time.Time     // with a trust file: signatures count from then on; zero: at once
	NotAfter     time.Time     // with a trust file: until then; zero: as long as the plan lets them
	Tickets      []approval.Ticket
}

// input is everything that a step's revision is computed from. over is the
// confirmed step that it is frozen upon, or nil.
func input(plan plans.Plan, step Step, over *Frozen, m Material) (compile.Input, error) {
	rules, err := rulesFor(plan, step, over, m.Policy, m.UpTo)
	if err != nil {
		return compile.Input{}, err
	}
	in := compile.Input{
		Scope: compile.Scope{
			Hooks: plan.Scope.Hooks, Inside: plan.Scope.Inside, Outside: plan.Scope.Outside,
			InsideIfaces: plan.Scope.InsideIfaces, OutsideIfaces: plan.Scope.OutsideIfaces,
			Inbound: plan.Scope.Inbound, InboundAllow: m.InboundAllow,
		},
		Policy:   rules,
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
	who := resolver{plan, m.Self}
	for _, l := range plan.Lifelines {
		from, err1 := who.resolve(l.From)
		to, err2 := who.resolve(l.To)
		if err := errors.Join(err1, err2); err != nil {
			return in, fmt.Errorf("lifeline %s: %w", l.Name, err)
		}
		c := compile.Lifeline{Name: l.Name, From: from, To: to, Services: l.Services}
		if narrowed, ok := inFamilies(c, l.Families); ok {
			in.Lifelines = append(in.Lifelines, narrowed)
		}
	}
	in.Lifelines = append(in.Lifelines, m.Lifelines...)
	nevers, err := neversFor(plan, step, over, who, m.Never)
	if err != nil {
		return in, err
	}
	in.Never = nevers
	if r, ok := refactorOf(plan, step.Shadow); ok {
		in.Shadow, err = candidate(plan, r, in, who, m.Never)
	}
	return in, err
}

func expired(r policy.Rule, now time.Time) bool { return !r.Expires.IsZero() && !now.Before(r.Expires) }

// Expired lists the rules of a frozen step that have expired. They allow until
// the next step, or the same one requested again: a finding for their owners.
func Expired(f Frozen, now time.Time) []policy.Rule {
	var out []policy.Rule
	for _, r := range f.Input.Policy.Rules {
		if expired(r, now) {
			out = append(out, r)
		}
	}
	return out
}

// neversFor: what an answer says of a group that denies already waits until
// the group is narrowed by a step of its own.
func neversFor(plan plans.Plan, step Step, over *Frozen, who resolver, answers []plans.Never) ([]compile.Never, error) {
	out, err := nevers(plan.Never, who)
	if err != nil {
		return nil, err
	}
	said, err := nevers(answers, who)
	if err != nil {
		return nil, err
	}
	c := evaluated(plan, step, over)
	for _, n := range said {
		if (n.Group == "" || !keeps(step, over, n.Group)) && !(c != nil && slices.Contains(c.Groups, n.Group)) {
			out = append(out, n)
		}
	}
	if c != nil { // as it was evaluated; what was answered since waits
		for _, n := range slices.Concat(over.Input.Never, c.Never) {
			if slices.Contains(c.Groups, n.Group) && !slices.ContainsFunc(out, func(o compile.Never) bool { return reflect.DeepEqual(n, o) }) {
				out = append(out, n)
			}
		}
	}
	if over == nil {
		return out, nil
	}
	for _, n := range over.Input.Never {
		same := func(o compile.Never) bool { return reflect.DeepEqual(n, o) }
		// Under the same plan these are the plan's own and what was answered
		// before; what is no longer said ends when the step is widened.
		if n.Group != "" && keeps(step, over, n.Group) && !slices.ContainsFunc(out, same) && (!widens(plan, step, over) || slices.ContainsFunc(said, same)) {
			out = append(out, n)
		}
	}
	return out, nil
}

func nevers(list []plans.Never, who resolver) ([]compile.Never, error) {
	var out []compile.Never
	for _, n := range list {
		to, err := who.resolve(n.To)
		if err != nil {
			return nil, fmt.Errorf("never %s: %w", n.Name, err)
		}
		c := compile.Never{Name: n.Name, To: to, Services: n.Services, Deny: compile.Treatment(n.Deny)}
		if n.From.Any || n.From.Inside || n.From.Outside {
			out = append(out, c)
			continue
		}
		for _, g := range n.From.Groups {
			c.Group = g
			out = append(out, c)
		}
		if n.From.Self || len(n.From.Prefixes) > 0 {
			c.Group = ""
			if c.From, err = who.resolve(plans.Target{Self: n.From.Self, Prefixes: n.From.Prefixes}); err != nil {
				return nil, fmt.Errorf("never %s: %w", n.Name, err)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

// keeps says whether a group denies already and the step does not narrow it.
func keeps(step Step, over *Frozen, group string) bool {
	if over == nil || slices.Contains(step.Narrows, group) {
		return false
	}
	was, ok := over.Step.Target(group)
	is, _ := step.Target(group)
	return ok && was.Treatment.Denies() && is.Treatment.Denies()
}

// widens says whether the step lets groups that it keeps have fresh rules.
func widens(plan plans.Plan, step Step, over *Frozen) bool {
	return over != nil && (over.Plan != plan.Hash || over.Step.Name == step.Name)
}

// inFamilies limits a lifeline to families; false where nothing is left of it.
func inFamilies(l compile.Lifeline, families []flow.Family) (compile.Lifeline, bool) {
	if len(families) != 1 {
		return l, true
	}
	of := func(list []netip.Prefix) ([]netip.Prefix, bool) {
		var out []netip.Prefix
		for _, p := range list {
			if flow.FamilyOf(p.Addr()) == families[0] {
				out = append(out, p)
			}
		}
		return out, len(out) > 0 || len(list) == 0
	}
	var ok1, ok2 bool
	l.From, ok1 = of(l.From)
	l.To, ok2 = of(l.To)
	if len(l.From)+len(l.To) == 0 {
		everywhere := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		if families[0] == flow.IPv4 {
			everywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		}
		l.To = []netip.Prefix{everywhere}
	}
	return l, ok1 && ok2
}

// rulesFor chooses each group's rules. A group that denies already, and that
// the step does not narrow, keeps the rules that were confirmed: what later
// evidence would add or take away is a step of its own. That step is the
// confirmed one requested again, or the one with which a changed plan comes
// into force: there such a group gets the fresh rules beside the old ones, so
// that nothing that passes now is denied. A rule that has expired goes with any
// step: that it would was approved with it.
func rulesFor(plan plans.Plan, step Step, over *Frozen, fresh policy.Policy, now time.Time) (policy.Policy, error) {
	denies := func(group string) bool { return keeps(step, over, group) }
	widen := widens(plan, step, over)
	var out policy.Policy
	if over != nil {
		for _, r := range over.Input.Policy.Rules {
			if denies(r.Group) && !expired(r, now) {
				out.Rules = append(out.Rules, r)
			}
		}
	}
	have := map[string]bool{}
	for _, r := range out.Rules {
		have[ruleKey(r)] = true
	}
	for _, r := range fresh.Rules {
		if denies(r.Group) && (!widen || have[ruleKey(r)]) {
			continue
		}
		out.Rules = append(out.Rules, r)
	}
	if c := evaluated(plan, step, over); c != nil {
		// Exactly what ran beside the old rules is put in their place.
		out.Rules = slices.DeleteFunc(out.Rules, func(r policy.Rule) bool { return slices.Contains(c.Groups, r.Group) })
		for _, r := range c.Policy.Rules {
			if !expired(r, now) {
				out.Rules = append(out.Rules, r)
			}
		}
	}
	var err error
	for _, r := range plan.Refactor {
		if slices.Contains(step.Swapped, r.Name) {
			if out, err = refactor.Apply(out, plan, r); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// resolver turns targets into prefixes.
type resolver struct {
	plan plans.Plan
	self []netip.Prefix
}

// resolve returns a target's prefixes; none means any, so a target that names
// nobody is an error.
func (r resolver) resolve(t plans.Target) ([]netip.Prefix, error) {
	if t.Any || t.Outside {
		return nil, nil
	}
	out := slices.Clone(t.Prefixes)
	if t.Inside {
		out = append(out, r.plan.Scope.Inside...)
	}
	if t.Self {
		out = append(out, r.self...)
	}
	for _, name := range t.Groups {
		if g, ok := groupOf(r.plan, name); ok {
			out = append(out, g.Members...)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("it names no addresses that are known here")
	}
	return out, nil
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
