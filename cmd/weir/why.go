package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/daemon"
	"weir/cmd/weir/internal/exit"
	"weir/nft"
	"weir/phases"
	"weir/plans"
)

var _ = register(func(e *env) *cobra.Command {
	var since string
	c := &cobra.Command{
		Use:   "why HOST",
		Short: `is it the firewall? what was denied to one host`,
		Long: `Says which group a host is in, how it is treated, what was denied to it or would
be, and prints the unblock line to copy.

  weir why 10.20.16.12 --since 1h`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in := api.WhyArgs{Host: args[0]}
			if since != "" {
				d, err := plans.ParseDuration(since)
				if err != nil {
					return exit.Errorf(exit.Usage, "--since: %w", err)
				}
				in.Since = d
			}
			var out api.Why
			if err := e.call(c.Context(), "why", in, &out); err != nil {
				return err
			}
			if e.output == "json" {
				return e.json("Why", out)
			}
			switch out.Side {
			case "outside":
				fmt.Fprintf(e.out, "%s is outside: weir judges what inside hosts open; ask for one of them, or: weir explain HOST %s SERVICE\n", out.Host, out.Host)
				return nil
			case "own":
				fmt.Fprintf(e.out, "%s is this machine's own address: the plan does not judge what it sends itself\n", out.Host)
				return nil
			}
			fmt.Fprintf(e.out, "%s is in group %s, treatment %s, %s\n", out.Host, out.Group, out.Treatment, many(out.Rules, "rule"))
			if out.Quarantined > 0 {
				fmt.Fprintf(e.out, "it is quarantined for %s more: weir quarantine %s --end\n", span(out.Quarantined), out.Host)
			}
			if len(out.Denied) == 0 {
				fmt.Fprintln(e.out, "weir denied it nothing in that time")
			}
			for i, l := range out.Denied {
				fmt.Fprintf(e.out, "denied  %s  last %s, %s logged\n", l.Flow, when(l.Last, e.now()), many(int(l.Count), "time"))
				if i == 0 && out.Quarantined == 0 { // an unblock does not end a quarantine
					fmt.Fprintf(e.out, "        weir unblock --from %s --to %s --service %s --for 1h --reason TICKET\n", l.Flow.Client, l.Flow.Server, l.Flow.Service())
				}
			}
			for _, l := range out.Lines {
				fmt.Fprintf(e.out, "would be denied  %s  last %s\n", l.Flow, when(l.Last, e.now()))
			}
			return nil
		},
	}
	c.Flags().StringVar(&since, "since", "1h", "how far to look back")
	e.outputFlag(c)
	return c
})

var _ = register(func(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "explain SRC DST SERVICE",
		Short: "which rule decides a flow now, and after the next step",
		Long:  `  weir explain 10.20.16.12 198.51.100.7 tcp/443`,
		Args:  cobra.ExactArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			var out api.Explained
			err := e.call(c.Context(), "explain", api.ExplainArgs{Src: args[0], Dst: args[1], Service: args[2]}, &out)
			if x := exit.From(err); x != nil && x.Code == exit.NoDaemon {
				out, err = e.bareExplain(c.Context(), args)
			}
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.json("Explained", out)
			}
			switch {
			case out.Inbound:
				fmt.Fprintf(e.out, "%s, opened from outside: no group decides it, scope.inbound does\n", out.Flow)
			case out.Group == "": // without the daemon, or not from inside
				fmt.Fprintln(e.out, out.Flow)
			default:
				fmt.Fprintf(e.out, "%s, group %s\n", out.Flow, out.Group)
			}
			show := func(when string, d api.Decision) {
				fmt.Fprintf(e.out, "%-5s %s: %s", when, d.Step, d.Verdict)
				if d.Reason != "" {
					fmt.Fprintf(e.out, " (%s)", safe(d.Reason))
				}
				fmt.Fprintln(e.out)
				if d.Rule != "" {
					fmt.Fprintf(e.out, "      by %s: %s\n", d.Chain, d.Rule)
				}
			}
			show("now", out.Now)
			if out.Next != nil {
				show("next", *out.Next)
			}
			return nil
		},
	}
	e.outputFlag(c)
	return c
})

// bareExplain is explain without a daemon: the kernel says which revision is in
// force, and its frozen file what is in it.
func (e *env) bareExplain(ctx context.Context, args []string) (api.Explained, error) {
	f, err := daemon.ParseFlow(args[0], args[1], args[2])
	if err != nil {
		return api.Explained{}, err
	}
	h, err := e.hold(ctx)
	if err != nil {
		return api.Explained{}, err
	}
	defer h.k.Close()
	out := api.Explained{Flow: f}
	if !h.known {
		out.Now = api.Decision{Step: phases.StepOff, Verdict: "accept", Rule: "nothing is in force"}
		return out, nil
	}
	frozen, err := readFrozen(e.state, h.head)
	if err != nil {
		return out, err
	}
	hook := nft.HookForward
	if !slices.Contains(frozen.Input.Scope.Hooks, "forward") {
		hook = nft.HookOutput
	}
	if out.Now, err = daemon.Decide(frozen, hook, f, "", false); err != nil {
		return out, err
	}
	out.Now, err = daemon.Override(ctx, h.k, h.look, f, "", out.Now)
	return out, err
}
