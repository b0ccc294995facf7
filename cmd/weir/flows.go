package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/phases/enforce"
	"weir/phases/finding"
	"weir/phases/monitor"
)

var _ = register(func(e *env) *cobra.Command {
	in := api.FlowsArgs{}
	c := &cobra.Command{
		Use:   "flows",
		Short: "list the flows of the evidence",
		Long: `Lists who talks to whom about what, as the rules will match it. Only answered
and one-way flows are listed; --all adds attempts and what outside hosts opened.

  weir flows --by service
  weir flows --group cameras -o csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out := []monitor.FlowLine{}
			if err := e.call(c.Context(), "flows", in, &out); err != nil {
				return err
			}
			switch e.output {
			case "json":
				return e.json("Flows", out)
			case "csv":
				return monitor.WriteFlowsCSV(e.out, out)
			}
			t := newTable(e.out, "GROUP", "CLIENT", "DESTINATION", "SERVICE", "STATE", "CONNS", "OUT", "IN", "DAYS", "FIRST", "LAST")
			now := e.now()
			for _, l := range out {
				client, dest := fmt.Sprint(l.Client), fmt.Sprint(l.Destination)
				if !l.Client.IsValid() {
					client = many(l.Endpoints, "endpoint")
				}
				if !l.Destination.IsValid() {
					dest = many(l.Destinations, "destination")
				}
				service := l.Service.String()
				if service == "" {
					service = "-"
				}
				state := l.State
				if l.Inbound {
					state += ", inbound"
				}
				if l.Opening != "" {
					state += ", opening"
				}
				t.row(l.Group, client, dest, service, state, l.Connections, bytesText(l.BytesOut), bytesText(l.BytesIn), l.Days, when(l.First, now), when(l.Last, now))
			}
			return t.flush()
		},
	}
	f := c.Flags()
	f.StringVar(&in.By, "by", "flow", "sum by: flow, group, service, destination")
	f.StringVar(&in.Group, "group", "", "only this group")
	f.StringVar(&in.Client, "client", "", "only this address or prefix")
	f.StringVar(&in.Service, "service", "", "only this service, such as tcp/443")
	f.BoolVar(&in.All, "all", false, "attempts and inbound flows too")
	e.outputFlag(c, "csv")
	return c
})

var _ = register(func(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "ports",
		Short: "the operational port report: used by how many, never used",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out := []monitor.PortLine{}
			if err := e.call(c.Context(), "ports", struct{}{}, &out); err != nil {
				return err
			}
			switch e.output {
			case "json":
				return e.json("Ports", out)
			case "csv":
				return monitor.WritePortsCSV(e.out, out)
			}
			t := newTable(e.out, "GROUP", "SERVICE", "NAME", "ENDPOINTS", "DESTINATIONS", "CONNS", "LAST")
			for _, l := range out {
				last := "never used"
				if !l.Last.IsZero() {
					last = when(l.Last, e.now())
				}
				t.row(l.Group, l.Service, l.Name, l.Endpoints, l.Destinations, l.Connections, last)
			}
			return t.flush()
		},
	}
	e.outputFlag(c, "csv")
	return c
})

var _ = register(func(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "endpoints",
		Short: "who talks outside, who never does, who is known but silent",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out := []monitor.EndpointLine{}
			if err := e.call(c.Context(), "endpoints", struct{}{}, &out); err != nil {
				return err
			}
			switch e.output {
			case "json":
				return e.json("Endpoints", out)
			case "csv":
				return monitor.WriteEndpointsCSV(e.out, out)
			}
			t := newTable(e.out, "GROUP", "ADDRESS", "MAC", "STATE", "FLOWS", "OUT", "IN", "OPENED FROM OUTSIDE", "SENT BY THAT", "LAST")
			for _, l := range out {
				t.row(l.Group, l.Addr, l.MAC, l.State, l.Flows, bytesText(l.BytesOut), bytesText(l.BytesIn), l.Inbound, bytesText(l.InboundOut), when(l.Last, e.now()))
			}
			return t.flush()
		},
	}
	e.outputFlag(c, "csv")
	return c
})

var _ = register(func(e *env) *cobra.Command {
	c := &cobra.Command{Use: "evidence", Short: "what the evidence rests on"}
	cover := &cobra.Command{
		Use:   "coverage",
		Short: "how much of the time was observed, with every gap and its cause",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out api.Coverage
			if err := e.call(c.Context(), "coverage", struct{}{}, &out); err != nil {
				return err
			}
			if e.output == "json" {
				return e.json("Coverage", out)
			}
			if out.From.IsZero() {
				fmt.Fprintln(e.out, "nothing was observed yet")
				return nil
			}
			fmt.Fprintf(e.out, "observed %s since %s\n", span(out.Observed), when(out.From, e.now()))
			for _, g := range out.Gaps {
				fmt.Fprintf(e.out, "  gap %s to %s: %s\n", when(g.From, e.now()), when(g.To, e.now()), safe(g.Cause))
			}
			for _, ev := range out.Events {
				fmt.Fprintf(e.out, "  %s %s to %s: %.0f %% observed\n", ev.Name, when(ev.From, e.now()), when(ev.To, e.now()), 100*ev.Share)
			}
			if out.Witnessed == nil {
				fmt.Fprintln(e.out, "bytes witnessed: unknown (the plan names no outside interface, or nothing was sent)")
			} else {
				fmt.Fprintf(e.out, "bytes witnessed: %.1f %% of what the outside interfaces sent\n", 100**out.Witnessed)
				if *out.Witnessed < 0.9 {
					fmt.Fprintln(e.out, "  usual causes of a low share: a flowtable or hardware offload, a proxy or containers on the gateway, tunnels, another path")
				}
			}
			for _, d := range out.Discovered {
				fmt.Fprintf(e.out, "group %s: %d pairs of destination and service on %s, %d of them on one day only; by estimate at least %.0f more exist\n",
					d.Group, d.Pairs, many(d.Days, "day"), d.Once, d.Unseen)
			}
			return nil
		},
	}
	e.outputFlag(cover)
	export := &cobra.Command{
		Use:   "export",
		Short: "write the evidence as text, for weir plan --evidence",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out string
			if err := e.call(c.Context(), "evidence", struct{}{}, &out); err != nil {
				return err
			}
			_, err := fmt.Fprint(e.out, out)
			return err
		},
	}
	c.AddCommand(cover, export)
	return c
})

var _ = register(func(e *env) *cobra.Command {
	in := api.LinesArgs{}
	c := &cobra.Command{
		Use:   "findings",
		Short: "the questions that wait for a person: would-be-denied, denied, rare, one-way",
		Long: `Lists what needs a person's answer, one line per group, service and destination,
however many endpoints it comes from. Answer one with its id:

  weir findings answer 3f2a9c1d0b7e needed --reason "license server"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out := []enforce.Line{}
			if err := e.call(c.Context(), "lines", in, &out); err != nil {
				return err
			}
			notes := []finding.Finding{}
			if err := e.call(c.Context(), "findings", struct{}{}, &notes); err != nil {
				return err
			}
			if e.output == "json" {
				return e.json("Findings", map[string]any{"questions": out, "findings": notes})
			}
			if len(out) == 0 {
				fmt.Fprintln(e.out, "no question waits")
			}
			t := newTable(e.out, "ID", "KIND", "GROUP", "SERVICE", "DESTINATION", "FROM", "COUNT", "OPEN", "FIRST", "LAST", "ANSWER")
			for _, l := range out {
				dest, answer := "anywhere outside", "-"
				if l.Destination.IsValid() {
					dest = l.Destination.String()
					if l.Destination.IsSingleIP() {
						dest = l.Destination.Addr().String()
					}
				}
				if l.Answer != nil {
					answer = string(l.Answer.Verdict) + " by " + l.Answer.Who
					if l.Answer.Reason != "" {
						answer += ": " + l.Answer.Reason
					}
				}
				from := many(l.Endpoints, "endpoint")
				if l.Endpoints == 1 && len(l.Examples) == 1 {
					from = l.Examples[0].String()
				}
				t.row(l.ID, l.Kind, l.Group, l.Service, dest, from, l.Count, l.Open, when(l.First, e.now()), when(l.Last, e.now()), answer)
			}
			if len(out) > 0 {
				if err := t.flush(); err != nil {
					return err
				}
			}
			for _, f := range notes {
				fmt.Fprintf(e.out, "%-8s %-15s %s\n", f.Severity, f.Kind, safe(f.Words))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&in.All, "all", false, "answered ones too")
	e.outputFlag(c)
	var reason string
	answer := &cobra.Command{
		Use:   "answer ID needed|not-needed|never",
		Short: "answer a question",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			var l enforce.Line
			if err := e.call(c.Context(), "answer", api.AnswerArgs{ID: args[0], Verdict: finding.Verdict(args[1]), Reason: reason}, &l); err != nil {
				return err
			}
			fmt.Fprintf(e.out, "answered %s: %s\n", args[1], safe(l.Finding().Flow))
			return nil
		},
	}
	answer.Flags().StringVar(&reason, "reason", "", "why")
	c.AddCommand(answer)
	return c
})

var _ = time.Second
