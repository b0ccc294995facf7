// Package rehearsal plays a frozen step and its ways back in a throw-away
// gateway before anybody approves it: the recorded bytes, real packets, the
// policy read by something that is not the compiler, and the hash of what the
// kernel holds before and after. It changes nothing of this machine.
package rehearsal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/nft"
	"weir/nft/kernel"
	"weir/nft/lab"
	"weir/phases"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/rehearse"
)

// ErrFailed is returned where the step, or a way back from it, does not do in
// the throw-away gateway what it is meant to do.
var ErrFailed = errors.New("the rehearsal failed")

// upTo is how many recorded flows are played.
const upTo = 400

// lease is longer than any rehearsal.
const lease = 10 * time.Minute

// Play plays scripts; lab.Run does.
type Play func(context.Context, lab.Script) (lab.Result, error)

// Run rehearses a frozen step upon the one that it was frozen over, which is nil
// for the first.
func Run(ctx context.Context, f phases.Frozen, over *phases.Frozen, recorded []rehearse.Flow, play Play) (phases.Rehearsal, error) {
	r, err := newRun(f, over, recorded)
	if err != nil {
		return phases.Rehearsal{}, err
	}
	result, err := play(ctx, r.script)
	if errors.Is(err, lab.ErrNotAllowed) || err != nil && ctx.Err() != nil {
		return phases.Rehearsal{}, err
	}
	for _, c := range r.checks {
		if c.of >= len(result.Outcomes) {
			break // it ended before: err says why
		}
		if err := c.check(result.Outcomes); err != nil {
			return phases.Rehearsal{}, fmt.Errorf("%w: %w", ErrFailed, err)
		}
	}
	if err != nil {
		return phases.Rehearsal{}, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	r.out.Took = result.Took
	return r.out, nil
}

// run is a rehearsal being written: the script, and what is looked at when it
// was played.
type run struct {
	script lab.Script
	checks []check
	out    phases.Rehearsal
	id     uint32 // of the last packet
}

// check looks at outcomes up to that of one act.
type check struct {
	of    int
	check func([]lab.Outcome) error
}

func newRun(f phases.Frozen, over *phases.Frozen, recorded []rehearse.Flow) (*run, error) {
	r := &run{script: lab.Script{Revisions: []nft.Revision{f.OffRev, f.Rules}}}
	r.out.Of = len(recorded)
	inputs := []compile.Input{f.Input}
	stable, underneath := "", ""
	if over != nil {
		inputs = append(inputs, over.Input)
		r.script.Revisions = append(r.script.Revisions, over.Rules)
		stable, underneath = over.Rules.ID, over.Step.Name
	}
	r.script.Inside, r.script.Outside = rehearse.Ifaces(inputs...)
	def, off, err := ways(f, over)
	if err != nil {
		return nil, err
	}

	if over != nil {
		r.act(lab.Act{Load: over.Rules.ID})
		r.act(lab.Act{Rollback: &nft.Rollback{ID: over.Rules.ID, Entry: over.Rules.Entry, Hooks: over.Hooks, Tx: "stable", Kind: nft.TxRollback}})
		if err := r.send(over.Input, over.Rules, nil, recorded, "before, under "+underneath); err != nil {
			return nil, err
		}
	}
	r.act(lab.Act{Load: f.OffRev.ID})
	r.act(lab.Act{Load: f.Rules.ID})
	before := r.read()
	r.act(lab.Act{Arm: &nft.Arm{ID: f.Rules.ID, Entry: f.Rules.Entry, Tx: "arm1", Lease: lease, Over: stable}})
	if err := r.send(f.Input, f.Rules, nil, recorded, "under "+f.Step.Name); err != nil {
		return nil, err
	}
	// Once from the trial.
	if err := r.back(def, before); err != nil {
		return nil, err
	}
	r.out.Back = def.To
	if def.Digest != "" {
		err = r.send(over.Input, over.Rules, def.Nft.Alert, recorded, "back under "+def.To)
	} else {
		err = r.sendOff(f, recorded)
	}
	if err != nil {
		return nil, err
	}
	// Once from the confirmed step, to off.
	r.act(lab.Act{Arm: &nft.Arm{ID: f.Rules.ID, Entry: f.Rules.Entry, Tx: "arm2", Lease: lease, Over: def.Nft.ID}})
	r.act(lab.Act{Confirm: &nft.Confirm{ID: f.Rules.ID, Entry: f.Rules.Entry, Tx: "confirm", NoBack: def.Nft.Alert}})
	if err := r.back(off, before); err != nil {
		return nil, err
	}
	if def.Digest != "" {
		if err := r.sendOff(f, recorded); err != nil {
			return nil, err
		}
	}
	r.checks = append(r.checks, check{before, func(o []lab.Outcome) error {
		r.out.Hash = hash(holding(o[before].Holds, def.Nft))
		return nil
	}})
	return r, nil
}

// ways returns the way back to the step before and the one to off.
func ways(f phases.Frozen, over *phases.Frozen) (def, off phases.Backout, err error) {
	i := slices.IndexFunc(f.Backouts, func(b phases.Backout) bool { return b.Digest == f.OverStep })
	if n := len(f.Backouts); n == 0 || i < 0 || over == nil && f.Backouts[i].To != phases.StepOff {
		return def, off, fmt.Errorf("%w: it has no way back to the step before", ErrFailed)
	}
	return f.Backouts[i], f.Backouts[len(f.Backouts)-1], nil
}

func (r *run) act(a lab.Act) int {
	r.script.Acts = append(r.script.Acts, a)
	return len(r.script.Acts) - 1
}

func (r *run) read() int { return r.act(lab.Act{Read: true}) }

// send plays the packets of a step and has them judged by what it was compiled
// from.
func (r *run) send(in compile.Input, rev nft.Revision, back []string, recorded []rehearse.Flow, when string) error {
	judge, err := rehearse.NewJudge(in, rev, back)
	if err != nil {
		return err
	}
	cases := rehearse.Cases(in, recorded, upTo)
	if len(cases) == 0 {
		return nil
	}
	var routes []lab.Route
	for _, p := range rehearse.Routes(in, cases) {
		routes = append(routes, lab.Route{To: p[0], Iface: p[1]})
	}
	r.act(lab.Act{Routes: routes})
	first := r.read()
	sent := r.act(lab.Act{Send: r.packets(cases)})
	last := r.read()
	r.out.Packets += len(cases)
	n := 0
	for _, c := range cases {
		if c.Of == rehearse.Recorded {
			n++
		}
	}
	r.out.Recorded = max(r.out.Recorded, n)
	r.checks = append(r.checks, check{last, func(o []lab.Outcome) error {
		counted := map[string]uint64{}
		for name, v := range o[last].Counters {
			counted[name] = v - o[first].Counters[name]
		}
		if err := judge.Check(cases, o[sent].Left, counted); err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
		return nil
	}})
	return nil
}

// sendOff plays the step's packets where everything is open.
func (r *run) sendOff(f phases.Frozen, recorded []rehearse.Flow) error {
	in := f.Input
	in.Off = true
	return r.send(in, f.OffRev, nil, recorded, "back under "+phases.StepOff)
}

func (r *run) packets(cases []rehearse.Case) []lab.Packet {
	var out []lab.Packet
	for _, c := range cases {
		r.id++
		// No two packets are of one connection, whichever act they are of.
		p := c.Packet
		if c.AnyPort {
			p.SrcPort = uint16(10000 + r.id%50000)
		}
		s := lab.Packet{ID: r.id, MAC: p.MAC, IP: [][]byte{lab.IP(p, r.id, nil)}}
		if p.Hook == nft.HookForward {
			s.Iface = p.In
		}
		out = append(out, s)
	}
	return out
}

// back sends a recorded way back as its file has it, and wants the kernel to
// hold afterwards what it held before, with the way's target in force.
func (r *run) back(b phases.Backout, before int) error {
	raw, err := kernel.EncodeRollback(b.Nft)
	if err != nil {
		return fmt.Errorf("cannot encode the way back to %s: %w", b.To, err)
	}
	r.act(lab.Act{Bytes: raw})
	after := r.read()
	r.checks = append(r.checks, check{after, func(o []lab.Outcome) error {
		want, got := holding(o[before].Holds, b.Nft), o[after].Holds
		if hash(want) == hash(got) {
			return nil
		}
		return fmt.Errorf("after the way back to %s the kernel does not hold what it held before: %s", b.To, differences(want, got))
	}})
	return nil
}

// holding is what the kernel holds once a rollback was done from where it held
// other trial and stable maps.
func holding(holds map[string]string, r nft.Rollback) map[string]string {
	out := maps.Clone(holds)
	for _, hook := range r.Hooks {
		for _, f := range []flow.Family{flow.IPv4, flow.IPv6} {
			delete(out, lab.Holding("trial", hook, f))
			delete(out, lab.Holding("stable", hook, f))
			if _, ok := r.Entry[hook]; ok && r.ID != "" {
				out[lab.Holding("stable", hook, f)] = r.ID
			}
		}
	}
	for _, g := range r.Alert {
		out[lab.HoldingBack(g)] = nft.AlertChain(g)
	}
	return out
}

func lines(holds map[string]string) []string {
	var out []string
	for k, v := range holds {
		out = append(out, k+" "+v+"\n")
	}
	slices.Sort(out)
	return out
}

func hash(holds map[string]string) string {
	sum := sha256.Sum256([]byte(strings.Join(lines(holds), "")))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func differences(want, got map[string]string) string {
	var out []string
	for k, v := range want {
		if got[k] != v {
			out = append(out, fmt.Sprintf("%s is %q, not %q", k, got[k], v))
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			out = append(out, k+" is new")
		}
	}
	slices.Sort(out)
	return strings.Join(out[:min(3, len(out))], "; ")
}
