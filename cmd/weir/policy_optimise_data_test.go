//go:build data

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/nft/netns"
	"weir/phases/policy/infer"
	"weir/phases/policy/rules/nfttext"
)

// BenchmarkOptimise infers the policy of real rulesets, and beside it lets
// "nft -o" merge the rules of the same input, loaded into a namespace: how many
// rules each has and how long it takes. nft-loads is 0 where the kernel refuses
// what nft made of it.
func BenchmarkOptimise(b *testing.B) {
	for _, x := range []struct{ name, file, chain string }{
		{"lisa07-figure1", "lisa07-figure1.iptables-save", "FORWARD"},
		{"university-2015-flat", "university-2015-flat.rules", "FORWARD"},
		{"company", "company.iptables-save", "FORWARD"},
	} {
		b.Run(x.name, func(b *testing.B) {
			var errs bytes.Buffer
			e := &env{out: io.Discard, err: &errs, now: time.Now}
			s, err := e.load(b.Context(), rulesFrom{chain: x.chain}, filepath.Join(os.Getenv("WEIR_DATA"), "rulesets", x.file))
			if err != nil {
				b.Fatal(err)
			}
			text, err := nfttext.Write(reachable(s.rules, s.chain), "t")
			if err != nil {
				b.Fatal(err)
			}
			file := filepath.Join(b.TempDir(), "in.nft")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
			before := 0
			for _, c := range reachable(s.rules, s.chain).Chains {
				before += len(c.Rules)
			}
			var weir, nft time.Duration
			for range b.N {
				start := time.Now()
				res, err := infer.Infer(judged(s), s.chain)
				if err != nil {
					b.Fatal(err)
				}
				weir += time.Since(start)
				ns, err := netns.New("optimise")
				if err != nil {
					b.Fatal(err)
				}
				start = time.Now()
				said, err := ns.Command("nft", "-o", "-f", file).CombinedOutput()
				nft += time.Since(start)
				loads := 1.0
				if err != nil {
					loads = 0
					b.Logf("nft -o: %v: %s", err, said[max(0, len(said)-300):])
				}
				list, err := ns.Command("nft", "-a", "list", "ruleset").Output()
				if err != nil {
					b.Fatal(err)
				}
				ns.Close()
				n := 0
				for _, l := range strings.Split(string(list), "\n") {
					if strings.Contains(l, "# handle") && !strings.Contains(l, "{ # handle") {
						n++
					}
				}
				b.ReportMetric(float64(before), "rules")
				b.ReportMetric(float64(len(res.Policy.Rules)), "weir-rules")
				b.ReportMetric(float64(res.Before), "complexity")
				b.ReportMetric(float64(res.After), "weir-complexity")
				b.ReportMetric(float64(n), "nft-rules")
				b.ReportMetric(loads, "nft-loads")
			}
			b.ReportMetric(weir.Seconds()/float64(b.N), "weir-s")
			b.ReportMetric(nft.Seconds()/float64(b.N), "nft-s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
