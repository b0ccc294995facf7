package refactor

import (
	"slices"

	"weir/phases/policy"
)

// Descent is one rule with what became of it: for a new rule the old ones that
// it takes over and the flows that it allows, for an old one the new ones that
// allow what it did.
type Descent struct {
	Rule     policy.Rule `json:"rule"`
	Whole    []int       `json:"whole,omitempty"`    // rules of the other list, by index: of a new one those that it takes over entirely, of an old one those that take it over so
	Part     []int       `json:"part,omitempty"`     // those with which it shares some flows
	Beyond   bool        `json:"beyond,omitempty"`   // it has flows that no rule of the other list has
	Flows    int         `json:"flows"`              // of the evidence that it allows
	Lost     int         `json:"lost,omitempty"`     // of these, flows that the other list does not allow
	Examples []string    `json:"examples,omitempty"` // of these, lost ones first; at most ten
}

// Lineage leads from each new rule of some groups back to the old rules and the
// flows that it came from, and from each old rule forth.
func Lineage(before, after policy.Policy, groups []string, seen []Seen) (was, is []Descent) {
	was, is = descents(before, groups), descents(after, groups)
	for i := range was {
		for j := range is {
			old, new := policy.Policy{Rules: []policy.Rule{was[i].Rule}}, policy.Policy{Rules: []policy.Rule{is[j].Rule}}
			switch {
			case !shares(was[i].Rule, is[j].Rule):
			case policy.Within(old, new):
				was[i].Whole, is[j].Whole = append(was[i].Whole, j), append(is[j].Whole, i)
			default:
				was[i].Part, is[j].Part = append(was[i].Part, j), append(is[j].Part, i)
			}
		}
	}
	x, y := policy.NewIndex(before), policy.NewIndex(after)
	trace(was, after, y, seen)
	trace(is, before, x, seen)
	return was, is
}

func descents(p policy.Policy, groups []string) []Descent {
	var out []Descent
	for _, r := range p.Rules {
		if slices.Contains(groups, r.Group) {
			out = append(out, Descent{Rule: r})
		}
	}
	return out
}

// shares says whether two rules have a flow in common.
func shares(a, b policy.Rule) bool {
	if a.Group != b.Group {
		return false
	}
	for _, x := range (policy.Policy{Rules: []policy.Rule{a}}).Boxes() {
		for _, y := range (policy.Policy{Rules: []policy.Rule{b}}).Boxes() {
			if x.Family == y.Family && x.Client.Overlaps(y.Client) && x.Server.Overlaps(y.Server) && x.Service.Overlaps(y.Service) {
				return true
			}
		}
	}
	return false
}

// trace notes which flows of the evidence rules allow, and what of it the other
// policy does not.
func trace(list []Descent, other policy.Policy, index *policy.Index, seen []Seen) {
	for i := range list {
		d := &list[i]
		one := policy.Policy{Rules: []policy.Rule{d.Rule}}
		d.Beyond = !policy.Within(one, other, d.Rule.Group)
		var kept []string
		for _, s := range seen {
			if s.Group != d.Rule.Group || !d.Rule.Matches(s.Flow) {
				continue
			}
			d.Flows++
			if _, ok := index.Allows(s.Group, s.Flow); !ok {
				d.Lost++
				if len(d.Examples) < mostExamples {
					d.Examples = append(d.Examples, s.Flow.String())
				}
			} else if len(kept) < mostExamples {
				kept = append(kept, s.Flow.String())
			}
		}
		d.Examples = append(d.Examples, kept[:min(len(kept), mostExamples-len(d.Examples))]...)
	}
}
