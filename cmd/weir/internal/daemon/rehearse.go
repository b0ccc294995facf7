package daemon

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"weir/cmd/weir/internal/rehearsal"
	"weir/nft/host"
	"weir/nft/lab"
	"weir/phases"
	"weir/phases/rehearse"
)

// rehearseFor bounds a rehearsal: the loop waits for it.
const rehearseFor = 30 * time.Second

// rehearse plays a frozen step and its ways back with the recorded flows.
func (d *Daemon) rehearse(ctx context.Context, f phases.Frozen, over *phases.Frozen) (phases.Rehearsal, error) {
	ctx, cancel := context.WithTimeout(ctx, rehearseFor)
	defer cancel()
	r, err := rehearsal.Run(ctx, f, over, d.recordedFlows(), lab.Run)
	if err == nil {
		d.log.Info(r.String(), "step", f.Step.Name)
	}
	return r, err
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
