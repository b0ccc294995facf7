//go:build data

package infer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/phases/flow"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/iptables"
)

func read(t testing.TB, file string) rules.Ruleset {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(os.Getenv("WEIR_DATA"), file))
	if err != nil {
		t.Fatalf("WEIR_DATA must name the folder of test data: %v", err)
	}
	rs, err := iptables.Read(filepath.Base(file), string(b), flow.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func TestFigures(t *testing.T) {
	for _, x := range [][2]string{{"lisa07-figure1.iptables-save", "FORWARD"}, {"university-2015-flat.rules", "FORWARD"}, {"company.iptables-save", "FORWARD"}, {"university-input.iptables-save", "INPUT"}, {"small.rules", "FORWARD"}, {"nas.iptables-save", "INPUT"},
		{"home.iptables-save", "FORWARD"}, {"shorewall.iptables-save", "FORWARD"}} {
		rs := read(t, "rulesets/"+x[0])
		start := time.Now()
		r, err := Infer(rs, x[1])
		if err != nil {
			t.Error(x, err)
			continue
		}
		var b strings.Builder
		r.Text(&b)
		t.Log(x, time.Since(start), len(r.Policy.Rules), r.Bound, r.Minimal, r.Before, r.After, r.Classes, len(r.Dead.Unmatched), len(r.Dead.Shadowed), len(r.Dead.Redundant))
		if x[0] != "university-2015-flat.rules" {
			t.Log(b.String())
		}
	}
}
