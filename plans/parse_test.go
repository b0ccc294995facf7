package plans

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/phases/flow"
)

func TestExampleHasNoMistakes(t *testing.T) {
	p := parseText(t, string(Example()))
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256(Example())); p.Hash != want {
		t.Errorf("hash %s, want %s", p.Hash, want)
	}
	var names []string
	for _, g := range p.Groups {
		names = append(names, g.Name)
	}
	if want := []string{"cameras", "doorbell", "mail-relays", "servers", Unassigned, "workstations"}; !slices.Equal(names, want) {
		t.Errorf("groups %v, want %v", names, want)
	}
	if w := p.Enforce.Waves[1]; w.Share != 5 || w.Deny != "reject" || w.Established != "drain" || len(w.Brownouts) != 3 {
		t.Errorf("the pilot wave is %+v", w)
	}
	if d := p.Declared[0]; !slices.Equal(d.Families, []flow.Family{flow.IPv4}) || d.Window != nil || d.Pos.Line == 0 {
		t.Errorf("the first declared flow is %+v", d)
	}
	if n := p.Never[0]; n.Deny != "honeypot" || !n.From.Any || !n.To.Outside {
		t.Errorf("the never rule is %+v", n)
	}
	if g := p.Group("servers"); g.Members[0] != netip.MustParsePrefix("10.20.1.0/24") || !slices.Equal(g.RulesBy, []string{"group", "destination", "service"}) {
		t.Errorf("the servers are %+v", g)
	}
}

// TestLineEnds reads the example as other editors save it.
func TestLineEnds(t *testing.T) {
	text := string(Example())
	for name, s := range map[string]string{"crlf": strings.ReplaceAll(text, "\n", "\r\n"), "no newline at the end": strings.TrimRight(text, "\n"), "byte order mark": "\ufeff" + text, "document start": "---\n" + text} {
		if _, err := Parse(name, []byte(s)); err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
	}
	_, err := Parse("crlf", []byte(strings.ReplaceAll(strings.Replace(text, "quorum: 2", "quorum: 99", 1), "\n", "\r\n")))
	var ms Mistakes
	if !errors.As(err, &ms) || len(ms) != 1 || !strings.Contains(ms[0].Source, "quorum: 99") || strings.Contains(ms[0].Source, "\r") {
		t.Errorf("the place of a mistake with CRLF: %v", err)
	}
}

func TestLimits(t *testing.T) {
	for name, s := range map[string]string{
		"more than 1 MiB":  strings.Repeat("#", MaxSize+1),
		"more than 65536":  "a: " + strings.Repeat("x", maxLine),
		"nested too deep":  strings.Repeat("- ", 100) + "a",
		"more than 50000":  strings.Repeat("a:\n", maxKeys+1),
		"nested too deep ": strings.Repeat(" ", 1000) + "a: b",
	} {
		_, err := Parse("big", []byte(s))
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

// TestLaterFieldsAreRefusedByName puts each field of a later part into the
// plan and into a group.
func TestLaterFieldsAreRefusedByName(t *testing.T) {
	for field := range later {
		for _, s := range []string{short + field + ": {}\n", strings.Replace(short, "members:", field+": [], members:", 1)} {
			_, err := Parse("plan.yaml", []byte(s))
			var ms Mistakes
			if !errors.As(err, &ms) || len(ms) != 1 || !strings.Contains(ms[0].Text, `"`+field+`" belongs to a later version`) {
				t.Errorf("%s: %v", field, err)
			}
		}
	}
}

func TestMistakeCutsLongLines(t *testing.T) {
	m := Mistake{File: "f", Line: 3, Col: 500, Text: "wrong", Hint: "right", Source: strings.Repeat("x", 499) + "Y" + strings.Repeat("z", 500)}
	lines := strings.Split(m.String(), "\n")
	if len(lines) != 4 || len(lines[1]) > 180 {
		t.Fatalf("%q", lines)
	}
	if c := strings.IndexByte(lines[2], '^'); lines[1][c] != 'Y' {
		t.Errorf("the caret is not under the Y:\n%s", m)
	}
	tab := Mistake{File: "f", Line: 1, Col: 3, Text: "wrong", Source: "\täb: 1"}
	if want := "f:1:3: wrong\n     1 | \täb: 1\n       | \t ^"; tab.String() != want {
		t.Errorf("%q, want %q", tab, want)
	}
}

func TestClientsOutsideAreNobody(t *testing.T) {
	p := parseText(t, short)
	for s, want := range map[string]string{"203.0.113.0/24": "[]", "10.0.1.7/32": "[{desks [10.0.1.7/32]}]", "10.0.2.0/24": "[{unassigned [10.0.2.0/24]}]",
		"10.0.0.0/16": "[{desks [10.0.1.0/24]} {unassigned [10.0.0.0/16]}]", "10.0.0.0/8": "[{desks [10.0.1.0/24]} {unassigned [10.0.0.0/8]}]"} {
		if got := fmt.Sprint(p.Clients(Target{Prefixes: []netip.Prefix{netip.MustParsePrefix(s)}})); got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
}
