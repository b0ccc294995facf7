// Package refactor replaces what groups are allowed by a few rules that people
// understand, and shows exactly what that widens and narrows. It does no I/O.
package refactor

import (
	"net/netip"
	"slices"

	"weir/phases/policy"
	"weir/plans"
)

// Replace returns the policy in which the rules of the refactoring's groups are
// the plan's. The rules of every other group are left as they are.
func Replace(p policy.Policy, plan plans.Plan, r plans.Refactor) policy.Policy {
	var out policy.Policy
	for _, rule := range p.Rules {
		if !slices.Contains(r.Groups, rule.Group) {
			out.Rules = append(out.Rules, rule)
		}
	}
	for _, group := range r.Groups {
		i := slices.IndexFunc(plan.Groups, func(g plans.Group) bool { return g.Name == group })
		if i < 0 {
			continue
		}
		for _, a := range r.Allow {
			out.Rules = append(out.Rules, policy.Rule{
				Group: group, To: destinations(plan, a.To), Services: a.Services,
				Families: plan.Groups[i].Families, Reason: policy.Refactored, Name: r.Name, Owner: plan.Groups[i].Owner,
			})
		}
	}
	return out
}

// destinations resolves a target; empty means everywhere outside.
func destinations(plan plans.Plan, t plans.Target) []netip.Prefix {
	if t.Any || t.Outside {
		return nil
	}
	out := slices.Clone(t.Prefixes)
	for _, name := range t.Groups {
		for _, g := range plan.Groups {
			if g.Name == name {
				out = append(out, g.Members...)
			}
		}
	}
	return out
}
