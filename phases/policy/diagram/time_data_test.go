//go:build data

package diagram

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"weir/phases/flow"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/iptables"
)

// TestUniversityBuilds builds the largest real ruleset.
func TestUniversityBuilds(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(os.Getenv("WEIR_DATA"), "rulesets/university-2015-flat.rules"))
	if err != nil {
		t.Fatalf("WEIR_DATA must name the folder of test data: %v", err)
	}
	rs, err := iptables.Read("university", string(b), flow.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	flat, err := rules.Flatten(rs, "FORWARD")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	s := NewSpace(flat)
	f := NewForest(0)
	n, err := s.Build(f, flat, Outcomes, flow.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	nodes, edges := f.Size()
	f.Keep(n)
	kept, ke := f.Size()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Log(time.Since(start), nodes, edges, kept, ke, m.Sys>>20, "MB")
	for _, d := range s.Dims {
		t.Log(d.Kind, d.Atoms())
	}
}
