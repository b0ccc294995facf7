package plans

import (
	"strings"
	"testing"

	"weir/phases/flow/hostile"
)

// A plan that is written for a machine holds names that came from its network.
func TestHostileNamesInAPlan(t *testing.T) {
	for _, s := range hostile.Strings {
		if got := comment(s); hostile.Leaks(got) != nil || strings.ContainsAny(got, "\n\t") {
			t.Errorf("the comment %q leaks %v", got, hostile.Leaks(got))
		}
		got := scalar(s)
		if hostile.Leaks(got) != nil || strings.Contains(got, "\n") {
			t.Errorf("the scalar %q leaks %v", got, hostile.Leaks(got))
		}
		r := newReader("x", []byte("a: "+got+"\nb: 1\n"))
		root := r.read()
		if err := r.err(); err != nil {
			t.Errorf("%s is not read: %v", got, err)
			continue
		}
		want := strings.ToValidUTF8(s, "\ufffd")
		if v := root.get("a"); v == nil || v.kind != text || v.text != want || root.get("b") == nil {
			t.Errorf("%q is written as %s and read as %+v", s, got, v)
		}
	}
}

// What a person wrote into a plan comes back in the errors about it.
func TestHostileMistakes(t *testing.T) {
	for _, s := range hostile.Strings {
		for _, file := range []string{"kind: " + s, s + ": 1", s, "apiVersion: weir/v1\nkind: RolloutPlan\nmetadata: {name: " + scalar(s) + "}\ngroups: {" + scalar(s) + ": {members: [" + scalar(s) + "]}}\n"} {
			_, err := Parse("plan.yaml", []byte(file))
			_, err2 := ParseTrust("trust.yaml", []byte(file))
			if err == nil || err2 == nil {
				t.Errorf("%q is a plan", file)
			}
		}
	}
}
