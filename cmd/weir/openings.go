package main

import (
	"context"
	"fmt"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/daemon"
	"weir/phases"
)

// showOpenings prints the openings, from the plain copy of the journal where no
// daemon answers: then without what left.
func (e *env) showOpenings(ctx context.Context) error {
	out := []api.Opening{}
	bare, err := e.readOnly(ctx, "openings", &out)
	if bare != nil {
		var records []phases.Record
		if records, _, err = daemon.ReadHistory(e.state); err == nil {
			fmt.Fprintln(e.err, "weir: no daemon answers; this is from the plain copy of the journal, which does not know what left, nor of unblocks")
			for _, o := range phases.Fold(records).Openings {
				out = append(out, api.Opening{ID: o.ID(), Kind: string(o.Kind), From: o.Begin, To: o.End, Settled: o.Settled, Groups: o.Groups, By: o.By.String(), Words: o.Words})
			}
		}
	}
	if err != nil {
		return err
	}
	if e.output == "json" {
		return e.json("Openings", out)
	}
	if len(out) == 0 {
		fmt.Fprintln(e.out, "no gate was ever more open than was approved")
		return nil
	}
	for i, o := range out {
		if i > 0 {
			fmt.Fprintln(e.out)
		}
		end := "goes on"
		switch {
		case !o.To.IsZero():
			end = "to " + when(o.To, e.now())
		case !o.Settled.IsZero():
			end = "left so by a step confirmed " + when(o.Settled, e.now())
		}
		fmt.Fprintf(e.out, "%s  from %s, %s: %s (%s)\n", o.Kind, when(o.From, e.now()), end, safe(o.Words), safe(o.By))
		if len(o.Groups) > 0 {
			fmt.Fprintf(e.out, "  groups %v\n", o.Groups)
		}
		if o.Unseen {
			fmt.Fprintln(e.out, "  the table was gone: what left then may not have been seen")
		}
		if bare != nil {
			continue
		}
		what := "would have been denied"
		if o.Unknown || o.Kind == "unblock" {
			what = "left"
		}
		fmt.Fprintf(e.out, "  %s of %s to %s %s; %d bytes would have passed anyhow\n", many(int(o.Bytes), "byte"), many(o.Endpoints, "endpoint"), many(o.Destinations, "destination"), what, o.Passed)
		if len(o.Left) == 0 {
			continue
		}
		t := newTable(e.out, "  GROUP", "FROM", "TO", "SERVICE", "CONNECTIONS", "BYTES", "LAST")
		for _, l := range o.Left {
			t.row("  "+l.Group, l.Client, l.Server, l.Service, l.Connections, l.Bytes, when(l.Last, e.now()))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	return nil
}
