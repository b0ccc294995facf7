package plans

import (
	"fmt"
	"strings"
	"testing"
)

// large writes a plan with many groups, each with a declared flow.
func large(groups int) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: weir/v1\nkind: RolloutPlan\nmetadata: {name: large, owner: me@example.net}\nscope: {hooks: [forward], inside: {prefixes: [10.0.0.0/8]}}\ngroups:\n")
	for i := range groups {
		fmt.Fprintf(&b, "  g%d: {members: [10.%d.%d.0/24]}\n", i, i/250, i%250)
	}
	b.WriteString("declared:\n")
	for i := range groups {
		fmt.Fprintf(&b, "  - {name: d%d, from: [g%d], to: [198.51.100.%d], services: [tcp/443]}\n", i, i, i%250)
	}
	b.WriteString("never:\n  - {name: no-telnet, services: [tcp/23]}\nenforce:\n  waves:\n    - name: all\n      groups:\n")
	for i := range groups {
		fmt.Fprintf(&b, "        - g%d\n", i)
	}
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		text := large(n)
		b.Run(fmt.Sprintf("groups=%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Parse("plan.yaml", text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDiff(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		p, err := Parse("plan.yaml", large(n))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("groups=%d", n), func(b *testing.B) {
			for b.Loop() {
				Diff(p, p)
			}
		})
	}
}

func BenchmarkClassify(b *testing.B) {
	for _, n := range []int{10, 1000} {
		p, err := Parse("plan.yaml", large(n))
		if err != nil {
			b.Fatal(err)
		}
		c, src := NewClassifier(p), p.Groups[0].Members[0].Addr()
		b.Run(fmt.Sprintf("groups=%d", n), func(b *testing.B) {
			for b.Loop() {
				c.Group(src, "02:00:5e:10:00:07", "lan0")
			}
		})
	}
}
