package suite_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/nft"
	"weir/nft/kernel"
	"weir/nft/netns"
	"weir/nft/suite"
	"weir/phases/flow"
)

// rules draws rules that a kernel accepts, of every field and statement.
type rules struct{ *rand.Rand }

func (r rules) oneOf(s ...nft.Stmt) nft.Stmt { return s[r.IntN(len(s))] }

func (r rules) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// values draws n different values of a width, none a range.
func (r rules) values(n, width int) [][]byte {
	seen := map[string]bool{}
	var out [][]byte
	for len(out) < n {
		if v := r.bytes(width); !seen[string(v)] {
			seen[string(v)] = true
			out = append(out, v)
		}
	}
	return out
}

func (r rules) match(f nft.Field, v ...[]byte) nft.Stmt {
	m := nft.Is(f, v...)
	m.Not = r.IntN(4) == 0
	return m
}

// rule draws the matches of one family and one kind of protocol, so that no
// two of them exclude each other.
func (r rules) rule() nft.Rule {
	six := r.IntN(2) == 1
	src, dst, suffix, width := nft.IPSaddr, nft.IPDaddr, "4", 4
	if six {
		src, dst, suffix, width = nft.IP6Saddr, nft.IP6Daddr, "6", 16
	}
	var s []nft.Stmt
	add := func(x ...nft.Stmt) { s = append(s, x...) }
	some := func(n int) bool { return r.IntN(n) == 0 }
	if some(3) {
		add(r.oneOf(r.match(nft.IIFName, nft.Iface("lan0")), r.match(nft.OIFName, nft.Iface("wan0"), nft.Iface("wan1"))))
	}
	// Without it nft orders its own dependencies in another way in the list.
	add(nft.Is(nft.NFProtoF, nft.FamilyKey(map[bool]flow.Family{false: flow.IPv4, true: flow.IPv6}[six])))
	if some(4) {
		m := r.oneOf(nft.State("new"), nft.State("established", "related"), nft.Status("expected"), nft.Reply(),
			r.match(nft.CTDirection, []byte{0})).(nft.Match)
		add(m)
	}
	lo, hi := r.bytes(width), r.bytes(width)
	lo[0], hi[0] = 1, 2
	switch r.IntN(6) {
	case 0:
		add(r.match(src, r.values(1+r.IntN(3), width)...))
	case 1:
		add(nft.Match{Fields: []nft.Field{dst}, Not: some(4), Values: []nft.Value{{Lo: lo, Hi: hi}}})
	case 2:
		lo[1], hi[1] = 7, 7
		add(nft.Match{Fields: []nft.Field{dst}, Values: []nft.Value{{Lo: lo, Hi: hi}, {Lo: append([]byte{9}, lo[1:]...)}}})
	case 3:
		add(nft.Match{Fields: []nft.Field{src}, Set: "s_addr" + suffix, Not: some(3)})
	case 4:
		add(nft.Lookup("s_map"+suffix, dst))
	}
	ports := false
	switch r.IntN(4) {
	case 0:
		add(nft.Is(nft.L4Proto, r.values(1, 1)...))
	case 1, 2:
		ports = true
		protos := [][]byte{{6}, {17}, {132}, {33}, {136}}
		if some(2) {
			protos = protos[:1]
		}
		add(nft.Is(nft.L4Proto, protos...))
		switch r.IntN(4) {
		case 0:
			add(r.match(nft.ThDport, r.values(1+r.IntN(3), 2)...))
		case 1:
			add(nft.Match{Fields: []nft.Field{nft.ThSport}, Not: some(3), Values: []nft.Value{{Lo: nft.Port(100), Hi: nft.Port(2000)}}})
		case 2:
			add(nft.Match{Fields: []nft.Field{src, dst, nft.L4Proto, nft.ThDport}, Set: "s_seen" + suffix, Not: some(3)})
		case 3:
			add(nft.Match{Fields: []nft.Field{dst, nft.L4Proto, nft.ThDport}, Set: "s_range" + suffix})
		}
		if len(protos) == 1 && some(2) {
			m := nft.NoSYN()
			m.Not = some(2)
			add(m)
		}
	case 3:
		if six {
			add(r.match(nft.ICMP6TypeF, []byte{128}, []byte{1}))
		} else {
			add(r.match(nft.ICMPTypeF, []byte{8}))
		}
	}
	if some(6) {
		add(nft.Jhash{Field: src, Mod: 100, Seed: r.Uint32(), Below: uint32(r.IntN(100))})
	}
	if some(6) {
		add(r.oneOf(nft.Is(nft.FibDaddr, nft.MarkKey(2)), nft.Is(nft.IIFType, []byte{1, 0}), nft.Is(nft.EtherSaddr, r.values(1, 6)...)))
	}
	if some(4) {
		add(r.oneOf(nft.Limit{Rate: 10, Unit: "second"}, nft.Limit{Rate: 30, Unit: "second", Over: true}, nft.Limit{Rate: 600, Unit: "minute", Burst: 100}, nft.Limit{Rate: 1 << 20, Unit: "hour", Burst: 7}))
	}
	if ports && some(3) {
		op := nft.SetOp{Op: "add", Set: "s_seen" + suffix, Fields: []nft.Field{src, dst, nft.L4Proto, nft.ThDport}}
		if some(2) {
			op.Op = "update"
		}
		add(op)
	}
	if some(5) {
		add(nft.SetOp{Op: "update", Set: "s_dyn" + suffix, Fields: []nft.Field{src}, Limit: &nft.Limit{Rate: 50, Unit: "second", Burst: 100, Over: r.IntN(2) == 0}})
	}
	if some(3) {
		add(r.oneOf(nft.Count{}, nft.Count{Name: "w_reply"}))
	}
	if some(4) {
		add(r.oneOf(nft.Log{Group: 7}, nft.Log{Prefix: "weir d desks ", Group: 101, Snaplen: 96, Threshold: 64}))
	}
	if end := r.IntN(8); len(s) == 0 || end > 1 {
		add(r.oneOf(nft.Accept(), nft.Drop(), nft.Return(), nft.Verdict{Kind: "continue"}, nft.Jump("w_spare"), nft.Goto("w_spare"),
			nft.Reject{With: "icmpx admin-prohibited"}, nft.Reject{With: "icmpx port-unreachable"}))
	}
	out := nft.Rule{Stmts: s}
	if some(8) {
		out.Comment = "a comment, with # and { }"
	}
	return out
}

