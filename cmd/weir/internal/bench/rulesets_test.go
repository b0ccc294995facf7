package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"weir/nft"
	"weir/nft/kernel"
	"weir/nft/netns"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/policy"
)

// The policy that is measured: 100,000 exact flows, half IPv4 and half IPv6,
// half TCP and half UDP, in 50 groups.
const (
	exactFlows = 100_000
	groupCount = 50
	linear     = 10_000 // rules that are written one by one, for each family
	sent       = 4096   // flows that packets are sent of, for each family
)

// tuple is one exact flow that is allowed.
type tuple struct {
	group    int
	from, to netip.Addr
	proto    flow.Proto
	port     uint16
}

var families = []flow.Family{flow.IPv4, flow.IPv6}

func groupName(g int) string { return fmt.Sprintf("group%02d", g) }

func members(g int) []netip.Prefix {
	return []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 20, byte(g), 0}), 24),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0x20, 7: byte(g)}), 64),
	}
}

// tuples returns the policy's flows of a family, each once, in random order.
func tuples(f flow.Family) []tuple {
	r := rand.New(rand.NewPCG(1, uint64(len(f))))
	seen := map[tuple]bool{}
	var out []tuple
	for len(out) < exactFlows/2 {
		t := tuple{group: len(out) % groupCount, proto: flow.TCP, port: []uint16{53, 123, 443, 514, 3478, 8443}[r.IntN(6)]}
		if len(out)/groupCount%2 == 0 {
			t.proto = flow.UDP
		}
		host, far := byte(1+r.IntN(250)), r.Uint32()
		if f == flow.IPv4 {
			t.from = netip.AddrFrom4([4]byte{10, 20, byte(t.group), host})
			t.to = netip.AddrFrom4([4]byte{198, 18, byte(far >> 8), byte(far)})
		} else {
			t.from = netip.AddrFrom16([16]byte{0xfd, 0x20, 7: byte(t.group), 15: host})
			t.to = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 2, 14: byte(far >> 8), 15: byte(far)})
		}
		if !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// pool is what is measured of a family: all flows, and of the UDP flows those
// that are written one by one; packets are sent of some of these.
type pool struct {
	all    []tuple
	linear []tuple
	sent   []tuple
}

func newPool(f flow.Family) pool {
	p := pool{all: tuples(f)}
	for _, t := range p.all {
		if t.proto == flow.UDP && len(p.linear) < linear {
			p.linear = append(p.linear, t)
		}
	}
	r := rand.New(rand.NewPCG(2, uint64(len(f))))
	for _, i := range r.Perm(linear)[:sent] {
		p.sent = append(p.sent, p.linear[i])
	}
	return p
}

// input is the policy as a plan would give it: every group blocked.
func input(pools map[flow.Family]pool) compile.Input {
	in := compile.Input{
		Scope: compile.Scope{Hooks: []string{"forward"}, Inside: prefixes("10.20.0.0/16", "fd20::/48"),
			OutsideIfaces: []string{netns.OutsideIf}, Inbound: "observe"},
		Lifelines: []compile.Lifeline{{Name: "resolvers", To: prefixes("198.51.100.53/32", "2001:db8:1::53/128"),
			Services: []flow.Service{flow.Single(flow.UDP, 53), flow.Single(flow.TCP, 53)}}},
	}
	for g := range groupCount {
		in.Groups = append(in.Groups, compile.Group{Name: groupName(g), Members: members(g), Treatment: compile.Drop})
	}
	for _, f := range families {
		for _, t := range pools[f].all {
			in.Policy.Rules = append(in.Policy.Rules, policy.Rule{Group: groupName(t.group), Reason: policy.Observed,
				Endpoints: host(t.from), To: host(t.to), Services: []flow.Service{flow.Single(t.proto, t.port)}})
		}
	}
	return in
}

func host(a netip.Addr) []netip.Prefix { return []netip.Prefix{netip.PrefixFrom(a, a.BitLen())} }

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// compiled is the policy as weir writes it.
func compiled(t testing.TB, in compile.Input) nft.Revision {
	t.Helper()
	rev, err := compile.Compile(in)
	must(t, err)
	return rev
}

// enforce loads a revision and makes it stable.
func (g *gateway) enforce(t testing.TB, rev nft.Revision) {
	t.Helper()
	enforce(t, g.Gateway, rev)
}

func enforce(t testing.TB, ns *netns.NS, rev nft.Revision) {
	t.Helper()
	ctx := context.Background()
	k, err := kernel.Open(kernel.Options{NetNS: ns.FD()})
	must(t, err)
	defer k.Close()
	must(t, k.Load(ctx, rev))
	hooks := make([]string, 0, len(rev.Entry))
	for h := range rev.Entry {
		hooks = append(hooks, h)
	}
	must(t, k.Rollback(ctx, nft.Rollback{ID: rev.ID, Entry: rev.Entry, Hooks: hooks, Tx: "bench", Kind: nft.TxRollback}))
}

