package compile_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir/nft"
	"weir/phases/compile"
	"weir/phases/compile/oracle"
	"weir/phases/policy"
)

var allTreatments = []compile.Treatment{compile.Open, compile.Alert, compile.Drop, compile.Reject, compile.Honeypot}

// drawShadow gives a step a candidate for some of its groups: often the live
// rules with a few changed, else rules of its own.
func drawShadow(t *rapid.T, in compile.Input) *compile.Shadow {
	var names []string
	for _, g := range in.Groups {
		names = append(names, g.Name)
	}
	if len(names) == 0 {
		return nil
	}
	s := &compile.Shadow{Name: "x", Groups: rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 3, rapid.ID).Draw(t, "shadowed")}
	s.Policy = drawPolicy(t, s.Groups, 6)
	if rapid.Bool().Draw(t, "alike") {
		for _, r := range in.Policy.Rules {
			if slices.Contains(s.Groups, r.Group) && rapid.IntRange(0, 3).Draw(t, "keep") > 0 {
				s.Policy.Rules = append(s.Policy.Rules, r)
			}
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "never") == 0 {
		s.Never = drawNevers(t, s.Groups)
	}
	return s
}

// TestShadowChangesNoVerdict: with a candidate beside the live rules every
// packet meets what it met without one, in both hooks and families, and the two
// counters move exactly where the candidate disagrees.
func TestShadowChangesNoVerdict(t *testing.T) {
	differed := map[string]bool{}
	rapid.Check(t, func(r *rapid.T) {
		in := drawInput(r, allTreatments...)
		in.Shadow = nil
		w := drawWorld(r)
		plain, err := compile.Compile(in)
		if err != nil {
			if selfTwice(in) {
				return
			}
			r.Fatal(err)
		}
		in.Shadow = drawShadow(r, in)
		rev, err := compile.Compile(in)
		if err != nil {
			r.Fatal(err)
		}
		before, after := machine(t, plain, w), machine(t, rev, w)
		for range 200 {
			p := drawPacket(r, in.Scope.Hooks)
			want, err := before.Eval(p)
			if err != nil {
				r.Fatalf("%+v: %v", p, err)
			}
			got, err := after.Eval(p)
			if err != nil {
				r.Fatalf("%+v: %v", p, err)
			}
			differs := ""
			counters := slices.DeleteFunc(slices.Clone(got.Counters), func(c string) bool {
				is := strings.HasSuffix(c, "_widens") || strings.HasSuffix(c, "_narrows")
				if is {
					differs = c
				}
				return is
			})
			if got.Verdict != want.Verdict || !slices.Equal(counted(counters), counted(want.Counters)) {
				r.Fatalf("%+v\nwith a shadow %s %v, without %s %v\npath %v\n%s", p, got.Verdict, got.Counters, want.Verdict, want.Counters, got.Path, rev.Ruleset)
			}
			d := oracle.Judge(in, w, p)
			if in.Off {
				d.Differs = ""
			}
			if differs != d.Differs {
				r.Fatalf("%+v: counted %q, want %q\npath %v\n%s", p, differs, d.Differs, got.Path, rev.Ruleset)
			}
			group, kind, _ := strings.Cut(strings.TrimPrefix(differs, "w_c_"), "_")
			prefix := map[string]string{"widens": "weir w " + group + " ", "narrows": "weir c " + group + " "}[kind]
			if logged := slices.ContainsFunc(got.Logs, func(l nft.Log) bool {
				return strings.HasPrefix(l.Prefix, "weir w") || strings.HasPrefix(l.Prefix, "weir c")
			}); logged != (differs != "") || logged && !slices.ContainsFunc(got.Logs, func(l nft.Log) bool { return l.Prefix == prefix }) {
				r.Fatalf("%+v: %q, logged %v", p, differs, got.Logs)
			}
			differed[kind] = true
		}
	})
	if !differed["widens"] || !differed["narrows"] {
		t.Errorf("only %v was met", differed)
	}
}

// counted leaves out what log limits and the capture count.
func counted(counters []string) []string {
	return slices.DeleteFunc(slices.Clone(counters), func(c string) bool { return c == "w_suppressed" || c == "w_misses" })
}

// TestShadowIsOnlyBeside: a candidate equal to the live rules differs nowhere,
// and a step without one is what it was before there were shadows.
func TestShadowIsOnlyBeside(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := drawInput(r, allTreatments...)
		in.Shadow = nil
		plain, err := compile.Compile(in)
		if err != nil || len(in.Groups) == 0 {
			return
		}
		s := &compile.Shadow{Name: "same"}
		for _, g := range in.Groups {
			s.Groups = append(s.Groups, g.Name)
		}
		for _, rule := range in.Policy.Rules {
			if slices.Contains(s.Groups, rule.Group) {
				s.Policy.Rules = append(s.Policy.Rules, rule)
			}
		}
		in.Shadow = s
		rev, err := compile.Compile(in)
		if err != nil {
			r.Fatal(err)
		}
		m := machine(t, rev, &oracle.World{})
		for range 50 {
			got, err := m.Eval(drawPacket(r, in.Scope.Hooks))
			if err != nil {
				r.Fatal(err)
			}
			for _, c := range got.Counters {
				if strings.HasSuffix(c, "_widens") || strings.HasSuffix(c, "_narrows") {
					r.Fatalf("%s of rules that are the same", c)
				}
			}
		}
		in.Shadow = nil
		if again, err := compile.Compile(in); err != nil || again.ID != plain.ID {
			r.Fatal(again.ID, plain.ID, err)
		}
	})
}

func TestShadowOfNobody(t *testing.T) {
	in := compile.Input{Scope: compile.Scope{Hooks: []string{"forward"}}, Groups: []compile.Group{{Name: "desks", Treatment: compile.Drop, Members: prefixes("10.20.1.0/24")}}}
	for name, s := range map[string]compile.Shadow{
		"a group that is not there": {Groups: []string{"cameras"}},
		"a rule for another group":  {Groups: []string{"desks"}, Policy: policy.Policy{Rules: []policy.Rule{{Group: "cameras", Services: services("tcp/80")}}}},
		"a rule without services":   {Groups: []string{"desks"}, Policy: policy.Policy{Rules: []policy.Rule{{Group: "desks"}}}},
		"a never for another group": {Groups: []string{"desks"}, Never: []compile.Never{{Group: "cameras"}}},
		"an empty destination":      {Groups: []string{"desks"}, Policy: policy.Policy{Rules: []policy.Rule{{Group: "desks", To: []netip.Prefix{{}}, Services: services("tcp/80")}}}},
	} {
		in.Shadow = &s
		if _, err := compile.Compile(in); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
}
