package rehearsal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"weir/nft"
	"weir/nft/eval"
	"weir/nft/lab"
	"weir/phases"
	"weir/phases/compile"
	"weir/phases/rehearse"
)

// ErrHole is returned where a way out is open by nobody's decision.
var ErrHole = errors.New("the step has a hole")

// keepFor is as long as the machine spares what is kept.
const keepFor = 10 * 365 * 24 * time.Hour

// Leaks plays the intruder: from each group every way out, with real packets,
// against the bytes of a frozen step upon those of the one before, which is nil
// where everything is open. It says of each what became of it before and after.
func Leaks(ctx context.Context, f phases.Frozen, over *phases.Frozen, play Play) ([]rehearse.Leak, error) {
	inputs := []compile.Input{f.Input}
	r := &run{script: lab.Script{Revisions: []nft.Revision{f.Rules}}}
	stable := ""
	if over != nil {
		inputs = append(inputs, over.Input)
		r.script.Revisions = append(r.script.Revisions, over.Rules)
		stable = over.Rules.ID
	}
	r.script.Inside, r.script.Outside = rehearse.Ifaces(inputs...)
	ways := rehearse.Ways(f.Input)
	judge, err := rehearse.NewJudge(f.Input, f.Rules, nil)
	if err != nil || len(ways) == 0 {
		return []rehearse.Leak{}, err
	}
	i := intruder{run: r, ways: ways, ports: map[int]uint16{}}

	if over != nil {
		r.act(lab.Act{Load: over.Rules.ID})
		r.act(lab.Act{Rollback: &nft.Rollback{ID: over.Rules.ID, Entry: over.Rules.Entry, Hooks: over.Hooks, Tx: "stable", Kind: nft.TxRollback}})
	}
	r.act(lab.Act{Load: f.Rules.ID})
	r.act(lab.Act{Routes: i.routes(f.Input)})
	before := i.attack(rehearse.Alone, rehearse.Answer)
	opens, err := letOut(over, ways)
	if err != nil {
		return nil, err
	}
	before.add(i.open(opens))
	if over != nil {
		before.add(i.unblock())
	}
	e := established(f.Step)
	r.act(lab.Act{Arm: &nft.Arm{ID: f.Rules.ID, Entry: f.Rules.Entry, Tx: "arm", Lease: lease, Over: stable, Spare: f.Step.Narrows}})
	r.act(lab.Act{Confirm: &nft.Confirm{ID: f.Rules.ID, Entry: f.Rules.Entry, Tx: "confirm", Spare: f.Step.Narrows, SpareFor: e.For}})
	after := i.attack(rehearse.Alone, rehearse.Answer)
	after.add(i.again())
	after.add(i.unblock())

	result, err := play(ctx, r.script)
	if err != nil {
		return nil, err
	}
	var out []rehearse.Leak
	for n, w := range ways {
		l := rehearse.Leak{Group: w.Group, Family: w.Family, Way: w.Name, Packet: w.Text(),
			Was: before.left(result, n, true), Open: after.left(result, n, false)}
		if l.Open {
			by, ok := judge.By(w, e)
			l.By, l.Hole = by, !ok
		}
		out = append(out, l)
	}
	return out, nil
}

// letOut says which of the ways the step before lets out.
func letOut(over *phases.Frozen, ways []rehearse.Way) (map[int]bool, error) {
	out := map[int]bool{}
	for n := range ways {
		out[n] = true
	}
	if over == nil {
		return out, nil
	}
	was, err := rehearse.NewJudge(over.Input, over.Rules, nil)
	if err != nil {
		return nil, err
	}
	for n, w := range ways {
		out[n] = was.Decide(w.Packet).Verdict == "accept"
	}
	return out, nil
}

// established is what a step's confirm does with what is open.
func established(s phases.Step) rehearse.Established {
	e := rehearse.Established{Spared: s.Narrows, Words: s.Established}
	switch s.Established {
	case "drain":
		e.For = s.DrainFor
	case "keep":
		e.For = keepFor
	}
	return e
}

// intruder writes what is tried into a run.
type intruder struct {
	*run
	ways  []rehearse.Way
	ports map[int]uint16 // of the connections that were opened before the step
}

// tried says in which outcome each way's packet is.
type tried map[int][2]int // way → act, place among its packets

func (t tried) add(o tried) {
	for way, at := range o {
		t[way] = at
	}
}

// left says whether the way's packet left the gateway; otherwise for one that was
// not tried.
func (t tried) left(r lab.Result, way int, otherwise bool) bool {
	at, ok := t[way]
	if !ok {
		return otherwise
	}
	return r.Outcomes[at[0]].Left[at[1]] != ""
}

// fresh gives a packet a source port that nobody had.
func (i *intruder) fresh(p eval.Packet) eval.Packet {
	p.SrcPort = uint16(10000 + i.id%50000)
	return p
}

