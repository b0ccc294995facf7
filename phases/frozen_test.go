package phases

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"weir/nft"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/policy"
)

// real makes the machine of a script compile for real.
func (s *script) real() *script {
	s.m.Compile = compile.Compile
	return s
}

// TestFrozenStepReadsBackAsItWas: rulesets by the real compiler, through the
// file, are what was compiled, and their ids are still their digests.
func TestFrozenStepReadsBackAsItWas(t *testing.T) {
	s := newScript(t).real()
	s.run("apply:p drill to:enforce/alert req")
	digest := s.m.State().Request.Digest
	f, err := s.m.Frozen(digest)
	if err != nil {
		t.Fatal(err)
	}
	again, err := compile.Compile(f.Input)
	if err != nil {
		t.Fatal(err)
	}
	if f.Rules.ID != again.ID || f.Rules.Ruleset.String() != again.Ruleset.String() || f.Rules.Skeleton.String() != again.Skeleton.String() {
		t.Error("the ruleset in the file is not what the input compiles to")
	}
	if f.Digest() != digest || f.Revision != f.Rules.ID || f.OffID != f.OffRev.ID || f.OffID == f.Revision {
		t.Error(f.Digest(), f.Revision, f.Rules.ID, f.OffID)
	}
	for _, part := range []string{"input", "revision", "off", "policy", "lifelines"} {
		if !strings.HasPrefix(f.Hashes[part], "sha256:") {
			t.Errorf("no hash of %s", part)
		}
	}
	if !strings.Contains(f.Rules.Ruleset.String(), "rawr") && !strings.Contains(f.Rules.Ruleset.String(), f.Rules.ID+"_g_cameras") {
		t.Error("no chain of the group cameras")
	}
}

// TestFrozenStepCannotBeChanged: any byte of the file, anywhere.
func TestFrozenStepCannotBeChanged(t *testing.T) {
	s := newScript(t).real()
	s.run("apply:p req ok:anna")
	digest := s.m.State().Request.Digest
	data := s.w.frozen[digest]
	for i := 0; i < len(data); i += 1 + len(data)/500 {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if _, err := DecodeFrozen(digest, bad); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d of %d changed: %v", i, len(data), err)
		}
	}
	for _, bad := range [][]byte{nil, data[:len(data)/2], append(bytes.Clone(data), '\n'), bytes.Join([][]byte{data, data}, nil)} {
		if _, err := DecodeFrozen(digest, bad); !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	}
	s.w.frozen[digest] = bytes.Replace(data, []byte("accept"), []byte("drop\x20\x20"), 1)
	writes := s.w.writes
	if err := s.do("arm"); !errors.Is(err, ErrCorrupt) {
		t.Fatal("armed a changed file:", err)
	}
	if s.w.writes != writes {
		t.Fatal("wrote to the kernel")
	}
}

// TestArmingComputesNothing: with a compiler that is gone, a frozen step is
// still armed.
func TestArmingComputesNothing(t *testing.T) {
	s := newScript(t).real()
	s.run("apply:p req ok:anna")
	s.m.Compile = func(compile.Input) (nft.Revision, error) { return nft.Revision{}, errors.New("computed again") }
	s.run("arm yes")
	if got := s.end(); got != "monitor" {
		t.Fatal(got)
	}
}

// TestStepsWithTheRealCompiler walks all steps and all ways back.
func TestStepsWithTheRealCompiler(t *testing.T) {
	for _, row := range []struct{ script, end string }{
		{"apply:p drill to:watch", "watch"},
		{"apply:p drill to:watch back:enforce/alert resume to:enforce/block:desks", "enforce/block:desks"},
		{"apply:widedesks drill to:refactor/swap:desks back", "enforce/block:core back desks paused"},
		{"apply:p drill to:enforce/block:desks apply:never req ok:ben arm yes to:enforce/block:core", "enforce/block:core"},
	} {
		s := newScript(t).real()
		s.run(row.script)
		if got := s.end(); got != row.end {
			t.Errorf("%s ends in %q, want %q", row.script, got, row.end)
		}
	}
}