// random is a revision of n rules with the sets that they use.
func (r rules) random(n int) nft.Revision {
	rev := suite.Revision("a")
	rs := &rev.Ruleset
	for suffix, addr := range map[string]nft.Type{"4": nft.IPv4Addr, "6": nft.IPv6Addr} {
		ports := []nft.Type{addr, addr, nft.InetProto, nft.InetService}
		w := addr.Width()
		top := func(b byte, fill byte) []byte {
			v := make([]byte, w)
			for i := range v {
				v[i] = fill
			}
			v[0] = b
			return v
		}
		rs.Sets = append(rs.Sets,
			nft.Set{Name: "s_addr" + suffix, Key: []nft.Type{addr}, Interval: true, Elements: []nft.Element{{Key: top(10, 0), KeyEnd: top(10, 255)}, {Key: top(12, 3)}}},
			nft.Set{Name: "s_seen" + suffix, Key: ports, Size: 1024, HasTimeout: true, Dynamic: true},
			nft.Set{Name: "s_dyn" + suffix, Key: []nft.Type{addr}, Size: 1024, HasTimeout: true, Dynamic: true},
			nft.Set{Name: "s_range" + suffix, Key: ports[1:], Interval: true, Elements: []nft.Element{{
				Key: nft.Concat(top(10, 0), []byte{6}, nft.Port(80)), KeyEnd: nft.Concat(top(10, 255), []byte{6}, nft.Port(90))}}},
			nft.Set{Name: "s_map" + suffix, Key: []nft.Type{addr}, Data: nft.VerdictType, Interval: true, Elements: []nft.Element{
				{Key: top(10, 0), KeyEnd: top(10, 255), Verdict: nft.To(nft.Goto("w_spare"))}, {Key: top(11, 1), Verdict: nft.To(nft.Accept())}}})
	}
	c := nft.Chain{Name: rev.ID + "_rules"}
	for range n {
		c.Rules = append(c.Rules, r.rule())
	}
	rs.Chains = append(rs.Chains, c)
	return rev
}

// What nft makes of a ruleset's text and what nft/kernel makes of the value
// list equally, rule by rule.
func TestTextAndKernelAgree(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rev := rules{rand.New(rand.NewPCG(seed, 0))}.random(200)
			if err := rev.Ruleset.Check(); err != nil {
				t.Fatal(err)
			}
			list := func(load func(*netns.NS) error) []string {
				n, err := netns.New("list")
				if err != nil {
					t.Fatal(err)
				}
				defer n.Close()
				if err := load(n); err != nil {
					t.Fatal(err)
				}
				out, err := n.Command("nft", "-s", "list", "chain", "inet", "weir", rev.ID+"_rules").Output()
				if err != nil {
					t.Fatal(err)
				}
				return strings.Split(string(out), "\n")
			}
			byText := list(func(n *netns.NS) error {
				all, err := nft.Merge(rev.Skeleton, rev.Ruleset)
				if err != nil {
					return err
				}
				c := n.Command("nft", "-f", "-")
				c.Stdin = strings.NewReader(all.String())
				if out, err := c.CombinedOutput(); err != nil {
					return fmt.Errorf("%w\n%s", err, out)
				}
				return nil
			})
			byKernel := list(func(n *netns.NS) error {
				k, err := kernel.Open(kernel.Options{NetNS: n.FD()})
				if err != nil {
					return err
				}
				defer k.Close()
				return k.Load(context.Background(), rev)
			})
			if len(byText) != len(byKernel) {
				t.Fatalf("%d lines by text, %d by nft/kernel", len(byText), len(byKernel))
			}
			bad := 0
			for i := range byText {
				if byText[i] != byKernel[i] {
					if bad++; bad > 5 {
						t.Fatal("…")
					}
					t.Errorf("the rule   %s\nnft -f     %s\nnft/kernel %s", rev.Ruleset.Chains[len(rev.Ruleset.Chains)-1].Rules[max(0, i-2)], strings.TrimSpace(byText[i]), strings.TrimSpace(byKernel[i]))
				}
			}
		})
	}
}
