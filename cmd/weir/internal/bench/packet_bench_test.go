package bench

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"weir/phases/compile"
	"weir/phases/flow"
)

// BenchmarkPacket is the time that a gateway takes for one small UDP packet,
// from the send at the client's end of one link until it is dropped at the far
// end of the other, with different rulesets that decide the same. All are
// measured in turns of a few milliseconds, so that what else the machine does
// meets them alike; each figure is a median over the turns.
//
// "established" are packets of connections that were answered, in the direction
// of who opened them; "new" are first packets of connections whose tuple was
// seen before. "none" has no rules, "tracking" connection tracking alone, "hand"
// sets written by hand, "equal" the same and weir's capture, "list" 10,000 rules
// one by one; "shadow" is weir with a candidate beside the rules that are equal
// to it.
//
//	ns/X             nanoseconds for one packet, from end to end
//	%packet          how much longer a packet takes with weir than with equal
//	%rules           the same of what the rules cost: what they add to none
//	%shadow          how much longer a packet takes with a shadow than without
//	list/weir        how many times as much as weir the list adds to none
func BenchmarkPacket(b *testing.B) {
	pools := map[flow.Family]pool{}
	for _, f := range families {
		pools[f] = newPool(f)
	}
	var all []*gateway
	for _, r := range []struct {
		name    string
		filters bool
		load    func(*gateway)
	}{
		{"none", false, func(*gateway) {}},
		{"tracking", false, func(g *gateway) { g.nft(b, tracking) }},
		{"hand", true, func(g *gateway) { g.nft(b, byHand(pools, false)) }},
		{"equal", true, func(g *gateway) { g.nft(b, byHand(pools, true)) }},
		{"weir", true, func(g *gateway) { g.enforce(b, compiled(b, input(pools))) }},
		{"shadow", true, func(g *gateway) { g.enforce(b, compiled(b, beside(input(pools)))) }},
		{"list", true, func(g *gateway) { g.nft(b, oneByOne(pools)) }},
	} {
		g := newGateway(b, r.name)
		g.filters = r.filters
		r.load(g)
		all = append(all, g)
	}
	for _, f := range families {
		for _, state := range []string{"established", "new"} {
			b.Run(fmt.Sprintf("%s/%s", f, state), func(b *testing.B) {
				t := measure(b, all, pools[f], state == "established")
				none, equal, weir, list := t.of("none"), t.of("equal"), t.of("weir"), t.of("list")
				b.ReportMetric(0, "ns/op")
				for _, g := range all {
					b.ReportMetric(t.of(g.name), "ns/"+g.name)
				}
				b.ReportMetric(100*(weir/equal-1), "%packet")
				b.ReportMetric(100*((weir-none)/(equal-none)-1), "%rules")
				b.ReportMetric(100*(t.of("shadow")/weir-1), "%shadow")
				b.ReportMetric((list-none)/(weir-none), "list/weir")
			})
		}
	}
}

// beside gives every group of a step a candidate that allows the same.
func beside(in compile.Input) compile.Input {
	in.Shadow = &compile.Shadow{Name: "same", Policy: in.Policy}
	for _, g := range in.Groups {
		in.Shadow.Groups = append(in.Shadow.Groups, g.Name)
	}
	return in
}

// turns is how many turns one round of a benchmark has at least.
const turns = 20

// times are one median for each turn, by ruleset.
type times map[string][]float64

func (t times) of(name string) float64 { return median(t[name]) }

// measure sends packets through each gateway in turns.
func measure(b *testing.B, all []*gateway, p pool, established bool) times {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	trains := map[string]*train{}
	for _, g := range all {
		frames := g.decides(b, p)
		if !established {
			g.forget(b)
		}
		if g.name == "list" {
			frames = frames[:4*chunk]
		}
		trains[g.name] = newTrain(frames)
	}
	out := times{}
	var took []time.Duration
	for b.Loop() {
		for turn := range turns {
			for _, g := range all {
				if g.name == "list" && turn%4 > 0 {
					continue // its packets take a hundred times as long
				}
				var err error
				took, err = g.send(trains[g.name], took[:0])
				must(b, err)
				out[g.name] = append(out[g.name], float64(median(took).Nanoseconds()))
				if !established {
					g.forget(b)
				}
			}
		}
	}
	return out
}

// decides sends the first packet of each flow and its answer, so that the
// connections are established, and fails where the ruleset does not pass the
// flows of the policy or, but for those that filter nothing, passes others.
func (g *gateway) decides(b *testing.B, p pool) [][]byte {
	b.Helper()
	var there, back, wrong [][]byte
	flows := p.sent
	if g.name == "list" {
		flows = flows[:8*chunk]
	}
	for i, t := range flows {
		from, to := netip.AddrPortFrom(t.from, uint16(20000+i)), netip.AddrPortFrom(t.to, t.port)
		there, back = append(there, g.frame(from, to)), append(back, g.frame(to, from))
		wrong = append(wrong, g.frame(from, netip.AddrPortFrom(t.to, t.port+1)))
	}
	through := func(frames [][]byte) uint64 {
		before := g.passed(b)
		_, err := g.send(newTrain(frames), nil)
		must(b, err)
		return g.passed(b) - before
	}
	g.forget(b)
	if n := through(there); n < uint64(len(there)) {
		b.Fatalf("%s passes %d of %d packets", g.name, n, len(there))
	}
	if n := through(wrong[:4*chunk]); g.filters && n > 4 { // a few are between neighbours
		b.Fatalf("%s passes %d of %d packets that the policy does not allow", g.name, n, 4*chunk)
	}
	through(back)
	return there
}
