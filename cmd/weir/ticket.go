package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/phases"
	"weir/phases/approval"
	"weir/plans"
)

var _ = register(func(e *env) *cobra.Command {
	in := api.TicketArgs{}
	c := &cobra.Command{
		Use:   "ticket [GROUP]",
		Short: "put your group alone back to alert, where signers gave you a ticket for it",
		Long: `Signers may give the owner of a group a ticket together with the step that begins to
deny it something. With it the owner, who needs no other right, puts that group alone
back to alert: nothing of it is denied any more. Nobody else is touched, and nothing
further is armed until an operator says "weir resume".

  weir ticket                                     list your tickets
  weir ticket desks --reason "the till is down"   use one

  weir request --ticket desks=carol --ticket-for 2d    asks the signers for one`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				if in.Group = args[0]; in.Reason == "" {
					return exit.Errorf(exit.Usage, "why? it goes into the journal").WithHint("weir ticket %s --reason WORDS", args[0])
				}
			}
			out := []phases.TicketNow{}
			if err := e.call(c.Context(), "ticket", in, &out); err != nil {
				return err
			}
			if e.output == "json" {
				return e.json("Tickets", out)
			}
			if in.Group != "" {
				fmt.Fprintf(e.out, "group %s is back in alert: nothing of it is denied, seen in the kernel\nthe rollout is paused until an operator resumes it\n", safe(in.Group))
			}
			if in.Group == "" && len(out) == 0 {
				fmt.Fprintln(e.out, "no ticket of yours is in force")
			}
			for _, t := range out {
				fmt.Fprintf(e.out, "ticket    %s\n", ticketText(t, e.now()))
			}
			return nil
		},
	}
	c.Flags().StringVar(&in.Reason, "reason", "", "why")
	e.outputFlag(c)
	return c
})

func ticketText(t phases.TicketNow, now time.Time) string {
	until := text(t.For) + " from the confirm on"
	if !t.Until.IsZero() {
		until = "until " + when(t.Until, now)
	}
	return safe(fmt.Sprintf("%s may put group %s back to alert %s, %s", t.Account, t.Group, many(t.Left, "time"), until))
}

func text(d time.Duration) string { return plans.FormatDuration(d) }

// asking is the tickets of a request.
type asking struct {
	tickets []string
	times   int
	long    string
}

func (a *asking) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&a.tickets, "ticket", nil, "GROUP=ACCOUNT: the account may put this group alone back to alert; the signers agree to it with the step")
	c.Flags().IntVar(&a.times, "ticket-times", 1, "how often")
	c.Flags().StringVar(&a.long, "ticket-for", "", "how long after the confirm; as long as the plan soaks where it is left out")
}

func (a asking) read() ([]approval.Ticket, error) {
	var long time.Duration
	var err error
	if a.long != "" {
		if long, err = plans.ParseDuration(a.long); err != nil {
			return nil, exit.Errorf(exit.Usage, "--ticket-for: %w", err)
		}
	}
	var out []approval.Ticket
	for _, t := range a.tickets {
		group, account, ok := strings.Cut(t, "=")
		if !ok {
			return nil, exit.Errorf(exit.Usage, "cannot read the ticket %q", t).WithHint("write it as --ticket desks=carol")
		}
		out = append(out, approval.Ticket{Group: group, Account: account, Times: a.times, For: long})
	}
	return out, nil
}
