// Package refactor replaces what groups are allowed by a few rules that people
// understand, and shows exactly what that widens and narrows, as sets of
// packets and as flows of the evidence. It proposes nothing by itself and does
// no I/O.
package refactor

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/plans"
)

// Replace returns the policy in which the rules of the refactoring's groups are
// the plan's, and what the new policy allows beyond the old one (widens) and no
// longer (narrows). The rules of every other group, and what the plan declares,
// are left as they are, in their order.
func Replace(p policy.Policy, plan plans.Plan, r plans.Refactor) (out policy.Policy, widens, narrows []policy.Box, err error) {
	if out, err = Apply(p, plan, r); err != nil {
		return policy.Policy{}, nil, nil, err
	}
	narrows, widens = policy.Diff(p, out, r.Groups...)
	return out, widens, narrows, nil
}

// Apply is Replace without the comparison. What the plan declares stays beside
// the plan's rules.
func Apply(p policy.Policy, plan plans.Plan, r plans.Refactor) (policy.Policy, error) {
	var out policy.Policy
	for _, rule := range p.Rules {
		if !slices.Contains(r.Groups, rule.Group) || rule.Reason == policy.DeclaredBy {
			out.Rules = append(out.Rules, rule)
		}
	}
	for _, name := range r.Groups {
		i := slices.IndexFunc(plan.Groups, func(g plans.Group) bool { return g.Name == name })
		if i < 0 {
			return policy.Policy{}, fmt.Errorf("cannot refactor %s: the plan has no group %s", r.Name, name)
		}
		g := plan.Groups[i]
		for _, a := range r.Allow {
			to, err := destinations(plan, a.To)
			if err != nil {
				return policy.Policy{}, fmt.Errorf("cannot refactor %s: %w", r.Name, err)
			}
			out.Rules = append(out.Rules, policy.Rule{Group: name, To: to, Services: a.Services, Families: g.Families,
				Reason: policy.Refactored, Name: r.Name, Owner: g.Owner})
		}
	}
	return out, nil
}

// Flows lists the active flows of the evidence that lie in one of the boxes,
// sorted: what a narrowing would cut, or what a widening was made for.
func Flows(rows []monitor.Row, boxes []policy.Box) []flow.Flow {
	byGroup := map[string][]policy.Box{}
	for _, b := range boxes {
		byGroup[b.Group] = append(byGroup[b.Group], b)
	}
	var out []flow.Flow
	for _, r := range rows {
		f := r.Flow()
		if r.Active() && slices.ContainsFunc(byGroup[r.Group], func(b policy.Box) bool { return b.Contains(f) }) {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, flow.Compare)
	return slices.Compact(out)
}

// destinations resolves a target; none means everywhere outside, so a target
// that names nobody is an error.
func destinations(plan plans.Plan, t plans.Target) ([]netip.Prefix, error) {
	if t.Any || t.Outside {
		return nil, nil
	}
	out := slices.Clone(t.Prefixes)
	for _, name := range t.Groups {
		i := slices.IndexFunc(plan.Groups, func(g plans.Group) bool { return g.Name == name })
		if i < 0 || len(plan.Groups[i].Members) == 0 {
			return nil, fmt.Errorf("the destination %s has no addresses", name)
		}
		out = append(out, plan.Groups[i].Members...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("a rule has a destination without addresses")
	}
	return out, nil
}
