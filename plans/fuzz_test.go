package plans

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzParse reads anything. It must never panic; each mistake has words and a
// place in the file; and what parses, parses again as JSON to the same plan.
func FuzzParse(f *testing.F) {
	f.Add(Example())
	f.Add([]byte(whole))
	f.Add([]byte(short))
	f.Add([]byte(classes))
	files, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("f", data)
		if err != nil {
			checkMistakes(t, p, err, data)
			return
		}
		again, err := Parse("f", data)
		if err != nil || again.Hash != p.Hash {
			t.Fatalf("the second time: %v", err)
		}
		root := newReader("f", data).read()
		b, err := json.Marshal(root.value())
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := Parse("json", b)
		if err != nil {
			t.Fatalf("%s\nas JSON:\n%v", b, err)
		}
		if a, b := withoutPlaces(p), withoutPlaces(asJSON); a != b {
			t.Fatalf("as YAML %s\nas JSON %s", a, b)
		}
	})
}

func checkMistakes(t *testing.T, p *Plan, err error, data []byte) {
	var ms Mistakes
	if !errors.As(err, &ms) || len(ms) == 0 || p != nil {
		t.Fatalf("a plan %v with %v", p, err)
	}
	lines := len(newReader("f", data).lines)
	for _, m := range ms {
		if m.Text == "" || m.Line < 0 || m.Col < 0 || m.Line > lines {
			t.Errorf("a mistake without words or place: %+v", m)
		}
		if strings.Contains(m.Text, "the plan cannot be read") {
			t.Errorf("a panic in the decoder: %+v", m)
		}
	}
	if out := ms.Render(); !utf8.ValidString(out) {
		t.Errorf("mistakes are not valid text: %q", out)
	}
}