// packet writes one packet.
func (i *intruder) packet(w rehearse.Way, p eval.Packet) lab.Packet {
	i.id++
	ip := lab.IP(p, i.id, bytes.Repeat([]byte("x"), w.Fill))
	out := lab.Packet{ID: i.id, MAC: p.MAC, IP: [][]byte{ip}}
	if w.Parts > 1 {
		out.IP = lab.Fragments(ip, i.id)
	}
	if p.Hook == nft.HookForward {
		out.Iface = p.In
	}
	return out
}

// send writes one act; at says which of its packets counts for which way.
func (i *intruder) send(packets []lab.Packet, at map[int]int) tried {
	t := tried{}
	if len(packets) == 0 {
		return t
	}
	act := i.act(lab.Act{Send: packets})
	for way, n := range at {
		t[way] = [2]int{act, n}
	}
	return t
}

// attack tries the ways of some kinds, each as something new.
func (i *intruder) attack(kinds ...rehearse.How) tried {
	var packets []lab.Packet
	at := map[int]int{}
	for n, w := range i.ways {
		for _, k := range kinds {
			if w.How != k {
				continue
			}
			w.Packet = i.fresh(w.Packet)
			if k == rehearse.Answer {
				back := w.Back()
				back.Hook = nft.HookForward
				packets = append(packets, i.packet(w, back))
			}
			at[n] = len(packets)
			packets = append(packets, i.packet(w, w.Packet))
		}
	}
	return i.send(packets, at)
}

// open opens the connections that are to live through the step. Only what was
// let out is answered: another answer would be an outside host that speaks first.
func (i *intruder) open(opens map[int]bool) tried {
	var packets []lab.Packet
	at := map[int]int{}
	for n, w := range i.ways {
		if w.How != rehearse.Switch {
			continue
		}
		w.Packet = i.fresh(w.Packet)
		i.ports[n] = w.Packet.SrcPort
		at[n] = len(packets)
		packets = append(packets, i.packet(w, w.Packet))
		if opens[n] {
			packets = append(packets, i.answer(w))
		}
	}
	return i.send(packets, at)
}

// answer is the other side's.
func (i *intruder) answer(w rehearse.Way) lab.Packet {
	back := w.Back()
	back.Hook, back.In = nft.HookForward, w.Packet.Out
	return i.packet(w, back)
}

// again sends on those connections.
func (i *intruder) again() tried {
	var packets []lab.Packet
	at := map[int]int{}
	for n, w := range i.ways {
		if w.How != rehearse.Switch {
			continue
		}
		w.Packet.SrcPort = i.ports[n]
		at[n] = len(packets)
		packets = append(packets, i.packet(w, w.Packet))
	}
	return i.send(packets, at)
}

// unblock lets connections in by exceptions, ends those, and sends on.
func (i *intruder) unblock() tried {
	var first, second []lab.Packet
	var ids []string
	at := map[int]int{}
	for n, w := range i.ways {
		if w.How != rehearse.Unblock {
			continue
		}
		w.Packet = i.fresh(w.Packet)
		p := w.Packet
		id := fmt.Sprintf("e%x", 0x1000+n)
		ids = append(ids, id)
		i.act(lab.Act{Unblock: &nft.Exception{ID: id, From: netip.PrefixFrom(p.Src, p.Src.BitLen()), To: netip.PrefixFrom(p.Dst, p.Dst.BitLen()), For: time.Hour}})
		first = append(first, i.packet(w, p), i.answer(w))
		at[n] = len(second)
		second = append(second, i.packet(w, p))
	}
	i.send(first, nil)
	for _, id := range ids {
		i.act(lab.Act{End: id})
	}
	return i.send(second, at)
}

// routes leads what is for inside there, and the rest out.
func (i *intruder) routes(in compile.Input) []lab.Route {
	var cases []rehearse.Case
	for _, w := range i.ways {
		cases = append(cases, rehearse.Case{Packet: w.Packet})
		if w.Packet.Hook == nft.HookForward {
			cases = append(cases, rehearse.Case{Packet: w.Back()})
		}
	}
	var out []lab.Route
	for _, p := range rehearse.Routes(in, cases) {
		out = append(out, lab.Route{To: p[0], Iface: p[1]})
	}
	return out
}

// Summary is what of the leaks is a part of what is approved; ErrHole where a way
// is open by nobody's decision.
func Summary(leaks []rehearse.Leak) (phases.Leaks, error) {
	out := phases.Leaks{Ways: len(leaks)}
	data, err := json.Marshal(leaks)
	if err != nil {
		return out, err
	}
	sum := sha256.Sum256(data)
	out.Hash = "sha256:" + hex.EncodeToString(sum[:])
	for _, l := range leaks {
		switch {
		case l.Hole:
			return out, fmt.Errorf("%w: group %s, %s: %s leaves, and no rule, lifeline, group or line of the plan says so", ErrHole, l.Group, l.Way, l.Packet)
		case l.Open:
			out.Open++
		}
		if l.Was && !l.Open {
			out.Closes++
		}
		if !l.Was && l.Open {
			out.Opens++
		}
	}
	return out, nil
}
