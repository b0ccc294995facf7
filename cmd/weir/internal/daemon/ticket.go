package daemon

import (
	"context"
	"slices"

	"weir/cmd/weir/internal/api"
	"weir/phases"
	"weir/phases/approval"
)

// ticketsAsked fills in for how long: as long as the plan soaks.
func (d *Daemon) ticketsAsked(asked []approval.Ticket) []approval.Ticket {
	out := slices.Clone(asked)
	for i := range out {
		if out[i].For == 0 {
			out[i].For = d.machine.Plan().Enforce.Soak
		}
	}
	return out
}

// ticket uses one, or lists those of the caller.
func (d *Daemon) ticket(ctx context.Context, c caller, in api.TicketArgs) ([]phases.TicketNow, error) {
	if in.Group != "" {
		if err := d.machine.UseTicket(ctx, c.now, c.Actor, in.Group, in.Reason); err != nil {
			return nil, err
		}
		d.noteOpenings()
	}
	out := []phases.TicketNow{}
	for _, t := range d.machine.Tickets(c.now) {
		if t.Account == c.Name {
			out = append(out, t)
		}
	}
	return out, nil
}
