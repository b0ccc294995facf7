package nfttext_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/nft/netns"
	"weir/phases/flow"
	"weir/phases/policy/diagram"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/nftjson"
	"weir/phases/policy/rules/nfttext"
	"weir/phases/policy/rules/sample"
)

// same says whether two rulesets treat all packets alike, in both families;
// what a does not judge it accepts.
func same(t *testing.T, a, b rules.Ruleset) bool {
	t.Helper()
	fa, err1 := rules.Flatten(a, rules.Hooked(a)[0])
	fb, err2 := rules.Flatten(b, rules.Hooked(b)[0])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	s, f := diagram.NewSpace(fa, fb), diagram.NewForest(0)
	x, err1 := s.Build(f, fa, diagram.Outcomes, a.Families...)
	y, err2 := s.Build(f, fb, diagram.Outcomes, a.Families...)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return x == y
}

// TestRoundTrip writes made-up rulesets, reads them back, lets the kernel load
// them, and reads what nft lists: always the same set of packets.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 5))
		shape := sample.Shape{Rules: 5 + r.IntN(60), Chains: r.IntN(4), Tests: seed%2 == 0, Devices: seed%3 == 0, Hosts: 12}
		if seed%5 == 0 {
			shape.Families = []flow.Family{flow.IPv4}
		}
		rs := sample.Ruleset(r, shape)
		text, err := nfttext.Write(rs, "policy")
		if err != nil {
			t.Fatal(err)
		}
		back, err := nfttext.Read("out.nft", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !same(t, nfttext.Normal(rs), back) {
			t.Fatalf("seed %d: what was read back is another set\n%s", seed, text)
		}
		if seed%4 != 0 {
			continue
		}
		listed, err := nftjson.Read("listed", load(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if !same(t, nfttext.Normal(rs), nfttext.Normal(listed)) {
			t.Fatalf("seed %d: what nft lists is another set\n%s", seed, text)
		}
	}
}

// load lets a kernel of its own take the text, twice, and returns what nft
// lists.
func load(t *testing.T, text string) string {
	t.Helper()
	ns, err := netns.New("nfttext")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	file := filepath.Join(t.TempDir(), "out.nft")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if out, err := ns.Command("nft", "-f", file).CombinedOutput(); err != nil {
			t.Fatalf("nft -f: %v\n%s\n%s", err, out, text)
		}
	}
	out, err := ns.Command("nft", "-j", "list", "ruleset").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestQuestions: what iptables asks beyond the header, in nft's words, is the
// same question after the kernel has it.
func TestQuestions(t *testing.T) {
	rs := rules.Ruleset{Families: []flow.Family{flow.IPv4, flow.IPv6}, Chains: []*rules.Chain{{Name: "FORWARD", Hook: "forward", Default: rules.Drop}}}
	tcp := []rules.Services{{Ranges: []rules.ServiceRange{rules.Protocol(flow.TCP)}}}
	for i, q := range []string{"-m mac --mac-source 02:00:5E:10:00:07", "-m owner --uid-owner 1000", "-m mark --mark 0x1f", "-m pkttype --pkt-type multicast",
		"--tcp-flags FIN,SYN,RST,ACK SYN", "--tcp-flags SYN,ACK SYN,ACK", "-m addrtype --dst-type BROADCAST", "-m addrtype --src-type LOCAL"} {
		for _, not := range []bool{false, true} {
			rs.Chains[0].Rules = append(rs.Chains[0].Rules, rules.Rule{File: "fw", Line: i + 1, Action: rules.Accept,
				Match: rules.Match{Services: tcp, SrcPorts: []rules.Ports{{Ranges: []rules.PortRange{{Lo: uint16(i), Hi: uint16(i)}}}}, Tests: []rules.Test{{Text: q, Not: not}, {Text: "-m mark --mark 7"}}}})
		}
	}
	text, err := nfttext.Write(rs, "t")
	if err != nil {
		t.Fatal(err)
	}
	back, err := nfttext.Read("x", text)
	if err != nil || !same(t, nfttext.Normal(rs), back) {
		t.Errorf("read back as another set: %v\n%s", err, text)
	}
	listed, err := nftjson.Read("listed", load(t, text))
	if err != nil || !same(t, nfttext.Normal(rs), nfttext.Normal(listed)) {
		t.Errorf("nft lists another set: %v\n%s", err, text)
	}
}

func TestWhatNftHasNoWordsForIsRefused(t *testing.T) {
	rs := rules.Ruleset{Chains: []*rules.Chain{{Name: "FORWARD", Hook: "forward", Default: rules.Drop, Rules: []rules.Rule{
		{File: "fw", Line: 7, Action: rules.Accept, Match: rules.Match{Tests: []rules.Test{{Text: "-m limit --limit 1/sec", Own: true}}}}}}}}
	if _, err := nfttext.Write(rs, "p"); err == nil || !strings.Contains(err.Error(), "cannot write fw:7 for nft: nft has no words") {
		t.Errorf("%v", err)
	}
}

func TestNamesOfChains(t *testing.T) {
	rs := rules.Ruleset{Chains: []*rules.Chain{
		{Name: "FORWARD", Hook: "forward", Default: rules.Drop, Rules: []rules.Rule{{Line: 1, File: "a\"b", Action: rules.Jump, Target: "GOOD~STUFF"}, {Line: 2, Action: rules.Goto, Target: "accept"}}},
		{Name: "GOOD~STUFF", Rules: []rules.Rule{{Line: 3, Action: rules.Return}}},
		{Name: "GOOD_STUFF"}, {Name: "accept", Rules: []rules.Rule{{Line: 4, Action: rules.Accept}}}}}
	text, err := nfttext.Write(rs, "p")
	if err != nil {
		t.Fatal(err)
	}
	if back, err := nfttext.Read("x", text); err != nil || !same(t, rs, back) {
		t.Errorf("%v\n%s", err, text)
	}
	load(t, text)
}

func FuzzRead(f *testing.F) {
	text, err := nfttext.Write(sample.Ruleset(rand.New(rand.NewPCG(1, 1)), sample.Shape{Rules: 8, Chains: 1, Tests: true, Devices: true}), "t")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("table inet t {\n\tchain c {\n\t\ticmp type 3 icmp code { 4 } th sport != { 1-2 } accept\n\t}\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		rs, err := nfttext.Read("f", text)
		if err != nil {
			return
		}
		if _, err := nfttext.Write(rs, "t"); err != nil && !strings.Contains(err.Error(), "no words") {
			t.Error(err)
		}
	})
}
