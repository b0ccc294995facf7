package phases

import (
	"errors"
	"testing"
)

// TestEveryPairOfSteps: from each confirmed step, only the next one and itself
// can be frozen; one can go back to each earlier step, and to no other.
func TestEveryPairOfSteps(t *testing.T) {
	for _, name := range []string{"p", "new", "brown0"} {
		if name == "brown0" {
			planNamed(name, func(p *planT) { p.Enforce.Waves, p.Refactor = p.Enforce.Waves[:1], nil })
		}
		steps := Expand(testPlans[name])
		for i, from := range steps {
			for j, to := range steps {
				s := newScript(t)
				s.run("apply:" + name + " drill")
				if i > 0 {
					s.run("to:" + from.Name)
				}
				before := s.w.stable()
				err := s.do("req:" + to.Name)
				switch {
				case j == i+1, j == i && i > 0:
					if err != nil {
						t.Errorf("%s: %s cannot be frozen upon %s: %v", name, to.Name, from.Name, err)
					}
				case !errors.Is(err, ErrNotNext) && !errors.Is(err, ErrNoNext):
					t.Errorf("%s: %s upon %s: %v", name, to.Name, from.Name, err)
				}
				err = s.do("back:" + to.Name)
				switch got := s.end(); {
				case j < i:
					want := to.Name + " paused"
					if err != nil || got != want && !sameRules(s, to.Name) {
						t.Errorf("%s: back from %s to %s: %q, %v", name, from.Name, to.Name, got, err)
					}
				case err == nil || s.w.stable() != before:
					t.Errorf("%s: went from %s back to %s: %s", name, from.Name, to.Name, got)
				}
				s.check("back")
			}
		}
	}
}

// sameRules says whether the confirmed step is the one named, whatever other
// step has the same revision.
func sameRules(s *script, name string) bool {
	current, _, _, _ := s.m.State().Current()
	return current == name
}