// TestWaysBackAreWrittenBeforeArming: both files of each way back are there
// when the request returns, each names its target's revision, and the default
// is the step before.
func TestWaysBackAreWrittenBeforeArming(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/block:pilot req")
	h := s.m.State().Heads[s.m.State().Request.Digest]
	var names []string
	for _, b := range h.Backouts {
		names = append(names, b.To)
		if s.w.out[h.Revision+"/"+b.To] == "" {
			t.Errorf("no file for %s", b.To)
		}
		if b.To != StepOff && s.m.State().Heads[b.Digest].Revision != b.Nft.ID {
			t.Errorf("%s goes to %s", b.To, b.Nft.ID)
		}
	}
	if got := fmt.Sprint(names); got != "[enforce/block:pilot enforce/block:cameras enforce/alert monitor off]" {
		t.Error(got)
	}
	if d := s.w.out[h.Revision+"/default"]; d == "" || d != s.w.out[h.Revision+"/enforce/block:pilot"] {
		t.Error("default:", d)
	}
	// A disk that is full stops the request, and nothing is frozen.
	s.w.cut = cutter{at: 4}
	if err := s.do("req"); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
}

// TestCarry: who keeps his place when a plan is registered anew.
func TestCarry(t *testing.T) {
	base := planNamed("carry", nil)
	_ = base
	for _, row := range []struct {
		name string
		edit func(*planT)
		want string // of cameras (drop), desks (reject 5%), servers (alert)
	}{
		{"nothing", func(*planT) {}, "drop, reject 5%, alert"},
		{"one more declared", func(p *planT) { p.Declared = append(p.Declared, declared("desks", "tcp/1")) }, "drop, reject 5%, alert"},
		{"one more group, carved out", func(p *planT) {
			p.Groups = append(p.Groups, groupT{Name: "lab", Members: prefixes("10.2.9.0/24"), Families: []flow.Family{flow.IPv4}})
		}, "drop, reject 5%, alert"},
		{"other members", func(p *planT) { p.Groups[0].Members = prefixes("10.1.0.0/16", "10.9.0.0/16") }, "alert, reject 5%, alert"},
		{"a group gone, its endpoints fall elsewhere", func(p *planT) {
			p.Groups[1].Members = prefixes("10.0.0.0/9")
		}, "drop, alert, alert"},
		{"declared no longer", func(p *planT) { p.Declared = p.Declared[1:] }, "alert, alert, alert"},
		{"never", func(p *planT) { p.Never = append(p.Never, neverFrom("desks", "tcp/23")) }, "drop, alert, alert"},
		{"never for all", func(p *planT) {
			n := neverFrom("desks", "tcp/23")
			n.From = targetT{Any: true}
			p.Never = append(p.Never, n)
		}, "alert, alert, alert"},
		{"a never less", func(p *planT) { p.Never = nil }, "drop, reject 5%, alert"},
		{"scope", func(p *planT) { p.Scope.Inside = prefixes("10.0.0.0/9") }, "alert, alert, alert"},
		{"only declared", func(p *planT) { p.Groups[1].Allow = "declared" }, "drop, alert, alert"},
		{"finer rules", func(p *planT) { p.Groups[1].RulesBy = []string{"group", "destination", "service"} }, "drop, alert, alert"},
		{"coarser rules", func(p *planT) { p.Groups[1].RulesBy = []string{"group"} }, "drop, reject 5%, alert"},
		{"a smaller pilot", func(p *planT) { p.Enforce.Waves[1].Share = 3 }, "drop, reject 3%, alert"},
		{"a larger pilot", func(p *planT) { p.Enforce.Waves[1].Share = 10 }, "drop, alert, alert"},
		{"another way to deny", func(p *planT) { p.Enforce.Waves[0].Deny = "reject" }, "reject, reject 5%, alert"},
		{"a wave less", func(p *planT) { p.Enforce.Waves = p.Enforce.Waves[1:] }, "alert, reject 5%, alert"},
		{"a lifeline less", func(p *planT) { p.Lifelines = nil }, "alert, alert, alert"},
		{"another owner", func(p *planT) { p.Groups[0].Owner = "x" }, "drop, reject 5%, alert"},
	} {
		t.Run(row.name, func(t *testing.T) {
			old := planNamed("carry", func(p *planT) {
				p.Declared = []declaredT{declared("cameras", "tcp/8883"), declared("desks", "tcp/22")}
				p.Declared[0].From = targetT{Inside: true}
				p.Never = []neverT{neverFrom("desks", "tcp/25")}
				p.Lifelines = []lifelineT{{Name: "dns", From: targetT{Inside: true}, To: targetT{Prefixes: prefixes("192.0.2.53/32")}, Services: services("udp/53")}}
			})
			now, _ := find(Expand(old), "enforce/block:pilot")
			plan := old
			plan.Groups, plan.Declared, plan.Never = append([]groupT(nil), old.Groups...), append([]declaredT(nil), old.Declared...), append([]neverT(nil), old.Never...)
			plan.Enforce.Waves = append([]waveT(nil), old.Enforce.Waves...)
			row.edit(&plan)
			var got []string
			for _, g := range []string{"cameras", "desks", "servers"} {
				for _, c := range Carry(old, plan, now.Targets, nil) {
					if c.Group == g {
						got = append(got, strings.TrimPrefix(c.String(), g+" "))
					}
				}
			}
			if s := strings.Join(got, ", "); s != row.want {
				t.Errorf("got %s, want %s", s, row.want)
			}
		})
	}
}

