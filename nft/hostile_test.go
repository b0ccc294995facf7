package nft

import (
	"strings"
	"testing"

	"weir/phases/flow/hostile"
)

// What could end a comment or a log prefix, or be obeyed by a terminal, is refused;
// the rest is one comment in the text, and read back.
func TestHostileComments(t *testing.T) {
	for _, s := range hostile.Strings {
		r := Ruleset{Family: "inet", Table: "weir", Chains: []Chain{{Name: "c", Rules: []Rule{{Stmts: []Stmt{Verdict{Kind: "accept"}}, Comment: s}}}}}
		text := r.String()
		if err := r.Check(); err != nil {
			if hostile.Leaks(s) == nil && !strings.ContainsAny(s, "\"\\\n\t") && len(s) <= MaxComment {
				t.Errorf("%q is refused: %v", s, err)
			}
			continue
		}
		if hostile.Leaks(text) != nil || strings.ContainsAny(s, "\"\\\n\t") || len(s) > MaxComment {
			t.Errorf("%q is taken", s)
		}
		back, err := Parse(text)
		if err != nil || len(back.Chains) != 1 || len(back.Chains[0].Rules) != 1 || back.Chains[0].Rules[0].Comment != s {
			t.Errorf("%q is read back as %+v, %v", s, back, err)
		}
	}
}
