package monitor

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"weir/phases/flow/hostile"
)

// No cell is a formula, none is obeyed by a terminal, and every cell is read back.
func TestHostileCSV(t *testing.T) {
	for _, s := range hostile.Strings {
		var b bytes.Buffer
		if err := WriteFlowsCSV(&b, []FlowLine{{Group: s, State: s, Units: []string{s}}}); err != nil {
			t.Fatal(err)
		}
		if got := hostile.Leaks(b.String()); got != nil {
			t.Errorf("%q leaks %v", s, got)
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) != 2 {
			t.Fatalf("%q: %d rows, %v", s, len(rows), err)
		}
		for _, c := range rows[1] {
			if c = strings.TrimSpace(c); c != "" && strings.ContainsAny(c[:1], "=+-@|%") {
				t.Errorf("%q: the cell %q is a formula", s, c)
			}
		}
	}
}
