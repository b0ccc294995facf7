package daemon

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"weir/nft/capture"
	"weir/phases"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
)

// What an opening let in ends when it is closed, whatever the plan does with
// older connections: each packet is judged again, and these are not spared. Their
// entries stay in the connection table: without them the next packet of the
// outside host would make a new one in its own direction, and what the inside host
// sends would pass as its answers.

// endFor is how long they are judged after the last that is spared.
const endFor = 24 * time.Hour

// endOpenings ends the connections of the openings that were closed since it was
// last called.
func (d *Daemon) endOpenings(ctx context.Context) error {
	s := d.machine.State()
	var over []phases.Opening
	for _, o := range s.Openings {
		// A lapse gave nothing that a confirmed step had taken: what the plan says of
		// older connections holds.
		if !o.End.IsZero() && o.Kind != phases.OpenLapse && !d.told.ended[o.ID()] {
			over = append(over, o)
		}
	}
	if len(over) == 0 || !d.machine.Look().Present {
		return nil
	}
	f, err := d.frozenStep(s.Stable)
	if err != nil {
		return err
	}
	p, err := d.machine.PlanInForce()
	if err != nil {
		return err
	}
	index := policy.NewIndex(f.Input.Policy)
	var pairs [][2]netip.Addr
	err = capture.Dump(ctx, capture.Options{Now: d.cfg.Now}, func(r flow.Record) error {
		r, ok := monitor.InScope(p.Scope, r)
		if !ok || r.Inbound {
			return nil
		}
		group := d.evidence.GroupOf(d.classes, r)
		if t, ok := f.Step.Target(group); !ok || !t.Treatment.Denies() {
			return nil
		}
		if _, ok := index.Allows(group, r.Flow); ok {
			return nil
		}
		began := func(o phases.Opening) bool {
			return slices.Contains(o.Groups, group) && !r.First.Before(o.Begin) && r.First.Before(o.End)
		}
		if slices.ContainsFunc(over, began) {
			pairs = append(pairs, [2]netip.Addr{r.Client, r.Server})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(pairs) > 0 {
		spared := f.Step.DrainFor
		if f.Step.Established == "keep" {
			spared = phases.KeepFor
		}
		if err := d.kernel.NeverSpare(ctx, pairs, spared+endFor); err != nil {
			return err
		}
		d.log.Info("ended the connections that an opening let in", "pairs", len(pairs))
	}
	if d.told.ended == nil {
		d.told.ended = map[string]bool{}
	}
	for _, o := range over {
		d.told.ended[o.ID()] = true
	}
	return nil
}
