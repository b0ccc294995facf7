//go:build data

package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/phases/policy/diagram"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/nftjson"
	"weir/phases/policy/rules/nfttext"
	"weir/phases/policy/rules/sample"
)

// realFiles returns the rulesets of the folder WEIR_DATA.
func realFiles(t *testing.T) (out []string) {
	for _, g := range []string{"rulesets/*.iptables-save", "rulesets/*.rules", "updates/iptables*.txt"} {
		f, err := filepath.Glob(filepath.Join(os.Getenv("WEIR_DATA"), g))
		if err != nil || len(f) == 0 {
			t.Fatalf("WEIR_DATA must name the folder of test data: no %s (%v)", g, err)
		}
		out = append(out, f...)
	}
	return out
}

// TestRealRulesets compares, for each hooked chain of each real ruleset, its
// diagram with the naive interpreter on 200,000 packets at its edges; then
// exports it, lets the kernel load that, and compares what nft lists.
func TestRealRulesets(t *testing.T) {
	meaning := map[rules.Action]uint32{rules.Accept: diagram.Accepted, rules.Drop: diagram.Dropped, rules.Reject: diagram.Rejected}
	loaded := 0
	for _, file := range realFiles(t) {
		for _, chain := range []string{"INPUT", "FORWARD", "OUTPUT"} {
			var errs bytes.Buffer
			e := &env{out: io.Discard, err: &errs}
			s, err := e.load(t.Context(), rulesFrom{chain: chain}, file)
			if err != nil {
				if !strings.Contains(err.Error(), "has no chain") {
					t.Error(err)
				}
				continue
			}
			flat, err := rules.Flatten(s.rules, s.chain)
			if err != nil {
				t.Error(err)
				continue
			}
			space, f := diagram.NewSpace(flat), diagram.NewForest(0)
			n, err := space.Build(f, flat, diagram.Outcomes, s.rules.Families...)
			if err != nil {
				t.Error(err)
				continue
			}
			packets := sample.NewPackets(rand.New(rand.NewPCG(1, 1)), reachable(s.rules, s.chain))
			count := 200000
			if len(flat) < 3 {
				count = 1000
			}
			if testing.Short() {
				count = 20000
			}
			for range count {
				p := packets.Next()
				v, err := rules.Decide(s.rules, s.chain, p)
				if err != nil {
					t.Fatal(err)
				}
				if got := f.At(n, space.Locate(p)); got != meaning[v.Action] {
					t.Fatalf("%s %s: %s: the diagram says %d, the interpreter %s by %s", file, chain, p, got, v.Action, v.Rule.Where())
				}
			}
			text, err := nfttext.Write(reachable(s.rules, s.chain), "t")
			if err != nil {
				if !strings.Contains(err.Error(), "nft has no words for") {
					t.Error(err)
				}
				continue
			}
			back, err := nftjson.Read("listed", listed(t, writeFile(t, "out.nft", text)))
			if err != nil {
				t.Error(err)
				continue
			}
			if same, err := identical(s.rules, s.chain, back, rules.Hooked(back)[0]); err != nil || !same {
				t.Errorf("%s %s: what the kernel holds is another set (%v)", file, chain, err)
			}
			var out bytes.Buffer
			e.out = &out
			if err := e.inferNft(s); err != nil {
				t.Errorf("%s %s: %v", file, chain, err)
				continue
			}
			back, err = nftjson.Read("listed", listed(t, writeFile(t, "policy.nft", out.String())))
			if err != nil {
				t.Error(err)
				continue
			}
			if same, err := identical(s.rules, s.chain, back, rules.Hooked(back)[0]); err != nil || !same {
				t.Errorf("%s %s: the policy that the kernel holds is another set (%v)", file, chain, err)
			}
			loaded++
		}
	}
	if loaded < 15 {
		t.Errorf("only %d chains were loaded", loaded)
	}
	t.Log(loaded, "chains exported, loaded and read back")
}

// TestRealRulesetsAsPlans exports real rulesets as plans; each is proven before
// it is printed.
func TestRealRulesetsAsPlans(t *testing.T) {
	for file, inside := range map[string]string{
		"rulesets/university-2015-flat.rules": "131.159.0.0/16", "updates/iptables.txt": "10.0.0.0/8",
		"rulesets/home.iptables-save": "192.168.0.0/16", "rulesets/company.iptables-save": "172.16.0.0/12",
	} {
		full := filepath.Join(os.Getenv("WEIR_DATA"), file)
		text, errs, code := runWeir(t, "policy", "infer", full, "-o", "yaml", "--inside", inside)
		if code == 4 && strings.Contains(errs, "lets nothing pass") {
			t.Logf("%s: %s", file, errs)
			continue
		}
		if code != 0 {
			t.Errorf("%s: %s", file, errs)
			continue
		}
		plan := writeFile(t, "plan.yaml", text)
		if out, errs, code := runWeir(t, "check", plan); code != 0 {
			t.Errorf("%s: %s%s", file, out, errs)
		}
		out, errs, code := runWeir(t, "policy", "compare", plan, full)
		if code != 0 && (code != 2 || strings.Contains(out, "Only "+plan)) {
			t.Errorf("%s: the plan allows more than the rules: %s%s", file, out, errs)
		}
		t.Logf("%s: %d lines of plan", file, strings.Count(text, "\n"))
	}
}

// TestUpdatesByCommand asks the command line about one update that is right and
// two that are wrong.
func TestUpdatesByCommand(t *testing.T) {
	at := func(name string) string { return filepath.Join(os.Getenv("WEIR_DATA"), "updates", name) }
	for name, want := range map[string]struct {
		code int
		has  []string
		not  string
	}{
		"iptables_correct_update.txt": {2, []string{"tcp FROM 10.13.3.7 OUT ext TO all BUT 54.230.203.0/24 FOR http"}, "TO 54.230.203.0/24 FOR"},
		"iptables_wrong_update_1.txt": {0, []string{"allow the same packets"}, "Only"},
		"iptables_wrong_update_2.txt": {2, []string{"tcp FROM 10.13.3.7 TO 54.230.203.0/24 FOR http", "OUT ext"}, "Only " + at("iptables_wrong_update_2.txt")},
	} {
		out, errs, code := runWeir(t, "policy", "compare", at("iptables.txt"), at(name))
		if code != want.code || strings.Contains(out, want.not) {
			t.Errorf("%s: exit %d\n%s%s", name, code, out, errs)
		}
		for _, h := range want.has {
			if !strings.Contains(out, h) {
				t.Errorf("%s: no %q in\n%s", name, h, out)
			}
		}
	}
}
