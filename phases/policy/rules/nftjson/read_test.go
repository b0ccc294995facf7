package nftjson

import (
	"os"
	"strings"
	"testing"

	"weir/phases/policy/rules"
)

func TestTmp(t *testing.T) {
	b, _ := os.ReadFile("/tmp/a.json")
	rs, err := Read("a.json", string(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range rs.Chains {
		t.Log(c.Name, c.Hook, c.Default)
		for _, r := range c.Rules {
			t.Logf("%s %s %s %s | %+v", r.Where(), r.Action, r.Target, r.Text, r.Match)
		}
	}
	t.Log(rs.Notes)
	_ = strings.Join
	_, err = rules.Flatten(rs, "forward")
	t.Log(err)
}
