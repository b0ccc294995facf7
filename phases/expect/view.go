package expect

import (
	"net/netip"
	"slices"
	"time"

	"weir/phases/compile"
	"weir/phases/enforce"
	"weir/phases/flow"
	"weir/phases/policy"
	"weir/phases/refactor"
	"weir/plans"
)

// view is what decides about packets, in the order in which the kernel asks:
// lifelines, what is never allowed, rules; what is left is denied. Entries
// without services speak of all.
type view struct {
	plan      *plans.Plan
	classes   *plans.Classifier
	lifelines []entry
	never     []entry
	rules     []entry
	sometimes []entry                 // declared flows, in their windows only
	unknown   func(group string) bool // the plan does not say all that the group may do
}

// entry is a rule for one group with its words and its place in the plan.
type entry struct {
	rule  policy.Rule
	words string
	at    plans.Pos
}

// Plan asks what the plan itself decides, as it will be when every step is
// confirmed: declared flows, refactorings, never and lifelines. What groups are
// allowed for having been observed, or by answers, is not in a plan.
func Plan(p *plans.Plan, now time.Time) ([]Result, error) {
	pol, _ := enforce.Build(p, nil, nil, now)
	pol.Rules = slices.DeleteFunc(pol.Rules, func(r policy.Rule) bool { return windowed(p, r) })
	swapped := map[string]bool{}
	for _, r := range p.Refactor {
		var err error
		if pol, err = refactor.Apply(pol, *p, r); err != nil {
			return nil, err
		}
		for _, g := range r.Groups {
			swapped[g] = true
		}
	}
	v := newView(p, pol)
	v.unknown = func(group string) bool {
		g := p.Group(group)
		return g != nil && g.Allow == "observed" && !swapped[group]
	}
	for _, l := range p.Lifelines {
		to, everywhere := p.Resolve(plans.Target{Any: l.To.Any, Outside: l.To.Outside, Prefixes: l.To.Prefixes})
		if !everywhere && len(to) == 0 {
			continue // it leads to this machine, or inside: nothing that is judged
		}
		if everywhere {
			to = nil
		}
		for _, c := range p.Clients(l.From) {
			v.lifelines = append(v.lifelines, entry{policy.Rule{Group: c.Group, Endpoints: c.Endpoints, To: to, Services: l.Services, Families: l.Families}, "the lifeline " + l.Name, l.Pos})
		}
	}
	for _, n := range p.Never {
		to, everywhere := p.Resolve(n.To)
		if everywhere {
			to = nil
		}
		for _, c := range p.Clients(n.From) {
			v.never = append(v.never, entry{policy.Rule{Group: c.Group, Endpoints: c.Endpoints, To: to, Services: n.Services}, "never " + n.Name, n.Pos})
		}
	}
	return v.ask(false), nil
}

// Frozen asks what a step's revision is computed from. Groups that no wave of
// the plan blocks are left out: everything of theirs passes.
func Frozen(p *plans.Plan, in compile.Input) []Result {
	v := newView(p, in.Policy)
	v.unknown = func(string) bool { return false }
	for _, l := range in.Lifelines {
		if l.Reply {
			continue // answers only
		}
		for _, g := range p.Groups {
			v.lifelines = append(v.lifelines, entry{policy.Rule{Group: g.Name, Endpoints: l.From, To: l.To, Services: l.Services}, "the lifeline " + l.Name, lifelinePos(p, l.Name)})
		}
	}
	for _, n := range in.Never {
		for _, g := range p.Groups {
			if n.Group == "" || n.Group == g.Name || slices.Contains(p.Heirs(n.Group), g.Name) {
				v.never = append(v.never, entry{policy.Rule{Group: g.Name, Endpoints: n.From, To: n.To, Services: n.Services}, "never " + n.Name, neverPos(p, n.Name)})
			}
		}
	}
	return v.ask(true)
}

func newView(p *plans.Plan, pol policy.Policy) view {
	v := view{plan: p, classes: plans.NewClassifier(p)}
	for _, r := range pol.Rules {
		v.rules = append(v.rules, ruleEntry(p, r))
	}
	for _, d := range p.Declared {
		if d.Window == nil {
			continue
		}
		to, everywhere := p.Resolve(d.To)
		if everywhere {
			to = nil
		}
		for _, c := range p.Clients(d.From) {
			v.sometimes = append(v.sometimes, entry{policy.Rule{Group: c.Group, Endpoints: c.Endpoints, To: to, Services: d.Services, Families: d.Families},
				"declared " + d.Name + ", in its window", d.Pos})
		}
	}
	return v
}

// ruleEntry finds the words and the place of a policy's rule.
func ruleEntry(p *plans.Plan, r policy.Rule) entry {
	e := entry{rule: r}
	switch r.Reason {
	case policy.DeclaredBy:
		e.words = "declared " + r.Name
		if i := slices.IndexFunc(p.Declared, func(d plans.Declared) bool { return d.Name == r.Name }); i >= 0 {
			e.at = p.Declared[i].Pos
		}
	case policy.Refactored:
		e.words = "refactor step " + r.Name
		if i := slices.IndexFunc(p.Refactor, func(x plans.Refactor) bool { return x.Name == r.Name }); i >= 0 {
			e.at = p.Refactor[i].Pos
		}
	case policy.Answered:
		e.words = "a person answered that it is needed"
	case policy.OneWay:
		e.words = "observed, never answered by its nature"
	default:
		e.words = "observed"
	}
	return e
}

func windowed(p *plans.Plan, r policy.Rule) bool {
	return r.Reason == policy.DeclaredBy && slices.ContainsFunc(p.Declared, func(d plans.Declared) bool { return d.Name == r.Name && d.Window != nil })
}

func lifelinePos(p *plans.Plan, name string) plans.Pos {
	for _, l := range p.Lifelines {
		if l.Name == name {
			return l.Pos
		}
	}
	return plans.Pos{}
}

func neverPos(p *plans.Plan, name string) plans.Pos {
	for _, n := range p.Never {
		if n.Name == name {
			return n.Pos
		}
	}
	return plans.Pos{}
}

// notOutside are addresses that are never outside, beside what is inside.
var notOutside = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::/127"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

// blocked says whether some wave blocks the group.
func blocked(p *plans.Plan, group string) bool {
	return slices.ContainsFunc(p.Enforce.Waves, func(w plans.Wave) bool { return slices.Contains(w.Groups, group) })
}

// of makes a rule comparable: one without services speaks of those of the test.
func (e entry) of(services []flow.Service) policy.Policy {
	r := e.rule
	if len(r.Services) == 0 {
		r.Services = nil
		for _, s := range services {
			r.Services = append(r.Services, flow.All(s.Proto))
		}
	}
	return policy.Policy{Rules: []policy.Rule{r}}
}
