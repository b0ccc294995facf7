package compile_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir/nft"
	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/policy"
)

// TestShapeOfRevisions: what the kernel, the marker map and other programs take
// for granted of every revision.
func TestShapeOfRevisions(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := drawInput(r, compile.Open, compile.Alert, compile.Drop, compile.Reject, compile.Honeypot)
		rev, err := compile.Compile(in)
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, s := range append(rev.Skeleton.Sets, rev.Ruleset.Sets...) {
			if names[s.Name] {
				r.Fatalf("set %s twice", s.Name)
			}
			names[s.Name] = true
		}
		for _, s := range rev.Ruleset.Sets {
			own := strings.HasPrefix(s.Name, rev.ID+"_")
			if !own && (len(s.Name) > 15 || strings.HasPrefix(s.Name, "w_") || strings.HasPrefix(s.Name, "r")) {
				r.Fatalf("content set %q: the marker map takes 15 characters, and w_ and r are taken", s.Name)
			}
			if s.Counter && len(s.Elements) > 4096 || s.Interval && len(s.Key) > 1 && len(s.Elements) > 1000 || len(s.Elements) == 0 {
				r.Fatalf("set %s has %d elements", s.Name, len(s.Elements))
			}
			checkDisjoint(r, s)
		}
		counters, chains := map[string]bool{}, map[string]bool{}
		for _, c := range rev.Skeleton.Counters {
			counters[c] = true
		}
		for _, c := range append(rev.Skeleton.Chains, rev.Ruleset.Chains...) {
			if chains[c.Name] {
				r.Fatalf("chain %s twice", c.Name)
			}
			chains[c.Name] = true
			if strings.Contains(c.Name, "r000000000000") {
				r.Fatalf("chain %s was not renamed", c.Name)
			}
		}
		for _, c := range append(rev.Skeleton.Chains, rev.Ruleset.Chains...) {
			for _, rule := range c.Rules {
				checkRefs(r, rule, names, chains, counters)
			}
		}
		for _, s := range append(rev.Skeleton.Sets, rev.Ruleset.Sets...) {
			for _, e := range s.Elements {
				if e.Verdict != nil && e.Verdict.Chain != "" && !chains[e.Verdict.Chain] {
					r.Fatalf("map %s leads to %s, which does not exist", s.Name, e.Verdict.Chain)
				}
			}
		}
		for h, c := range rev.Entry {
			if c != rev.ID+"_"+h || !chains[c] || !names[nft.TrialMap(h)] || !names[nft.StableMap(h)] {
				r.Fatalf("entry %s: %s", h, c)
			}
		}
	})
}

func checkRefs(r *rapid.T, rule nft.Rule, sets, chains, counters map[string]bool) {
	for _, s := range rule.Stmts {
		ok := true
		switch s := s.(type) {
		case nft.Match:
			ok = s.Set == "" || sets[s.Set]
		case nft.Vmap:
			ok = sets[s.Map]
		case nft.SetOp:
			ok = sets[s.Set]
		case nft.Count:
			ok = s.Name == "" || counters[s.Name]
		case nft.Verdict:
			ok = s.Chain == "" || chains[s.Chain]
		case nft.Log:
			ok = len(s.Prefix) <= 127
		}
		if !ok {
			r.Fatalf("rule %q refers to what does not exist", rule)
		}
	}
}

// checkDisjoint compares all pairs: the kernel takes no overlap.
func checkDisjoint(r *rapid.T, s nft.Set) {
	end := func(e nft.Element) []byte {
		if e.KeyEnd == nil {
			return e.Key
		}
		return e.KeyEnd
	}
	for i, a := range s.Elements {
		for _, b := range s.Elements[:i] {
			overlap := true
			at := 0
			for _, k := range s.Key {
				w := k.Width()
				lo1, hi1, lo2, hi2 := a.Key[at:at+w], end(a)[at:at+w], b.Key[at:at+w], end(b)[at:at+w]
				overlap = overlap && bytes.Compare(lo1, hi2) <= 0 && bytes.Compare(lo2, hi1) <= 0
				at += (w + 3) &^ 3
			}
			if overlap {
				r.Fatalf("set %s: %x-%x and %x-%x overlap", s.Name, a.Key, end(a), b.Key, end(b))
			}
		}
	}
}

// TestOrderDoesNotMatter: lists in another order give the same revision, and
// the text is the same byte for byte.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := drawInput(r, compile.Open, compile.Alert, compile.Drop, compile.Reject, compile.Honeypot)
		a, err := compile.Compile(in)
		if err != nil {
			return
		}
		mixed := in
		mixed.Groups = rapid.Permutation(in.Groups).Draw(r, "groups")
		mixed.Policy.Rules = rapid.Permutation(in.Policy.Rules).Draw(r, "rules")
		mixed.Lifelines = rapid.Permutation(in.Lifelines).Draw(r, "lifelines")
		mixed.Never = rapid.Permutation(in.Never).Draw(r, "nevers")
		mixed.Scope.Inside = rapid.Permutation(in.Scope.Inside).Draw(r, "inside")
		for i := range mixed.Policy.Rules {
			mixed.Policy.Rules[i].To = rapid.Permutation(mixed.Policy.Rules[i].To).Draw(r, "to")
			mixed.Policy.Rules[i].Services = rapid.Permutation(mixed.Policy.Rules[i].Services).Draw(r, "services")
		}
		b := mustCompile(t, mixed)
		if a.ID != b.ID || a.Ruleset.String() != b.Ruleset.String() || a.Skeleton.String() != b.Skeleton.String() || !reflect.DeepEqual(a.Entry, b.Entry) {
			r.Fatalf("two orders, two revisions: %s %s\n%s\n%s", a.ID, b.ID, a.Ruleset, b.Ruleset)
		}
	})
}

