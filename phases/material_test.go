package phases

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/phases/compile"
	"weir/phases/policy"
	"weir/plans"
)

// rulesOf lists what the confirmed step allows and never allows a group.
func rulesOf(s *script, group string) string {
	f, err := s.m.Frozen(s.m.State().Stable)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, r := range f.Input.Policy.Rules {
		if r.Group == group {
			out = append(out, fmt.Sprint(r.Services))
		}
	}
	for _, n := range f.Input.Never {
		if n.Group == group || n.Group == "" {
			out = append(out, fmt.Sprint("never ", n.Services))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// step freezes with a policy and answers, approves, arms and confirms.
func step(s *script, name string, never []plans.Never, rules ...string) {
	s.w.now = s.w.now.Add(1000)
	mat := Material{Facts: facts(s.w), Never: never}
	for _, r := range rules {
		group, svc, _ := strings.Cut(r, " ")
		mat.Policy.Rules = append(mat.Policy.Rules, policy.Rule{Group: group, Services: services(svc)})
	}
	if _, _, err := s.m.Request(ctx, s.w.now, anna, name, mat); err != nil {
		s.t.Fatal(name, err)
	}
	s.run("ok:ben ok:cleo arm yes")
}

// TestBlockedGroupsKeepTheirRules: what is confirmed for a group that denies is
// not changed by the steps of others; new rules and answers wait for the group's
// own step, and there they only widen.
func TestBlockedGroupsKeepTheirRules(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/alert")
	never := []plans.Never{neverFrom("cameras", "tcp/443"), neverFrom("desks", "tcp/443")}

	step(s, "enforce/block:cameras", nil, "cameras tcp/443", "desks tcp/443")
	if got := rulesOf(s, "cameras"); got != "[tcp/443]" {
		t.Fatal(got)
	}
	// Another group's step: cameras lost a flow in the evidence, won one, and
	// somebody answered never.
	step(s, "enforce/block:pilot", never, "cameras udp/53", "desks tcp/22")
	if got := rulesOf(s, "cameras"); got != "[tcp/443]" {
		t.Error("cameras were touched by the step of desks:", got)
	}
	if got := rulesOf(s, "desks"); got != "[tcp/22] never [tcp/443]" {
		t.Error("desks:", got)
	}
	// The confirmed step again: what was answered since comes in, nothing goes.
	step(s, "enforce/block:pilot", never, "cameras udp/53", "desks tcp/25")
	if got := rulesOf(s, "cameras"); got != "[tcp/443] [udp/53]" {
		t.Error("cameras after the step again:", got)
	}
	if got := rulesOf(s, "desks"); got != "[tcp/22] [tcp/25] never [tcp/443]" {
		t.Error("desks after the step again:", got)
	}
	// An answer that was withdrawn ends where the step is asked for again.
	step(s, "enforce/block:pilot", nil, "desks tcp/25")
	if got := rulesOf(s, "desks"); got != "[tcp/22] [tcp/25]" {
		t.Error("desks after the answer was withdrawn:", got)
	}
	// Its own next step is frozen from the evidence as it is.
	step(s, "enforce/block:desks", never, "cameras tcp/1", "desks tcp/993")
	if got := rulesOf(s, "desks"); got != "[tcp/993] never [tcp/443]" {
		t.Error("desks after their own step:", got)
	}
	if got := rulesOf(s, "cameras"); got != "[tcp/443] [udp/53]" {
		t.Error("cameras at the end:", got)
	}
}

// TestRefactoredRulesStay: after the swap the group has the plan's rules in
// every later step.
func TestRefactoredRulesStay(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/block:core")
	step(s, "refactor/swap:desks", nil, "desks tcp/1", "cameras tcp/2")
	if got := rulesOf(s, "desks"); got != "[tcp/443]" {
		t.Error(got)
	}
	step(s, "watch", nil, "desks tcp/1")
	if got := rulesOf(s, "desks"); got != "[tcp/443]" {
		t.Error(got)
	}
}

// TestInputSaysWhatTheStepSays: treatment, share and prefixes of each group.
func TestInputSaysWhatTheStepSays(t *testing.T) {
	plan := planNamed("prefixed", func(p *planT) { p.Enforce.Waves[2].Prefixes = prefixes("10.2.1.0/24") })
	st, _ := find(Expand(plan), "enforce/block:pilot")
	in, err := input(plan, st, nil, Material{Links: prefixes("10.2.0.0/15")})
	if err != nil {
		t.Fatal(err)
	}
	desks := in.Groups[1]
	if desks.Treatment != compile.Reject || desks.Share != 5 || desks.ShareBy != "mac" || desks.Seed == 0 {
		t.Errorf("%+v", desks)
	}
	if in, _ = input(plan, st, nil, Material{Links: prefixes("10.2.0.0/24")}); in.Groups[1].ShareBy != "ipv4" || in.Groups[1].Seed != desks.Seed {
		t.Errorf("a group behind a router is shared by address: %+v", in.Groups[1])
	}
	st, _ = find(Expand(plan), "enforce/block:desks")
	if in, _ = input(plan, st, nil, Material{}); in.Groups[1].Share != 0 || fmt.Sprint(in.Groups[1].Prefixes) != "[10.2.1.0/24]" || in.Groups[0].Treatment != compile.Drop {
		t.Errorf("%+v", in.Groups)
	}
}

// TestExpiredRulesGo: a declared flow that has expired is listed, and goes with
// the next step or the same one requested again, also of a group that denies.
func TestExpiredRulesGo(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/alert")
	end := s.w.now.Add(time.Hour)
	ask := func(name string) {
		mat := Material{Facts: facts(s.w), UpTo: s.w.now, Policy: policy.Policy{Rules: []policy.Rule{
			{Group: "cameras", Services: services("tcp/443")}, {Group: "cameras", Services: services("tcp/22"), Reason: policy.DeclaredBy, Expires: end}}}}
		if !s.w.now.Before(end) {
			mat.Policy.Rules = mat.Policy.Rules[:1]
		}
		if _, _, err := s.m.Request(ctx, s.w.now, anna, name, mat); err != nil {
			t.Fatal(err)
		}
		s.run("ok:ben ok:cleo arm yes")
	}
	ask("enforce/block:cameras")
	if got := rulesOf(s, "cameras"); got != "[tcp/22] [tcp/443]" {
		t.Fatal(got)
	}
	f, err := s.m.Frozen(s.m.State().Stable)
	if err != nil {
		t.Fatal(err)
	}
	if len(Expired(f, end.Add(-1))) != 0 || len(Expired(f, end)) != 1 {
		t.Error(Expired(f, end))
	}
	s.run("wait:2h")
	ask("enforce/block:cameras")
	if got := rulesOf(s, "cameras"); got != "[tcp/443]" {
		t.Error(got)
	}
}