// head is how a person begins such a ruleset. It judges each packet in the
// original direction, open connections too, as weir does: what is allowed no
// longer must end.
const head = `
  chain forward {
    type filter hook forward priority 10; policy accept;
    ct direction reply counter name answers accept
    ct state related,untracked,invalid counter name other accept
    ct status expected accept
    meta l4proto tcp ct state new tcp flags & (fin|syn|rst|ack) != syn counter name other accept
    oifname != "wan0" counter name other accept
    icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, nd-neighbor-solicit, nd-neighbor-advert } accept
    ip daddr . meta l4proto . th dport { 198.51.100.53 . udp . 53, 198.51.100.53 . tcp . 53 } accept
    ip6 daddr . meta l4proto . th dport { 2001:db8:1::53 . udp . 53, 2001:db8:1::53 . tcp . 53 } accept
`

// byHand is the same policy as a person who knows nftables would write it: an
// interval verdict map that leads to each group, and a hash set for each group
// and family. observed tells it to remember and log first sights as weir does.
func byHand(pools map[flow.Family]pool, observed bool) string {
	var b strings.Builder
	b.WriteString("table inet hand {\n  counter answers { }\n  counter other { }\n  counter dropped { }\n")
	letter := map[flow.Family]string{flow.IPv4: "4", flow.IPv6: "6"}
	word := map[flow.Family]string{flow.IPv4: "ip", flow.IPv6: "ip6"}
	for _, f := range families {
		elements := make([][]string, groupCount)
		for _, t := range pools[f].all {
			elements[t.group] = append(elements[t.group], fmt.Sprintf("%s . %s . %s . %d", t.from, t.to, t.proto, t.port))
		}
		for g := range groupCount {
			fmt.Fprintf(&b, "  set allow%s_%s { type ipv%[1]s_addr . ipv%[1]s_addr . inet_proto . inet_service; size %[3]d; counter; elements = { %[4]s } }\n",
				letter[f], groupName(g), len(elements[g])*5/4, strings.Join(elements[g], ", "))
		}
		if observed {
			fmt.Fprintf(&b, "  set seen%s { type ipv%[1]s_addr . ipv%[1]s_addr . inet_proto . inet_service; size 65536; flags dynamic,timeout; timeout 1h; }\n", letter[f])
		}
	}
	for g := range groupCount {
		fmt.Fprintf(&b, "  counter allowed_%s { }\n  counter denied_%[1]s { }\n", groupName(g))
	}
	if observed {
		b.WriteString("  chain observe {\n    ct state established return\n")
		for _, f := range families {
			key := fmt.Sprintf("%s saddr . %[1]s daddr . meta l4proto . th dport", word[f])
			fmt.Fprintf(&b, "    meta nfproto ipv%s meta l4proto { tcp, udp } %s != @seen%[1]s log prefix \"n \" group 100 snaplen 96 queue-threshold 64\n", letter[f], key)
			fmt.Fprintf(&b, "    meta nfproto ipv%s meta l4proto { tcp, udp } add @seen%[1]s { %s } return\n", letter[f], key)
		}
		b.WriteString("  }\n")
	}
	for g := range groupCount {
		fmt.Fprintf(&b, "  chain %s {\n    meta l4proto { tcp, udp } jump %[1]s_ports\n    counter name denied_%[1]s drop\n  }\n  chain %[1]s_ports {\n", groupName(g))
		for _, f := range families {
			fmt.Fprintf(&b, "    %s saddr . %[1]s daddr . meta l4proto . th dport @allow%s_%s counter name allowed_%[3]s accept\n", word[f], letter[f], groupName(g))
		}
		b.WriteString("  }\n")
	}
	b.WriteString(head)
	if observed {
		b.WriteString("    jump observe\n")
	}
	for i, f := range families {
		var groups []string
		for g := range groupCount {
			groups = append(groups, fmt.Sprintf("%s : goto %s", members(g)[i], groupName(g)))
		}
		fmt.Fprintf(&b, "    %s saddr vmap { %s }\n", word[f], strings.Join(groups, ", "))
	}
	b.WriteString("    counter name other accept\n  }\n}\n")
	return b.String()
}

// oneByOne is a list of rules, one for each flow, for each family.
func oneByOne(pools map[flow.Family]pool) string {
	var b strings.Builder
	b.WriteString("table inet hand {\n  counter answers { }\n  counter other { }\n")
	for _, f := range families {
		fmt.Fprintf(&b, "  chain %s {\n", f)
		word := map[flow.Family]string{flow.IPv4: "ip", flow.IPv6: "ip6"}[f]
		for _, t := range pools[f].linear {
			fmt.Fprintf(&b, "    %[1]s saddr %[2]s %[1]s daddr %[3]s %[4]s dport %[5]d counter accept\n", word, t.from, t.to, t.proto, t.port)
		}
		b.WriteString("    counter drop\n  }\n")
	}
	b.WriteString(head + "    meta nfproto vmap { ipv4 : goto ipv4, ipv6 : goto ipv6 }\n  }\n}\n")
	return b.String()
}

// tracking is what connection tracking alone costs.
const tracking = `table inet hand { chain forward { type filter hook forward priority 10; policy accept; ct state invalid counter accept
}
}`
