package refactor_test

import (
	"testing"

	"weir/phases/flow"
	"weir/phases/policy"
	"weir/phases/refactor"
	"weir/plans"
)

// TestDeclaredStays: a refactoring takes the place of what was observed, not of
// what the plan declares.
func TestDeclaredStays(t *testing.T) {
	plan := plans.Plan{Groups: []plans.Group{{Name: "desks", Families: []flow.Family{flow.IPv4}}}}
	tcp := func(port uint16) []flow.Service { return []flow.Service{flow.Single(flow.TCP, port)} }
	old := policy.Policy{Rules: []policy.Rule{
		{Group: "desks", Services: tcp(25), Reason: policy.Observed},
		{Group: "desks", Services: tcp(5432), Reason: policy.DeclaredBy, Name: "failover"},
		{Group: "desks", Services: tcp(22), Reason: policy.Answered},
	}}
	out, err := refactor.Apply(old, plan, plans.Refactor{Name: "r", Groups: []string{"desks"},
		Allow: []plans.AllowRule{{To: plans.Target{Outside: true}, Services: tcp(443)}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range out.Rules {
		got = append(got, r.Services[0].String())
	}
	if len(got) != 2 || got[0] != "tcp/5432" || got[1] != "tcp/443" {
		t.Errorf("%v", got)
	}
}