// TestIDSaysEverything: a change of anything that a packet could meet changes
// the ID.
func TestIDSaysEverything(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(*compile.Input){
		"nothing":     func(*compile.Input) {},
		"off":         func(in *compile.Input) { in.Off = true },
		"a treatment": func(in *compile.Input) { in.Groups[1].Treatment = compile.Reject },
		"a share":     func(in *compile.Input) { in.Groups[0].Share = 6 },
		"a seed":      func(in *compile.Input) { in.Groups[0].Seed++ },
		"a member":    func(in *compile.Input) { in.Groups[0].Members = in.Groups[0].Members[1:] },
		"a MAC":       func(in *compile.Input) { in.Groups[4].MACs[0] = "02:00:5e:10:00:08" },
		"a rule":      func(in *compile.Input) { in.Policy.Rules = in.Policy.Rules[1:] },
		"a port":      func(in *compile.Input) { in.Policy.Rules[4].Services = services("tcp/26") },
		"a lifeline":  func(in *compile.Input) { in.Lifelines = in.Lifelines[1:] },
		"a never":     func(in *compile.Input) { in.Never = in.Never[1:] },
		"inside":      func(in *compile.Input) { in.Scope.Inside = in.Scope.Inside[1:] },
		"inbound":     func(in *compile.Input) { in.Scope.Inbound = "observe" },
		"a log group": func(in *compile.Input) { in.LogGroup = 7 },
		"a honeypot":  func(in *compile.Input) { in.HoneypotPort = 7 },
		"another group": func(in *compile.Input) {
			in.Groups = append(in.Groups, compile.Group{Name: "more", Treatment: compile.Open})
		},
	} {
		in := office()
		change(&in)
		id := mustCompile(t, in).ID
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s have the same ID", name, other)
		}
		seen[id] = name
	}
}

// TestNeverARulePerFlow: ten times the flows, the same rules.
func TestNeverARulePerFlow(t *testing.T) {
	rules := func(n int) int {
		in := compile.Input{Scope: compile.Scope{Hooks: []string{"forward"}, Inside: prefixes("10.0.0.0/8", "fd00::/8")},
			Groups: []compile.Group{{Name: "g", Members: prefixes("10.0.0.0/8"), Treatment: compile.Reject}}}
		for i := range n {
			a := netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})
			in.Policy.Rules = append(in.Policy.Rules, policy.Rule{Group: "g", To: []netip.Prefix{netip.PrefixFrom(a, 32)},
				Services: []flow.Service{flow.Single(flow.TCP, uint16(i%7)), flow.All(flow.ESP), flow.Single(flow.ICMP, 8)}})
		}
		rev := mustCompile(t, in)
		sum := 0
		for _, c := range rev.Ruleset.Chains {
			sum += len(c.Rules)
		}
		return sum
	}
	if a, b := rules(100), rules(20000); a != b {
		t.Errorf("100 flows need %d rules, 20,000 need %d", a, b)
	}
}

// TestRangesMakeFewSets: 1,000 prefixes × ranges of one group stay within the
// size that the kernel reads fast, also where they overlap.
func TestRangesMakeFewSets(t *testing.T) {
	in := compile.Input{Scope: compile.Scope{Hooks: []string{"forward"}, Inside: prefixes("10.0.0.0/8")},
		Groups: []compile.Group{{Name: "g", Members: prefixes("10.0.0.0/8"), Treatment: compile.Reject}}}
	for i := range 2500 {
		a := netip.AddrFrom4([4]byte{198, byte(i >> 8), byte(i), 0})
		in.Policy.Rules = append(in.Policy.Rules, policy.Rule{Group: "g", To: []netip.Prefix{netip.PrefixFrom(a, 24)}, Services: services("tcp/1000-2000")})
	}
	in.Policy.Rules = append(in.Policy.Rules,
		policy.Rule{Group: "g", To: prefixes("198.0.0.0/8"), Services: services("tcp/1500-3000")}, // overlaps all of them
		policy.Rule{Group: "g", To: prefixes("198.0.7.0/25"), Services: services("tcp/1100")})     // is contained
	rev := mustCompile(t, in)
	var sizes []int
	for _, s := range rev.Ruleset.Sets {
		if s.Interval && len(s.Key) > 1 {
			sizes = append(sizes, len(s.Elements))
		}
	}
	total := 0
	for _, n := range sizes {
		total += n
		if n > 1000 {
			t.Errorf("a set of %d ranges", n)
		}
	}
	if total != 2501 || len(sizes) > 4 {
		t.Errorf("%d ranges in %v, want 2501 in 4 sets", total, sizes)
	}
}

