//go:build data

package infer

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// verified reads the matrix of a service from a .matrix file: classes by their
// ranges in words, and edges by pairs of these.
func verified(t *testing.T, file string, port int) (classes []string, edges []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(os.Getenv("WEIR_DATA"), "rulesets", file))
	if err != nil {
		t.Fatalf("WEIR_DATA must name the folder of test data: %v", err)
	}
	_, text, ok := strings.Cut(string(b), fmt.Sprintf("TCP port 10000->%d =", port))
	if !ok {
		t.Fatalf("%s has no matrix for port %d", file, port)
	}
	text, _, _ = strings.Cut(strings.TrimLeft(text, "="), "=====")
	if i := strings.Index(text, "\n\n\n"); i > 0 {
		text = text[:i]
	}
	names := map[string]string{}
	class := regexp.MustCompile(`^(\w+) \|-> (.*)$`)
	edge := regexp.MustCompile(`^\((\w+),(\w+)\)$`)
	for _, line := range strings.Split(text, "\n") {
		if m := class.FindStringSubmatch(line); m != nil {
			var ranges []rules.AddrRange
			for _, r := range strings.Split(m[2], " u ") {
				lo, hi, two := strings.Cut(strings.Trim(r, "{}"), " .. ")
				if !two {
					hi = lo
				}
				ranges = append(ranges, rules.AddrRange{Lo: netip.MustParseAddr(lo), Hi: netip.MustParseAddr(hi)})
			}
			names[m[1]] = fmt.Sprint(ranges)
			classes = append(classes, names[m[1]])
		} else if m := edge.FindStringSubmatch(line); m != nil {
			edges = append(edges, names[m[1]]+" -> "+names[m[2]])
		}
	}
	slices.Sort(classes)
	slices.Sort(edges)
	return classes, edges
}

func TestMatricesAreTheVerifiedOnes(t *testing.T) {
	zone := func(s ...string) (out []rules.AddrRange) {
		for _, p := range s {
			out = append(out, rules.PrefixRange(netip.MustParsePrefix(p)))
		}
		return out
	}
	lo := rules.Zones{"lo": zone("127.0.0.0/8")}
	for _, c := range []struct {
		file, chain, matrix string
		port                uint16
		zones               rules.Zones
		classes, edges      int
	}{
		{"university-2015-flat.rules", "FORWARD", "university-2015-flat.matrix", 22, nil, 9, 47},
		{"university-2015-flat.rules", "FORWARD", "university-2015-flat.matrix", 80, nil, 12, 79},
		{"company.iptables-save", "FORWARD", "company.matrix", 22, rules.Zones{"eth0": zone("172.16.2.0/24")}, 5, 7},
		{"company.iptables-save", "FORWARD", "company.matrix", 80, rules.Zones{"eth0": zone("172.16.2.0/24")}, 4, 4},
		{"small.rules", "FORWARD", "small.matrix", 80, lo, 4, 12},
		{"nas.iptables-save", "INPUT", "nas.matrix", 8080, lo, 2, 2},
		{"nas.iptables-save", "INPUT", "nas.matrix", 80, lo, 2, 2},
	} {
		rs := c.zones.Sources(read(t, "rulesets/"+c.file))
		start := busy(t)
		m, err := MatrixOf(rs, c.chain, flow.Single(flow.TCP, c.port), flow.IPv4)
		took := busy(t) - start
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		t.Logf("%s tcp/%d: %v", c.file, c.port, took)
		if len(m.Classes) != c.classes || len(m.Edges) != c.edges || took > time.Duration(slower)*500*time.Millisecond {
			var b strings.Builder
			m.Text(&b)
			t.Errorf("%s tcp/%d: %d classes, %d edges in %v; want %d, %d in 0.5 s\n%s", c.file, c.port, len(m.Classes), len(m.Edges), took, c.classes, c.edges, b.String())
		}
		classes, edges := verified(t, c.matrix, int(c.port))
		var gotClasses, gotEdges []string
		for _, x := range m.Classes {
			gotClasses = append(gotClasses, fmt.Sprint(x))
		}
		for _, e := range m.Edges {
			gotEdges = append(gotEdges, gotClasses[e[0]]+" -> "+gotClasses[e[1]])
		}
		slices.Sort(gotClasses)
		slices.Sort(gotEdges)
		if !slices.Equal(gotClasses, classes) || !slices.Equal(gotEdges, edges) {
			t.Errorf("%s tcp/%d: not the verified classes and edges: %d and %d, verified %d and %d", c.file, c.port, len(gotClasses), len(gotEdges), len(classes), len(edges))
		}
	}
}
