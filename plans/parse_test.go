package plans

import "testing"

func TestExampleHasNoMistakes(t *testing.T) {
	p, err := Parse("hq.yaml", Example())
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "hq-egress" || len(p.Groups) != 6 || len(p.Enforce.Waves) != 4 {
		t.Errorf("the example reads as %+v", p)
	}
}
