package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/nft"
	"weir/nft/kernel"
	"weir/phases"
	"weir/phases/flow"
	"weir/plans"
)

// reader is what the kernel says beside the revision in force.
type reader interface {
	Exceptions(context.Context) ([]nft.Exception, error)
	Quarantines(context.Context) ([]kernel.Quarantined, error)
}

// Override corrects a decision of the revision in force by what lies outside
// every revision: an absent table, a quarantine, a group put back, an unblock.
// The quarantine comes first, as in the kernel.
func Override(ctx context.Context, k reader, look nft.Look, q flow.Flow, group string, now api.Decision) (api.Decision, error) {
	if !look.Present {
		return api.Decision{Step: phases.StepOff, Verdict: "accept", Chain: "kernel", Rule: "nothing of weir is in it: everything passes"}, nil
	}
	quar, err := k.Quarantines(ctx)
	if err != nil {
		return now, err
	}
	for _, x := range quar {
		if x.Addr == q.Client {
			return api.Decision{Step: now.Step, Verdict: "drop", Chain: "quarantine", Rule: left(x.Addr.String(), x.Left)}, nil
		}
	}
	if now.Verdict == "accept" {
		return now, nil
	}
	if slices.Contains(look.Back, group) {
		return api.Decision{Step: now.Step, Verdict: "accept", Chain: "rollback", Rule: "group " + group + " was put back to alert"}, nil
	}
	live, err := k.Exceptions(ctx)
	if err != nil {
		return now, err
	}
	for _, x := range live {
		if contains(x.From, q.Client) && contains(x.To, q.Server) && (x.Service.Proto == 0 || x.Service.Contains(q.Service())) {
			return api.Decision{Step: now.Step, Verdict: "accept", Chain: "unblock", Rule: left(x.ID, x.For)}, nil
		}
	}
	return now, nil
}

func contains(p netip.Prefix, a netip.Addr) bool { return p.Contains(a.Unmap()) }

func left(what string, d time.Duration) string {
	return fmt.Sprintf("%s, %s left", what, plans.FormatDuration(d.Round(time.Second)))
}
