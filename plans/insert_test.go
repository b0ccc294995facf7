package plans

import (
	"os"
	"strings"
	"testing"
)

// TestInsert puts entries into plans of every style: what stood there stands
// there still, and the result is a plan with the entries.
func TestInsert(t *testing.T) {
	entries := []Entry{
		{Path: []string{"groups"}, Text: `desks-smtp: {members: [10.20.16.7], families: [ipv4], extends: workstations}`, Comment: []string{"found", "by itself"}},
		{Path: []string{"enforce", "waves"}, List: true, Text: `{name: suggested, groups: [desks-smtp]}`, Comment: []string{"new"}},
		{Path: []string{"refactor", "steps"}, List: true, Text: `{name: desks-smtp, groups: [desks-smtp], allow: [{to: [outside], services: [tcp/25, tcp/465]}]}`},
		{Path: []string{"tests"}, List: true, Text: `{from: [desks-smtp], services: [tcp/23], expect: denied}`},
	}
	example, err := os.ReadFile("examples/hq.yaml")
	if err != nil {
		t.Fatal(err)
	}
	small := `apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: m, owner: a@b}
scope: {hooks: [forward], inside: {prefixes: [10.20.0.0/16]}}
`
	for name, text := range map[string]string{
		"example": string(example),
		"flow":    small + "groups: {workstations: {members: [10.20.16.0/24]}}   # all\nenforce: {waves: [{name: \"a\", groups: [workstations]}], leaveOpen: [unassigned]} # end\n",
		"flow over lines": small + `groups: {
  workstations: {members: [10.20.16.0/24]}, # with ] in it
  }
enforce: {waves: [
    {name: a, groups: [workstations]}],
  leaveOpen: [unassigned]}`,
		"blocks": small + `groups:
  # people
  workstations:
    members:
    - 10.20.16.0/24

# how
enforce:
  waves:
  - name: a
    groups: [workstations]

  leaveOpen: [unassigned]
refactor:
  steps: []
tests:
  - from: [workstations]
    services: [tcp/23]
    expect: denied
`,
	} {
		before, err := Parse(name, []byte(text))
		if err != nil {
			t.Fatal(name, err)
		}
		out, err := Insert([]byte(text), entries)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p, err := Parse(name, out)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
			continue
		}
		if len(p.Groups) != len(before.Groups)+1 || len(p.Enforce.Waves) != len(before.Enforce.Waves)+1 || len(p.Refactor) != len(before.Refactor)+1 || len(p.Tests) != len(before.Tests)+1 {
			t.Errorf("%s: something is missing\n%s", name, out)
		}
		for _, l := range strings.Split(text, "\n") {
			if c := strings.Index(l, "#"); c >= 0 && !strings.Contains(string(out), l[c:]) {
				t.Errorf("%s: the comment %q is gone", name, l[c:])
			}
		}
	}
}

// FuzzInsert: what Insert makes of a plan is a plan with the entry, or an error
// that says so.
func FuzzInsert(f *testing.F) {
	f.Add("apiVersion: weir/v1\nkind: RolloutPlan\nmetadata: {name: m, owner: a@b}\nscope: {hooks: [forward], inside: {prefixes: [10.20.0.0/16]}}\ngroups: {desks: {members: [10.20.16.0/24]}}\nenforce: {waves: [{name: all, groups: [desks]}], leaveOpen: [unassigned]}\n")
	f.Add("apiVersion: weir/v1\nkind: RolloutPlan\nmetadata: {name: m, owner: a@b}\nscope: {hooks: [forward], inside: {prefixes: [10.20.0.0/16]}}\ngroups:\n  desks:\n    members:\n    - 10.20.16.0/24\nenforce:\n  waves:\n  - name: all\n    groups: [desks]\n  leaveOpen: [unassigned]\n")
	f.Fuzz(func(t *testing.T, text string) {
		before, err := Parse("plan", []byte(text))
		if err != nil {
			return
		}
		out, err := Insert([]byte(text), []Entry{{Path: []string{"tests"}, List: true, Text: "{from: [inside], services: [tcp/23], expect: denied}"}})
		if err != nil {
			return
		}
		p, err := Parse("plan", out)
		if err != nil {
			if len(out) > MaxSize || !before.Scope.hasInside() {
				return
			}
			t.Fatalf("%v\n%s", err, out)
		}
		if len(p.Tests) != len(before.Tests)+1 {
			t.Fatalf("%d tests, then %d:\n%s", len(before.Tests), len(p.Tests), out)
		}
	})
}

func (s Scope) hasInside() bool { return len(s.Inside)+len(s.InsideIfaces) > 0 }

// TestWrapped: a long flow is broken, quoted words are not.
func TestWrapped(t *testing.T) {
	text := `{name: x, from: [` + strings.Repeat("10.20.16.7, ", 30) + `10.0.0.1], reason: "` + strings.Repeat("a, b ", 30) + `"}`
	got := wrapped(text, "    ")
	if strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(text), "") {
		t.Errorf("something is missing: %s", got)
	}
	lines := strings.Split(got, "\n")
	if len(lines) < 4 {
		t.Errorf("only %d lines", len(lines))
	}
	for _, l := range lines {
		if strings.Count(l, `"`)%2 != 0 || len(l) > 115 && !strings.Contains(l, `"`) {
			t.Errorf("line %q", l)
		}
	}
}
