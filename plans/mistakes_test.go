package plans

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the goldens anew")

// TestMistakes reads plans with mistakes and compares what is printed.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Parse("plan.yaml", ar.Files[0].Data)
			var ms Mistakes
			if !errors.As(err, &ms) || p != nil {
				t.Fatalf("Parse = %v, %v; want no plan and its mistakes", p, err)
			}
			for _, m := range ms {
				if m.Text == "" || m.Line > 0 && (m.Col < 1 || m.Source == "" && m.Hint == "") {
					t.Errorf("incomplete: %+v", m)
				}
			}
			got := ms.Render()
			if *update {
				ar.Files[1].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(ar.Files[1].Data); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
