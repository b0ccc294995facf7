package phases

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"weir/nft"
	"weir/phases/compile"
	"weir/phases/flow"
)

// TestRandomWalks does anything in any order. After each word the machine is
// what the kernel holds (script.check), and these laws hold:
//
//   - only arming, restoring and foreign hands make anybody denied anything;
//   - a rollback denies nothing that passed before;
//   - what is armed was approved, and no approval arms twice;
//   - registering a plan writes nothing to the kernel.
func TestRandomWalks(t *testing.T) {
	words := []string{"apply:p", "apply:wider", "apply:moved", "apply:never", "apply:widedesks", "apply:nocore", "apply:pot", "apply:brown", "drill",
		"req", "req", "req", "req:enforce/alert", "req:enforce/block:desks", "ok:anna", "ok:ben", "ok:cleo", "ok:ben", "ok:cleo", "no:ben",
		"arm", "arm", "arm", "arm:2m", "arm:15m", "yes", "yes", "yes", "back", "back:off", "back:enforce/alert", "back:enforce", "back:phase", "back:monitor",
		"group:cameras", "group:desks", "pause", "resume", "resume", "wait:1m", "wait:11m", "wait:25h", "restart", "reboot", "boot", "boot", "delete",
		"hand", "hand:off", "raw", "look", "restore", "restore", "to:enforce/alert", "to:enforce/block:cameras", "to:enforce/block:desks", "to:watch"}
	rapid.Check(t, func(rt *rapid.T) {
		s := newScript(rt)
		s.m = s.w.open(t)
		s.run("apply:p drill")
		var row string
		defer func() {
			if rt.Failed() {
				rt.Logf("the walk was: %s", row)
			}
		}()
		steps := rapid.IntRange(1, 30).Draw(rt, "length")
		used := map[string]bool{}
		for range steps {
			word := rapid.SampledFrom(words).Draw(rt, "word")
			row += word + " "
			before, writes, open := s.passing(), s.w.writes, s.m.state.Request
			held := s.w.stable()
			stable := s.passingAt(held)
			err := s.do(word)
			if err != nil && !known(err) {
				rt.Fatalf("%s: %v", row, err)
			}
			now := s.passing()
			switch kind := word[:min(4, len(word))]; {
			case kind == "back" || kind == "grou" || kind == "hand" || word == "raw":
				for g, p := range before {
					if less(now[g], p) {
						rt.Fatalf("%s: group %s passed %v before and %v after", row, g, p, now[g])
					}
				}
			case kind == "appl" || kind == "req" || kind == "ok:b" || kind == "paus" || kind == "resu":
				if s.w.writes != writes {
					rt.Fatalf("%s wrote to the kernel", row)
				}
			case word == "boot" && held != "": // what was deleted comes back
				for g, p := range stable {
					if less(now[g], p) {
						rt.Fatalf("%s: a boot denies group %s what passed before it", row, g)
					}
				}
			case word == "yes" && err == nil:
				h := s.m.state.Heads[s.m.state.Stable]
				for g, p := range stable {
					if less(now[g], p) && !slices.Contains(h.Step.Narrows, g) {
						rt.Fatalf("%s: %s denies group %s what passed before it, and does not say so", row, h.Step.Name, g)
					}
				}
			case word == "arm" && err == nil:
				if open == nil || used[open.Digest+fmt.Sprint(open.Seq)] {
					rt.Fatalf("%s: armed what was not approved for it", row)
				}
				used[open.Digest+fmt.Sprint(open.Seq)] = true
			}
			s.check(word)
		}
	})
}

// known says whether a refusal is one with a name.
func known(err error) bool {
	for _, e := range errNames {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.Is(err, nft.ErrNotLoaded) || err.Error() == "no backout from  to default: unexpected end of JSON input" || slices.Contains([]string{"no b"}, err.Error()[:4])
}

// passing says what each group may do now, by the kernel alone: the treatment
// and rules of what is on trial, else stable, else everything.
type may struct {
	open  bool
	group compile.Group
	in    compile.Input
}

func (s *script) passing() map[string]may {
	if id := s.w.running(); id != "" {
		return s.passingAt(id)
	}
	return s.passingAt(s.w.stable())
}

func (s *script) passingAt(id string) map[string]may {
	out := map[string]may{}
	var in *compile.Input
	for d, h := range s.m.state.Heads {
		if h.Revision == id {
			f, err := s.m.frozen(d)
			if err != nil {
				s.t.Fatal(err)
			}
			in = &f.Input
		}
	}
	for _, g := range []string{"cameras", "desks", "servers"} {
		m := may{open: true}
		if in != nil && !slices.Contains(s.w.backed(), g) {
			for _, c := range in.Groups {
				if c.Name == g && c.Treatment.Denies() {
					m = may{false, c, *in}
				}
			}
		}
		out[g] = m
	}
	return out
}

// less says whether a lets a group do less than b, by trying endpoints and
// services one by one.
func less(a, b may) bool {
	if a.open {
		return false
	}
	if b.open {
		return true
	}
	for _, ip := range prefixes("10.1.1.1/32", "10.1.200.1/32", "10.2.1.1/32", "10.3.1.1/32") {
		if a.member(ip.Addr()) && !b.member(ip.Addr()) {
			return true
		}
	}
	if full(a.group.Share) > full(b.group.Share) {
		return true
	}
	for _, svc := range services("tcp/443", "udp/53", "tcp/5432", "tcp/22", "tcp/23") {
		if b.allows(svc) && !a.allows(svc) {
			return true
		}
	}
	return false
}

func (m may) member(a netip.Addr) bool {
	return slices.ContainsFunc(m.group.Members, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (m may) allows(svc flow.Service) bool {
	for _, n := range m.in.Never {
		if (n.Group == "" || n.Group == m.group.Name) && slices.ContainsFunc(n.Services, func(s flow.Service) bool { return s.Contains(svc) }) {
			return false
		}
	}
	for _, r := range m.in.Policy.Rules {
		if r.Group == m.group.Name && slices.ContainsFunc(r.Services, func(s flow.Service) bool { return s.Contains(svc) }) {
			return true
		}
	}
	return false
}
