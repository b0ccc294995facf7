package daemon

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/rehearsal"
	"weir/nft/host"
	"weir/nft/lab"
	"weir/phases"
	"weir/phases/rehearse"
)

// rehearseFor bounds a rehearsal: the loop waits for it. The watchdog of weir's
// unit is longer.
const rehearseFor = 90 * time.Second

// rehearse plays a frozen step and its ways back with the recorded flows.
func (d *Daemon) rehearse(ctx context.Context, f phases.Frozen, over *phases.Frozen) (phases.Rehearsal, error) {
	ctx, cancel := context.WithTimeout(ctx, rehearseFor)
	defer cancel()
	r, err := rehearsal.Run(ctx, f, over, d.recordedFlows(), d.play)
	if err != nil {
		return r, err
	}
	leaks, err := rehearsal.Leaks(ctx, f, over, d.play)
	if err != nil {
		return r, err
	}
	sum, err := rehearsal.Summary(leaks)
	if err != nil {
		return r, err
	}
	r.Leaks = &sum
	d.log.Info(r.String(), "step", f.Step.Name)
	return r, nil
}

// leaktest plays the intruder against the bytes of the step that waits, else of
// the one on trial, else of the one in force, and lists what became of each way.
func (d *Daemon) leaktest(ctx context.Context, c caller, in api.DigestArgs) (api.Leaktest, error) {
	head, err := d.frozen(ctx, c, in)
	if err != nil {
		return api.Leaktest{}, err
	}
	f, err := d.frozenStep(head.Digest)
	if err != nil {
		return api.Leaktest{}, err
	}
	out := api.Leaktest{Step: f.Step.Name, Digest: head.Digest, Over: phases.StepOff}
	var over *phases.Frozen
	if f.OverStep != "" {
		o, err := d.frozenStep(f.OverStep)
		if err != nil {
			return out, err
		}
		over, out.Over = &o, o.Step.Name
	}
	ctx, cancel := context.WithTimeout(ctx, rehearseFor)
	defer cancel()
	if out.Ways, err = rehearsal.Leaks(ctx, f, over, d.play); err != nil {
		return out, err
	}
	sum, err := rehearsal.Summary(out.Ways)
	if err == nil {
		out.Approved = f.Rehearsal != nil && f.Rehearsal.Leaks != nil && f.Rehearsal.Leaks.Hash == sum.Hash
	} // a hole is in the list
	out.Sum = sum
	return out, nil
}

// play has a script played: by the rehearsal's own service where it listens, which
// has no right outside of its namespaces, else by a child of this process.
func (d *Daemon) play(ctx context.Context, s lab.Script) (lab.Result, error) {
	socket := filepath.Join(filepath.Dir(d.cfg.Socket), "lab.sock")
	if _, err := os.Stat(socket); err == nil {
		return lab.Ask(ctx, socket, s)
	}
	return lab.Run(ctx, s)
}

// recordedFlows are the flows of the evidence with who opened them.
func (d *Daemon) recordedFlows() []rehearse.Flow {
	var own []netip.Addr
	machine, err := host.Look("/")
	if err != nil {
		d.log.Error("cannot read the interfaces", "error", err)
	}
	for _, i := range machine.Interfaces {
		for _, p := range i.Prefixes {
			own = append(own, p.Addr())
		}
	}
	var out []rehearse.Flow
	for _, r := range d.rows(d.cfg.Now(), statusAge) {
		out = append(out, rehearse.Flow{Flow: r.Flow(), Group: r.Group, Inbound: r.Inbound, Self: slices.Contains(own, r.Client)})
	}
	return out
}
