//go:build data

package iptables

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// TestRealFilesAreRead reads every ruleset of the folder WEIR_DATA and flattens
// every hooked chain.
func TestRealFilesAreRead(t *testing.T) {
	dir := os.Getenv("WEIR_DATA")
	files := map[string]int{ // → lines with -A in the filter table that must come back as rules
		"lisa07-figure1.iptables-save": 24, "university-2015-flat.rules": 3141, "company.iptables-save": 0,
		"company-a-day-before.iptables-save": 0, "university-input.iptables-save": 0, "shorewall.iptables-save": 0,
		"home.iptables-save": 0, "nas.iptables-save": 0, "small.rules": 0,
	}
	for f, want := range files {
		b, err := os.ReadFile(filepath.Join(dir, "rulesets", f))
		if err != nil {
			t.Errorf("WEIR_DATA must name the folder of test data: %v", err)
			continue
		}
		rs, err := Read(f, string(b), flow.IPv4)
		if err != nil {
			t.Error(err)
			continue
		}
		n := 0
		read := map[int]bool{} // lines that are rules, or named
		for _, c := range rs.Chains {
			n += len(c.Rules)
			for _, r := range c.Rules {
				read[r.Line] = true
			}
		}
		for _, x := range rs.Notes {
			read[x.Line] = true
		}
		for i, line := range strings.Split(string(b), "\n") {
			if strings.Contains(line, "-A ") && line[0] != '#' && !read[i+1] {
				t.Errorf("%s:%d was neither read nor named: %s", f, i+1, line)
			}
		}
		if want > 0 && n != want {
			t.Errorf("%s: %d rules, want %d", f, n, want)
		}
		for _, h := range rules.Hooked(rs) {
			if _, err := rules.Flatten(rs, h); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
		t.Log(f, n, "rules", rs.Notes)
	}
}
