package enforce

import (
	"slices"
	"time"

	"weir/phases/flow"
	"weir/phases/policy"
	"weir/plans"
)

// declare makes the rules of the declared flows that are in force. One with a
// window is a rule only while the window is open, and expires with it.
func (b *builder) declare(out *ruleList) {
	for _, d := range b.plan.Declared {
		expires := d.Expires
		if !expires.IsZero() && !b.upTo.Before(expires) {
			b.held.Expired = append(b.held.Expired, d.Name)
			continue
		}
		if d.Window != nil {
			end, open := windowAt(b.plan, *d.Window, b.upTo)
			if !open {
				b.held.Windowed = append(b.held.Windowed, d.Name)
				continue
			}
			if expires.IsZero() || end.Before(expires) {
				expires = end
			}
		}
		rules := declaredRules(b.plan, d)
		if len(rules) == 0 {
			b.held.NoMembers = append(b.held.NoMembers, d.Name)
			continue
		}
		b.declared = append(b.declared, newMatcher(b.plan, d.From, d.To, d.Services, d.Families))
		for _, r := range rules {
			r.Expires = expires
			out.add(r, Origin{Declared: d.Name})
		}
	}
	slices.Sort(b.held.Expired)
	slices.Sort(b.held.Windowed)
	slices.Sort(b.held.NoMembers)
}

// declaredRules returns a rule for each group that a declared flow comes from,
// without its expiry.
func declaredRules(p *plans.Plan, d plans.Declared) []policy.Rule {
	dests, everywhere := p.Resolve(d.To)
	if everywhere {
		dests = nil
	} else if len(dests) == 0 {
		return nil
	}
	var out []policy.Rule
	for _, c := range p.Clients(d.From) {
		out = append(out, policy.Rule{Group: c.Group, Endpoints: c.Endpoints, To: dests,
			Services: slices.Clone(d.Services), Families: narrowed(d.Families),
			Reason: policy.DeclaredBy, Name: d.Name, Owner: d.Owner})
	}
	return out
}

// windowAt says whether a window is open at a moment, and when it shuts: spans
// that overlap are one.
func windowAt(p *plans.Plan, w plans.Window, at time.Time) (end time.Time, open bool) {
	for _, s := range plans.Spans(w, p.Timezone, at, at.Add(1)) {
		if s.Contains(at) && s.To.After(end) {
			end, open = s.To, true
		}
	}
	return end, open
}

// narrowed returns the families of a rule: none where both are meant.
func narrowed(fs []flow.Family) []flow.Family {
	if len(fs) >= 2 {
		return nil
	}
	return slices.Clone(fs)
}
