package rehearse

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/nft"
	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/compile/oracle"
	"weir/phases/flow"
	"weir/phases/policy"
)

// Contradictions lists, in words that name the packet, what the plan says never
// to allow although this machine depends on it: lifelines pass before anything
// is denied, so a step would silently obey only one of the two. own are the
// machine's lifelines; in's are those that the plan itself writes, and what they
// let pass is no contradiction. A never rule of a group that the step denies
// nothing contradicts nothing yet.
func Contradictions(in compile.Input, own []compile.Lifeline) []string {
	var out []string
	for _, n := range in.Never {
		if !acts(in, n) {
			continue
		}
		for _, x := range essential {
			if overlaps(n, x) {
				out = append(out, fmt.Sprintf("never %q denies %s type %d, without which %s", n.Name, x.proto, x.icmp, x.without))
				break
			}
		}
		alone := in
		alone.Never = []compile.Never{n}
		alone.Policy = policy.Policy{}
		for _, g := range in.Groups {
			alone.Policy.Rules = append(alone.Policy.Rules, policy.Rule{Group: g.Name})
		}
		for _, l := range own {
			if p, ok := denied(alone, l); ok {
				what := Case{Packet: p, Of: Held, Lifeline: l.Name}.String()
				if len(l.From) == 0 {
					what = strings.Replace(what, p.Src.String(), "this machine", 1)
				}
				out = append(out, fmt.Sprintf("never %q denies %s", n.Name, what))
			}
		}
	}
	return out
}

// denied finds a packet of a lifeline that a step would deny if its connection
// were new.
func denied(in compile.Input, l compile.Lifeline) (eval.Packet, bool) {
	for _, p := range LifelinePackets(in, l) {
		if p.State = eval.New; p.Proto == flow.TCP {
			p.TCPFlags = 0x02
		}
		if oracle.Judge(in, &oracle.World{}, p).Verdict != "accept" {
			return p, true
		}
	}
	return eval.Packet{}, false
}

// acts says whether the step denies what a never rule names.
func acts(in compile.Input, n compile.Never) bool {
	return !in.Off && slices.ContainsFunc(in.Groups, func(g compile.Group) bool {
		return g.Treatment.Denies() && (n.Group == "" || n.Group == g.Name)
	})
}

// need is a packet that every step passes.
type need struct {
	proto   flow.Proto
	icmp    uint16
	to      netip.Addr
	without string // what happens without it
}

var essential = []need{
	{flow.ICMPv6, 135, netip.MustParseAddr("ff02::1:ff00:1"), "IPv6 finds no neighbours"},
	{flow.ICMPv6, 136, netip.MustParseAddr("fe80::1"), "IPv6 finds no neighbours"},
	{flow.ICMPv6, 133, netip.MustParseAddr("ff02::2"), "IPv6 finds no router"},
	{flow.ICMPv6, 134, netip.MustParseAddr("ff02::1"), "IPv6 finds no router"},
	{flow.ICMPv6, 2, netip.MustParseAddr("2001:db8:ffff::fd"), "large IPv6 packets are lost"},
	{flow.ICMPv6, 143, netip.MustParseAddr("ff02::16"), "switches may not pass neighbour discovery on"},
	{flow.ICMP, 3, netip.MustParseAddr("203.0.113.253"), "large packets are lost and errors are not seen"},
}

func overlaps(n compile.Never, x need) bool {
	return slices.ContainsFunc(n.Services, func(s flow.Service) bool { return s.Proto == x.proto && s.Lo <= x.icmp && x.icmp <= s.Hi }) &&
		(len(n.To) == 0 || slices.ContainsFunc(n.To, func(p netip.Prefix) bool { return p.Contains(x.to) }))
}

// Cut lists the packets of a lifeline that a ruleset denies. What an answer
// needs passes for being an answer and is not asked.
func Cut(in compile.Input, rev nft.Revision, lines []compile.Lifeline) ([]Case, error) {
	m := eval.NewMachine(rev.Skeleton, rev.Ruleset)
	if err := m.Stable(rev); err != nil {
		return nil, err
	}
	var out []Case
	for _, l := range lines {
		if l.Reply {
			continue
		}
		for _, p := range LifelinePackets(in, l) {
			if p.State = State(p); p.Proto == flow.TCP {
				p.TCPFlags = 0x02
			}
			t, err := m.Eval(p)
			if err != nil {
				return nil, err
			}
			if !t.Passes() {
				out = append(out, Case{Packet: p, Of: Held, Lifeline: l.Name})
			}
		}
	}
	return out, nil
}