// TestCaptureAndLogsRememberOnce: a second packet of a tuple is not logged
// again, in no class of tuple, and alert does not silence block.
func TestCaptureAndLogsRememberOnce(t *testing.T) {
	in := office()
	rev := mustCompile(t, in)
	m := eval.NewMachine(rev.Skeleton, rev.Ruleset)
	m.Remember = true
	if err := m.Stable(rev); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"10.20.1.25 198.51.100.9 tcp 99", "10.20.1.26 198.51.100.9 tcp 99", "10.20.1.26 198.51.100.9 ip/99 0",
		"10.20.1.26 198.51.100.10 icmp 8", "10.20.1.26 198.51.100.9 icmpv6 1",
		"fd20:0:0:1::26 2001:db8::1 udp 5", "fd20:0:0:1::26 2001:db8::1 icmpv6 128", "fd20:0:0:1::26 2001:db8::1 icmp 8"} {
		var src, dst, proto string
		var port uint16
		fmt.Sscan(f, &src, &dst, &proto, &port)
		pr, _ := flow.ParseProto(proto)
		p := eval.NewPacket("f", flow.Flow{Client: netip.MustParseAddr(src), Server: netip.MustParseAddr(dst), Proto: pr, Port: port})
		p.Out = "wan0"
		p.TCPFlags = 2
		for i, want := range []int{2, 0, 0} {
			got, err := m.Eval(p)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Logs) != want || strings.Contains(strings.Join(got.Counters, " "), "w_misses") {
				t.Errorf("%s: packet %d: %d log lines, want %d; %v, counters %v", f, i+1, len(got.Logs), want, got.Logs, got.Counters)
			}
		}
	}
}

// TestErrors: what cannot be compiled says so.
func TestErrors(t *testing.T) {
	for want, change := range map[string]func(*compile.Input){
		"scope without hooks":                func(in *compile.Input) { in.Scope.Hooks = nil },
		`hook "input"`:                       func(in *compile.Input) { in.Scope.Hooks = []string{"input"} },
		`inbound "maybe"`:                    func(in *compile.Input) { in.Scope.Inbound = "maybe" },
		"group servers twice":                func(in *compile.Input) { in.Groups[0].Name = "servers" },
		`unknown treatment "block"`:          func(in *compile.Input) { in.Groups[0].Treatment = "block" },
		"both have 10.20.1.25":               func(in *compile.Input) { in.Groups[0].Members = prefixes("10.20.1.25") },
		"both have 02:00:5e:10:00:07":        func(in *compile.Input) { in.Groups[0].MACs = []string{"02:00:5e:10:00:07"} },
		`MAC address "02"`:                   func(in *compile.Input) { in.Groups[0].MACs = []string{"02"} },
		"both have interface guest0":         func(in *compile.Input) { in.Groups[0].Ifaces = []string{"guest0"} },
		"both have user 33":                  func(in *compile.Input) { in.Groups[0].Self, in.Groups[0].UIDs = true, []uint32{33} },
		"this machine's own output":          func(in *compile.Input) { in.Groups[0].Self, in.Groups[6].UIDs = true, nil },
		"a share of 101%":                    func(in *compile.Input) { in.Groups[0].Share = 101 },
		`share by "luck"`:                    func(in *compile.Input) { in.Groups[0].ShareBy = "luck" },
		`there is no group "nobody"`:         func(in *compile.Input) { in.Policy.Rules[0].Group = "nobody" },
		"without services":                   func(in *compile.Input) { in.Policy.Rules[0].Services = nil },
		"rule of group mail: a prefix":       func(in *compile.Input) { in.Policy.Rules[4].To = []netip.Prefix{{}} },
		"lifeline resolvers: a prefix":       func(in *compile.Input) { in.Lifelines[0].To = []netip.Prefix{{}} },
		"lifeline resolvers: a service":      func(in *compile.Input) { in.Lifelines[0].Services = []flow.Service{{}} },
		"never no-rdp: a prefix":             func(in *compile.Input) { in.Never[0].From = []netip.Prefix{{}} },
		"group mail: a prefix":               func(in *compile.Input) { in.Groups[2].Members = []netip.Prefix{{}} },
		"the scope: a prefix":                func(in *compile.Input) { in.Scope.Outside = []netip.Prefix{{}} },
		"interface name":                     func(in *compile.Input) { in.Scope.InsideIfaces = []string{"sixteen-letters!"} },
		"a range that runs backwards":        func(in *compile.Input) { in.Policy.Rules[0].Services = []flow.Service{{Proto: 6, Lo: 9, Hi: 1}} },
		`deny "alert"`:                       func(in *compile.Input) { in.Never[0].Deny = compile.Alert },
		`never no-rdp: there is no group "x`: func(in *compile.Input) { in.Never[0].Group = "x" },
	} {
		in := office()
		change(&in)
		if _, err := compile.Compile(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
