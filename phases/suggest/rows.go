package suggest

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/phases/enforce"
	"weir/phases/monitor"
	"weir/plans"
)

// FromRows gathers what the evidence of a plan says, and says in words what it
// leaves out: what is no evidence of normal traffic, and what the plan decides
// without a rule.
func FromRows(p *plans.Plan, rows []monitor.Row) (*Input, []string, error) {
	in := &Input{}
	x := enforce.NewExempt(p)
	left := map[string]int{}
	for _, r := range rows {
		switch {
		case r.Inbound:
			left["opened by outside hosts"]++
		case r.Opening != "":
			left["seen only while a gate stood open"]++
		case r.Excluded != "":
			left["taken out of the evidence"]++
		case !r.Answered && !r.OneWay:
			left["never answered"]++
		case r.Guessed:
			left["of a direction that is not certain"]++
		case x.Lifeline(r.Group, r.Flow()):
			left["passed by lifelines"]++
		case x.Never(r.Group, r.Flow()) != nil:
			left["never allowed by the plan"]++
		case len(p.Scope.Outside) > 0 && !inPrefixes(p.Scope.Outside, r), inPrefixes(p.Scope.Inside, r):
			left["to destinations that are not outside"]++
		default:
			if err := in.Add(Observation{Group: r.Group, Client: r.Client, Server: r.Server, Service: r.Service}); err != nil {
				return nil, nil, err
			}
		}
	}
	var words []string
	for k, n := range left {
		words = append(words, fmt.Sprintf("%s left out: %s", many(n, "flow"), k))
	}
	slices.Sort(words)
	return in, words, nil
}

func inPrefixes(list []netip.Prefix, r monitor.Row) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(r.Server) })
}
