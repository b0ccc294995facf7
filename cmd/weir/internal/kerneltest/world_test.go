package kerneltest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/compile/oracle"
	"weir/phases/flow"
)

// TestOpenConnectionsAreJudgedAgain opens random flows while everything passes
// and then switches to a blocking step: each next packet of a flow is decided
// by the rules of now, by exceptions, quarantine, groups put back to alert and
// spared ones, as the oracle says.
func TestOpenConnectionsAreJudgedAgain(t *testing.T) {
	g := newGateway(t)
	next := uint32(1000)
	for seed := range uint64(4 * *more) {
		r := source{rand.New(rand.NewPCG(seed, 11))}
		in := r.input([]string{"forward"}, treatment[2:])
		for i := range in.Groups { // a share is tested elsewhere
			in.Groups[i].Share = 0
		}
		off := in
		off.Off = true
		before, err := compile.Compile(off)
		must(t, err)
		rev, err := compile.Compile(in)
		must(t, err)
		g.stable(before)

		type open struct {
			p      eval.Packet
			id     uint32
			answer bool
		}
		var flows []open
		var ids []uint32
		for i := range 250 {
			p := r.packet(in, int(next)+i)
			for p.In == "wan0" || p.Proto == flow.TCP || p.Proto == flow.SCTP || p.Out == "lan0" || g.answers(p, !p.Proto.IsICMP()) {
				p = r.packet(in, int(next)+i)
			}
			id := next + uint32(i)
			ids = append(ids, id)
			g.inject(p, id)
			answer := r.IntN(4) > 0
			if answer {
				g.inject(reply(p), id+1<<24)
			}
			flows = append(flows, open{p, id, answer})
		}
		next += 250
		g.settle(next, func() bool { return g.all(ids) })
		next += 2
		if !g.all(ids) {
			t.Fatalf("seed %d: not everything passes while the step is off", seed)
		}

		world := g.upheaval(r, rev)
		g.stable(rev)
		world.apply(t, g)
		var passing []uint32
		wants := map[uint32]string{}
		for i, f := range flows {
			p := f.p
			if f.answer {
				p.State = eval.Established
			}
			id := next + uint32(i)
			want := oracle.Judge(in, &world.World, p)
			wants[id] = want.Verdict
			if want.Verdict == "accept" {
				passing = append(passing, id)
			}
			if f.p.Proto.IsICMP() { // the identifier is part of the flow
				g.injectAs(f.p, id, f.id)
			} else {
				g.inject(f.p, id)
			}
		}
		next += 250
		g.settle(next, func() bool { return g.all(passing) })
		next += 2
		for i, f := range flows {
			id := next - 252 + uint32(i)
			h, _ := g.heard(id)
			if (h.what == "packet") != (wants[id] == "accept") || h.what == "unreachable" && wants[id] == "drop" {
				t.Errorf("seed %d: %+v, answered %t: want %s, heard %+v", seed, f.p, f.answer, wants[id], h)
			}
		}
		world.end(t, g)
		if t.Failed() {
			t.Fatalf("%+v\n%s", world.World, rev.Ruleset)
		}
	}
}

func (g *gateway) all(ids []uint32) bool {
	return !slices.ContainsFunc(ids, func(id uint32) bool { _, ok := g.heard(id); return !ok })
}

// reply is what the other end sends back.
func reply(p eval.Packet) eval.Packet {
	p.Src, p.Dst, p.SrcPort, p.Port = p.Dst, p.Src, p.Port, p.SrcPort
	p.In, p.Out, p.MAC = p.Out, p.In, []byte{2, 1, 1, 1, 1, 1}
	switch p.Proto {
	case flow.ICMP:
		p.Port = map[uint16]uint16{8: 0, 13: 14}[p.SrcPort]
	case flow.ICMPv6:
		p.Port = 129
	}
	return p
}

// world is the oracle's world and what to take back of it.
type world struct {
	oracle.World
	rev        nft.Revision
	exceptions []nft.Exception
}

func (g *gateway) upheaval(r source, rev nft.Revision) *world {
	w := &world{rev: rev}
	w.NoSpare = g.unsparable
	w.Shares = map[string]string{}
	for _, name := range []string{"desks", "servers", "cameras", "guests", "unassigned"} {
		switch r.IntN(4) {
		case 0:
			w.Back = append(w.Back, name)
		case 1, 2:
			w.Spared = append(w.Spared, name)
		}
	}
	for i, pair := range [][2]string{{"10.20.1.0/24", "198.51.100.0/24"}, {"fd20:0:0:1::/64", "2001:db8:1::/64"}, {"10.20.2.0/24", "128.0.0.0/1"}} {
		if r.IntN(2) > 0 {
			continue
		}
		e := nft.Exception{ID: fmt.Sprintf("e%d", i), From: netip.MustParsePrefix(pair[0]), To: netip.MustParsePrefix(pair[1]), For: time.Hour}
		var services []flow.Service
		if r.IntN(2) == 0 {
			e.Service, _ = flow.ParseService(pick(r, []string{"udp", "udp/50-60", "esp"}))
			services = []flow.Service{e.Service}
		}
		w.exceptions = append(w.exceptions, e)
		w.Unblocked = append(w.Unblocked, compile.Lifeline{From: []netip.Prefix{e.From}, To: []netip.Prefix{e.To}, Services: services})
	}
	if r.IntN(2) == 0 {
		w.Quarantined = []netip.Addr{addr("10.20.1.25"), addr("fd20:0:0:1::25")}
	}
	return w
}

func (w *world) apply(t *testing.T, g *gateway) {
	t.Helper()
	ctx := context.Background()
	for _, e := range w.exceptions {
		must(t, g.k.AddException(ctx, e))
		g.unsparable = append(g.unsparable, compile.Lifeline{From: []netip.Prefix{e.From}, To: []netip.Prefix{e.To}})
		w.NoSpare = g.unsparable
	}
	for _, a := range w.Quarantined {
		must(t, g.k.Quarantine(ctx, a, time.Hour))
	}
	for i, name := range w.Back {
		must(t, g.k.Back(ctx, name, true, fmt.Sprintf("b%d", i)))
	}
	must(t, g.k.Arm(ctx, nft.Arm{ID: w.rev.ID, Entry: w.rev.Entry, Tx: "arm", Lease: time.Minute, Spare: w.Spared, Over: w.rev.ID}))
	must(t, g.k.Confirm(ctx, nft.Confirm{ID: w.rev.ID, Entry: w.rev.Entry, Tx: "confirm", Spare: w.Spared, SpareFor: time.Minute}))
}

func (w *world) end(t *testing.T, g *gateway) {
	t.Helper()
	ctx := context.Background()
	for _, e := range w.exceptions {
		must(t, g.k.EndException(ctx, e.ID))
	}
	for _, a := range w.Quarantined {
		must(t, g.k.Unquarantine(ctx, a))
	}
	for i, name := range w.Back {
		must(t, g.k.Back(ctx, name, false, fmt.Sprintf("c%d", i)))
	}
	must(t, g.k.Arm(ctx, nft.Arm{ID: w.rev.ID, Entry: w.rev.Entry, Tx: "arm2", Lease: time.Minute, Over: w.rev.ID}))
	must(t, g.k.Confirm(ctx, nft.Confirm{ID: w.rev.ID, Entry: w.rev.Entry, Tx: "confirm2", Spare: w.Spared}))
}
