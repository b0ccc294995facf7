package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/nft/netns"
	"weir/phases/flow"
	"weir/phases/policy/infer"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/nftjson"
	"weir/phases/policy/rules/nfttext"
	"weir/phases/policy/rules/sample"
)

// runWeir runs a command line in this process.
func runWeir(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	x := &env{in: strings.NewReader(""), out: &o, err: &e, now: time.Now}
	root := newRoot(x)
	root.SetArgs(args)
	code = x.report(t.Context(), root.ExecuteContext(t.Context()))
	return o.String(), e.String(), code
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// listed lets a kernel of its own load a file, and returns what nft lists.
func listed(t *testing.T, file string) string {
	t.Helper()
	ns, err := netns.New("policy")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if out, err := ns.Command("nft", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("nft -f: %v\n%s", err, out)
	}
	out, err := ns.Command("nft", "-j", "list", "ruleset").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

const walked = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:users - [0:0]
-A FORWARD -s 10.20.0.0/16 -j users
-A users -s 10.20.9.0/24 -j RETURN
-A users -p tcp -m multiport --dports 80,443 -j ACCEPT
-A users -d 198.51.100.0/24 -p udp --dport 123 -j ACCEPT
-A users -s 10.20.1.25 -p tcp --dport 25 -j ACCEPT
-A users -p icmp --icmp-type echo-request -j ACCEPT
COMMIT
`

// TestWalkFromRulesToPlanAndBack goes from iptables to a plan, edits it, makes
// it a ruleset that the kernel loads, and reads that as a policy again.
func TestWalkFromRulesToPlanAndBack(t *testing.T) {
	fw := writeFile(t, "fw.save", walked)
	plan, errs, code := runWeir(t, "policy", "infer", fw, "-o", "yaml", "--inside", "10.20.0.0/16")
	if code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	file := writeFile(t, "plan.yaml", plan)
	if out, errs, code := runWeir(t, "check", file); code != 0 {
		t.Fatalf("%s%s\n%s", out, errs, plan)
	}
	if out, errs, code := runWeir(t, "policy", "compare", fw, file); code != 0 {
		t.Fatalf("the plan is another policy: %s%s\n%s", out, errs, plan)
	}
	edited := strings.Replace(plan, "tcp/25]", "tcp/587]", 1)
	if edited == plan {
		t.Fatalf("nothing to edit:\n%s", plan)
	}
	file = writeFile(t, "edited.yaml", edited)
	out, errs, code := runWeir(t, "policy", "compare", fw, file)
	if code != 2 || !strings.Contains(out, "tcp FROM 10.20.1.25 ") || !strings.Contains(out, "FOR smtp") || !strings.Contains(out, "FOR submission") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	text, errs, code := runWeir(t, "policy", "infer", file, "-o", "nft")
	if code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	loaded := writeFile(t, "loaded.json", listed(t, writeFile(t, "plan.nft", text)))
	if out, errs, code := runWeir(t, "policy", "compare", loaded, file); code != 0 {
		t.Errorf("what the kernel holds is not what the plan says: %s%s", out, errs)
	}
	out, errs, code = runWeir(t, "policy", "infer", loaded)
	if code != 0 || !strings.Contains(out, "FOR submission") || strings.Contains(out, "FOR smtp") {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// TestPlanOfOneWayOut: rules that name the interface outside are in a plan that
// names it too.
func TestPlanOfOneWayOut(t *testing.T) {
	fw := writeFile(t, "fw.save", `*filter
:FORWARD DROP [0:0]
-A FORWARD -s 10.0.0.0/8 -o ext -p tcp --dport 80 -j ACCEPT
-A FORWARD -s 10.1.0.0/16 -o dmz+ -p tcp --dport 22 -j ACCEPT
-A FORWARD -s 10.0.0.0/8 -p udp --dport 53 -j ACCEPT
COMMIT`)
	plan, errs, code := runWeir(t, "infer", fw, "-o", "yaml", "--inside", "10.0.0.0/8")
	if code != 0 || !strings.Contains(errs, "not in the plan: tcp FROM 10.0.0.0/8 OUT ext") || strings.Contains(plan, "services: [tcp/80]") {
		t.Errorf("%d %s\n%s", code, errs, plan)
	}
	plan, errs, code = runWeir(t, "infer", fw, "-o", "yaml", "--inside", "10.0.0.0/8", "--outside-iface", "ext")
	if code != 0 || errs != "" || !strings.Contains(plan, "services: [tcp/80]") || strings.Contains(plan, "tcp/22") {
		t.Fatalf("%d %s\n%s", code, errs, plan)
	}
	file := writeFile(t, "plan.yaml", plan)
	if out, errs, code := runWeir(t, "compare", fw, file); code != 0 {
		t.Errorf("%s%s\n%s", out, errs, plan)
	}
	if out, errs, code := runWeir(t, "check", file); code != 0 {
		t.Errorf("%s%s\n%s", out, errs, plan)
	}
}

// TestExportsAreTheSameSet exports made-up rulesets and reads what the kernel
// holds after loading them.
func TestExportsAreTheSameSet(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 9))
		shape := sample.Shape{Rules: 10 + r.IntN(40), Chains: r.IntN(3), Devices: seed%3 == 0, Tests: seed%4 == 0, Hosts: 10}
		if seed%2 == 0 {
			shape.Families = []flow.Family{flow.IPv4}
		}
		rs := sample.Ruleset(r, shape)
		var out bytes.Buffer
		e := &env{out: &out, err: io.Discard}
		if err := e.inferNft(source{name: "made", rules: rs, chain: "FORWARD"}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		back, err := nftjson.Read("listed", listed(t, writeFile(t, "out.nft", out.String())))
		if err != nil {
			t.Fatal(err)
		}
		same, err := identical(rs, "FORWARD", back, rules.Hooked(back)[0])
		if err != nil || !same {
			t.Fatalf("seed %d: the kernel holds another set (%v)\n%s", seed, err, out.String())
		}
	}
}

// TestPlansAreTheSameSet exports made-up rulesets as plans; each was proven
// before it was printed, and must be a plan without mistakes.
func TestPlansAreTheSameSet(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 11))
		rs := sample.Ruleset(r, sample.Shape{Rules: 10 + r.IntN(40), Chains: r.IntN(3), Tests: seed%4 == 0, Hosts: 10})
		var out, errs bytes.Buffer
		e := &env{out: &out, err: &errs}
		err := e.inferPlan(source{name: "made", rules: rs, chain: "FORWARD"}, planOptions{inside: []string{"10.0.0.0/14", "fd20::/111"}, name: "made", owner: "me@example.net"})
		if err != nil && strings.Contains(err.Error(), "nothing pass") {
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if o, x, code := runWeir(t, "check", writeFile(t, "plan.yaml", out.String())); code != 0 {
			t.Fatalf("seed %d: %s%s\n%s", seed, o, x, out.String())
		}
	}
}

// TestMutationsAreFound drops, changes and swaps rules: compare says so with a
// packet on which the naive interpreter disagrees as well, or no packet of many
// tells the two apart.
func TestMutationsAreFound(t *testing.T) {
	found := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 13))
		rs := sample.Ruleset(r, sample.Shape{Rules: 30, Devices: seed%3 == 0, Tests: seed%5 == 0, Hosts: 10})
		c := *rs.Chains[0]
		c.Rules = append([]rules.Rule(nil), c.Rules...)
		i := r.IntN(len(c.Rules) - 1)
		switch seed % 3 {
		case 0:
			c.Rules = append(c.Rules[:i:i], c.Rules[i+1:]...)
		case 1:
			c.Rules[i], c.Rules[i+1] = c.Rules[i+1], c.Rules[i]
		default:
			c.Rules[i].Action = map[bool]rules.Action{true: rules.Drop, false: rules.Accept}[c.Rules[i].Action == rules.Accept]
		}
		mutant := rules.Ruleset{Families: rs.Families, Chains: append([]*rules.Chain{&c}, rs.Chains[1:]...)}
		decide := func(p rules.Packet) (a, b bool) {
			x, err1 := rules.Decide(rs, "FORWARD", p)
			y, err2 := rules.Decide(mutant, "FORWARD", p)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			return x.Action == rules.Accept, y.Action == rules.Accept
		}
		d, err := infer.Compare(rs, mutant, "FORWARD", "FORWARD")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range d.OnlyA {
			if a, b := decide(p.Example); !a || b {
				t.Errorf("seed %d: %s is said to be allowed by the first alone", seed, p.Example)
			}
		}
		for _, p := range d.OnlyB {
			if a, b := decide(p.Example); a || !b {
				t.Errorf("seed %d: %s is said to be allowed by the second alone", seed, p.Example)
			}
		}
		if !d.Equal() {
			found++
			continue
		}
		packets := sample.NewPackets(r, rs)
		for range 5000 {
			p := packets.Next()
			if a, b := decide(p); a != b {
				t.Fatalf("seed %d: compare finds nothing, but %s", seed, p)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d of 60 mutations made a difference: the test looks at nothing", found)
	}
}

// TestReadersAgreeOnPackets: what nftjson reads of an exported ruleset decides
// packets as the original does, one by one.
func TestReadersAgreeOnPackets(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 17))
		rs := sample.Ruleset(r, sample.Shape{Rules: 40, Chains: 2, Devices: true, Hosts: 10})
		text, err := nfttext.Write(rs, "t")
		if err != nil {
			t.Fatal(err)
		}
		back, err := nftjson.Read("listed", listed(t, writeFile(t, "out.nft", text)))
		if err != nil {
			t.Fatal(err)
		}
		packets := sample.NewPackets(r, rs)
		for range 50000 {
			p := packets.Next()
			a, err1 := rules.Decide(rs, "FORWARD", p)
			b, err2 := rules.Decide(back, "FORWARD", p)
			if err1 != nil || err2 != nil || a.Action != b.Action {
				t.Fatalf("seed %d: %s: %s, but nft's list says %s (%v %v), %+v; %+v", seed, p, a.Action, b.Action, err1, err2, a.Rule, b.Rule)
			}
		}
	}
}
