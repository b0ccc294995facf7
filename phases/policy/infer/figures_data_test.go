//go:build data

package infer

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/phases/flow"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/iptables"
	"weir/phases/policy/rules/sample"
)

// read reads a ruleset of the folder WEIR_DATA. A test without it fails.
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

// TestRealRulesetsAreInferred holds the known answers, and compares 200,000
// packets at the edges of each ruleset with the naive interpreter.
func TestRealRulesetsAreInferred(t *testing.T) {
	for _, c := range []struct {
		file, chain   string
		rules         int // 0: as few as it finds
		before, after int
	}{
		{"lisa07-figure1.iptables-save", "FORWARD", 7, 103, 47},
		{"university-2015-flat.rules", "FORWARD", 62, 0, 0},
		{"university-input.iptables-save", "INPUT", 17, 0, 0},
		{"company.iptables-save", "FORWARD", 6, 0, 0}, // 5 of new connections, see below
		{"company.iptables-save", "INPUT", 0, 0, 0},
		{"company-a-day-before.iptables-save", "FORWARD", 0, 0, 0},
		{"small.rules", "FORWARD", 0, 0, 0},
		{"nas.iptables-save", "INPUT", 0, 0, 0},
		{"home.iptables-save", "FORWARD", 0, 0, 0},
		{"home.iptables-save", "INPUT", 0, 0, 0},
		{"shorewall.iptables-save", "FORWARD", 0, 0, 0},
		{"shorewall.iptables-save", "INPUT", 0, 0, 0},
	} {
		t.Run(c.file+" "+c.chain, func(t *testing.T) {
			rs := read(t, "rulesets/"+c.file)
			res, err := Infer(rs, c.chain)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d rules, at least %d; complexity %d, was %d; %d unmatched, %d shadowed, %d redundant", len(res.Policy.Rules), res.Bound, res.After, res.Before,
				len(res.Dead.Unmatched), len(res.Dead.Shadowed), len(res.Dead.Redundant))
			if c.rules > 0 && (len(res.Policy.Rules) != c.rules || !res.Minimal) {
				t.Errorf("%d rules, at least %d; want %d, proven", len(res.Policy.Rules), res.Bound, c.rules)
			}
			if c.before > 0 && (res.Before != c.before || res.After != c.after) {
				t.Errorf("complexity %d before, %d after; want %d, %d", res.Before, res.After, c.before, c.after)
			}
			if res.After > res.Before {
				t.Errorf("complexity %d is above the input's %d", res.After, res.Before)
			}
			got := res.Policy.Ruleset("p", "forward")
			packets := sample.NewPackets(rand.New(rand.NewPCG(1, 2)), rs)
			allowed := 0
			for range 200_000 {
				p := packets.Next()
				v, err1 := rules.Decide(rs, c.chain, p)
				w, err2 := rules.Decide(got, "p", p)
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				if (v.Action == rules.Accept) != (w.Action == rules.Accept) {
					t.Fatalf("%s %v: %s by %s, the policy says %s", p, p.Tests, v.Action, v.Rule.Where(), w.Action)
				}
				if v.Action == rules.Accept {
					allowed++
				}
			}
			t.Logf("%d of 200000 packets allowed", allowed)
		})
	}
}

// TestFigureTwo: the rules of LISA '07's figure 1 come out as its figure 2.
func TestFigureTwo(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(os.Getenv("WEIR_DATA"), "rulesets/lisa07-figure2.txt"))
	if err != nil {
		t.Fatalf("WEIR_DATA must name the folder of test data: %v", err)
	}
	res, err := Infer(read(t, "rulesets/lisa07-figure1.iptables-save"), "FORWARD")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, r := range res.Policy.Rules {
		for _, l := range r.Lines() {
			got = append(got, normal(l))
		}
	}
	for _, l := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
		_, l, _ = strings.Cut(l, ".  ")
		want = append(want, normal(l))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(want) != 10 {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// normal writes prefixes without host bits and lists in one order, and uses one
// name of port 80.
func normal(l string) string {
	l = regexp.MustCompile(`[0-9.]+/[0-9]+`).ReplaceAllStringFunc(l, func(s string) string { return netip.MustParsePrefix(s).Masked().String() })
	l = strings.Replace(l, "www", "http", 1)
	for _, key := range []string{" FOR ", " OF TYPES "} {
		if head, list, ok := strings.Cut(l, key); ok {
			items := strings.Split(list, ", ")
			slices.Sort(items)
			l = head + key + strings.Join(items, ", ")
		}
	}
	return l
}

// TestCompanyNewConnections: five rules are enough for new connections, and
// fewer are not.
func TestCompanyNewConnections(t *testing.T) {
	a, err := Query(read(t, "rulesets/company.iptables-save"), "FORWARD", rules.Match{States: rules.New})
	if err != nil || len(a.Parts) != 5 || !a.Minimal {
		t.Errorf("%d parts, minimal %t: %v; want 5, proven", len(a.Parts), a.Minimal, err)
	}
}