// TestNarrower: what a way back would deny that passes now.
func TestNarrower(t *testing.T) {
	base := func() compile.Input {
		in, err := input(testPlans["p"], mustStep("enforce/block:pilot"), nil, Material{Policy: policy.Policy{Rules: []policy.Rule{
			{Group: "cameras", Services: services("tcp/443")}, {Group: "desks", Services: services("tcp/443"), To: prefixes("192.0.2.0/24")}}}})
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	for _, row := range []struct {
		name string
		edit func(from, to *compile.Input)
		want string
	}{
		{"the same", func(from, to *compile.Input) {}, "[]"},
		{"less treatment", func(from, to *compile.Input) { to.Groups[0].Treatment = compile.Alert }, "[]"},
		{"more treatment", func(from, to *compile.Input) { from.Groups[0].Treatment = compile.Alert }, "[cameras]"},
		{"a larger share", func(from, to *compile.Input) { to.Groups[1].Share = 0 }, "[desks]"},
		{"a smaller share", func(from, to *compile.Input) { from.Groups[1].Share = 50 }, "[]"},
		{"another share", func(from, to *compile.Input) { to.Groups[1].Seed++ }, "[desks]"},
		{"a rule less", func(from, to *compile.Input) { to.Policy.Rules = to.Policy.Rules[:1] }, "[desks]"},
		{"a rule more", func(from, to *compile.Input) { from.Policy.Rules = from.Policy.Rules[:1] }, "[]"},
		{"the same in other words", func(from, to *compile.Input) {
			to.Policy.Rules = []policy.Rule{to.Policy.Rules[0],
				{Group: "desks", Services: services("tcp/443"), To: prefixes("192.0.2.0/25")}, {Group: "desks", Services: services("tcp/443"), To: prefixes("192.0.2.128/25")}}
		}, "[]"},
		{"nearly the same", func(from, to *compile.Input) {
			to.Policy.Rules = []policy.Rule{to.Policy.Rules[0],
				{Group: "desks", Services: services("tcp/443"), To: prefixes("192.0.2.0/25")}, {Group: "desks", Services: services("tcp/443"), To: prefixes("192.0.2.192/26")}}
		}, "[desks]"},
		{"another never", func(from, to *compile.Input) { to.Never = []compile.Never{{Services: services("tcp/23")}} }, "[cameras desks]"},
		{"another never of one group", func(from, to *compile.Input) {
			to.Never = []compile.Never{{Group: "desks", Services: services("tcp/23")}}
		}, "[desks]"},
		{"a lifeline less", func(from, to *compile.Input) { from.Lifelines = []compile.Lifeline{{Services: services("udp/53")}} }, "[cameras desks]"},
		{"other members", func(from, to *compile.Input) { to.Groups[2].Members = prefixes("10.3.0.0/17") }, "[cameras desks]"},
		{"off", func(from, to *compile.Input) { to.Off, from.Groups[0].Treatment = true, compile.Open }, "[]"},
	} {
		from, to := base(), base()
		row.edit(&from, &to)
		if got := fmt.Sprint(Narrower(from, to)); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

// TestTargetsThatNameNobody: an empty list means any, so it is never the result
// of a name without addresses.
func TestTargetsThatNameNobody(t *testing.T) {
	for name, edit := range map[string]func(*planT){
		"lifeline": func(p *planT) {
			p.Lifelines = []lifelineT{{Name: "ssh", From: targetT{Any: true}, To: targetT{Self: true}}}
		},
		"never": func(p *planT) {
			p.Never = []neverT{{Name: "n", From: targetT{Any: true}, To: targetT{Groups: []string{"unassigned"}}}}
		},
		"refactor": func(p *planT) { p.Refactor[0].Allow[0].To = targetT{Groups: []string{"unassigned"}} },
	} {
		plan := planNamed("nobody-"+name, edit)
		step, _ := find(Expand(plan), "refactor/swap:desks")
		if in, err := input(plan, step, nil, Material{}); err == nil {
			t.Errorf("%s: %+v", name, in)
		}
		if name == "lifeline" {
			if _, err := input(plan, step, nil, Material{Self: prefixes("10.0.0.1/32")}); err != nil {
				t.Error(err)
			}
		}
	}
	l := compile.Lifeline{To: prefixes("10.0.0.1/32", "fd00::1/128")}
	if got, ok := inFamilies(l, []flow.Family{flow.IPv6}); !ok || fmt.Sprint(got.To) != "[fd00::1/128]" {
		t.Error(got, ok)
	}
	if got, ok := inFamilies(compile.Lifeline{}, []flow.Family{flow.IPv4}); !ok || got.To[0] != netip.MustParsePrefix("0.0.0.0/0") {
		t.Error("a lifeline of one family is none of the other:", got)
	}
	if _, ok := inFamilies(compile.Lifeline{From: prefixes("10.0.0.1/32")}, []flow.Family{flow.IPv6}); ok {
		t.Error("kept a lifeline that matches nothing")
	}
}

func mustStep(name string) Step {
	s, ok := find(Expand(testPlans["p"]), name)
	if !ok {
		panic(name)
	}
	return s
}

// BenchmarkFrozen writes and reads a frozen step of exact flows.
func BenchmarkFrozen(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		mat := Material{}
		for i := range n {
			a := netip.AddrFrom4([4]byte{198, byte(i >> 16), byte(i >> 8), byte(i)})
			mat.Policy.Rules = append(mat.Policy.Rules, policy.Rule{Group: "desks", To: []netip.Prefix{netip.PrefixFrom(a, 32)}, Services: services("tcp/443")})
		}
		in, err := input(testPlans["p"], mustStep("enforce/block:desks"), nil, mat)
		if err != nil {
			b.Fatal(err)
		}
		rev, err := compile.Compile(in)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("flows=%d", n), func(b *testing.B) {
			for b.Loop() {
				f := Frozen{Input: in, Rules: rev}
				data, err := f.Encode()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := DecodeFrozen(f.Digest(), data); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(data)))
			}
		})
	}
}

// BenchmarkNext decides the next step, of a plan registered anew.
func BenchmarkNext(b *testing.B) {
	for _, n := range []int{10, 1000} {
		plan := planNamed("big", func(p *planT) {
			p.Groups, p.Enforce.Waves, p.Refactor = nil, nil, nil
			for i := range n {
				name := fmt.Sprintf("g%d", i)
				p.Groups = append(p.Groups, groupT{Name: name, Members: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)}})
				if i%10 == 0 {
					p.Enforce.Waves = append(p.Enforce.Waves, waveT{Name: name, Share: 100, Deny: "reject"})
				}
				w := &p.Enforce.Waves[len(p.Enforce.Waves)-1]
				w.Groups = append(w.Groups, name)
			}
		})
		steps := Expand(plan)
		old := plan
		old.Hash = "sha256:old"
		b.Run(fmt.Sprintf("groups=%d", n), func(b *testing.B) {
			for b.Loop() {
				var s State
				s.init()
				s.Stable, s.Heads["x"] = "x", Head{Plan: old.Hash, Step: steps[len(steps)-3]}
				s.Carried = Carry(old, plan, s.effective(), nil)
				if _, err := Next(plan, s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
