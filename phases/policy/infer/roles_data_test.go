//go:build data

package infer

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestRolesAreAsFewAsKnown(t *testing.T) {
	for file, want := range map[string]int{"hc": 14, "domino": 20, "fire2": 10} {
		f, err := os.Open(filepath.Join(os.Getenv("WEIR_DATA"), "roles", file+".txt"))
		if err != nil {
			t.Fatalf("WEIR_DATA must name the folder of test data: %v", err)
		}
		defer f.Close()
		var pairs [][2]int
		for s := bufio.NewScanner(f); s.Scan(); {
			var p [2]int
			if _, err := fmt.Sscan(s.Text(), &p[0], &p[1]); err != nil {
				t.Fatal(err)
			}
			pairs = append(pairs, p)
		}
		start := time.Now()
		roles, bound, err := Roles(pairs)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d pairs, %d roles, at least %d, in %v", file, len(pairs), len(roles), bound, time.Since(start))
		if len(roles) != want {
			t.Errorf("%s: %d roles, want %d", file, len(roles), want)
		}
		same(t, pairs, roles)
	}
}
