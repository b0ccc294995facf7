package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/plans"
)

var _ = register(func(e *env) *cobra.Command {
	in := api.UnblockArgs{}
	var long, end string
	var list, drill bool
	var how widening
	c := &cobra.Command{
		Use:   "unblock [SIGNATURE…]",
		Short: "let one flow through for a bounded time, now",
		Long: `Opens an exception that the kernel itself ends, with the connections it let in,
even if weir is dead. The plan's limits hold.

  weir unblock --from 10.20.16.12 --to 198.51.100.7 --service tcp/443 --for 1h --reason TICKET-7
  weir unblock --list
  weir unblock --end e1f2a3b4
  weir unblock --drill       exercise the procedure and measure it; a gate before the first block

Beyond the limits of plan and trust file its signers decide; one of them alone for
at most four hours, which the kernel ends:

  weir unblock --from … --to … --service … --for 24h --reason TICKET --statement > st
  weir unblock --signed st st.alice.sig st.bob.sig
  weir unblock --from … --to … --service … --for 2h --reason TICKET --emergency --sign KEYFILE`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 && how.signed == "" {
				return exit.Errorf(exit.Usage, "weir unblock takes no argument %q", args[0]).WithHint("weir unblock --help")
			}
			switch {
			case list:
				return e.listExceptions(c)
			case end != "":
				if err := e.call(c.Context(), "end", api.EndArgs{ID: end}, nil); err != nil {
					return err
				}
				fmt.Fprintf(e.out, "ended %s and the connections it let in\n", safe(end))
				return nil
			case drill:
				var out api.Drilled
				if err := e.call(c.Context(), "drill", struct{}{}, &out); err != nil {
					return err
				}
				fmt.Fprintf(e.out, "the unblock procedure works here: opened within %s, ended within %s, %s in all\n", span(out.Opened), span(out.Ended), span(out.Took))
				return nil
			}
			var err error
			if long != "" {
				if in.For, err = plans.ParseDuration(long); err != nil {
					return exit.Errorf(exit.Usage, "--for: %w", err)
				}
			}
			if how.asked() {
				return e.wider(c.Context(), how, api.WiderOf{UnblockArgs: in}, args)
			}
			var out api.Exception
			if err := e.call(c.Context(), "unblock", in, &out); err != nil {
				return err
			}
			fmt.Fprintf(e.out, "unblocked %s to %s %s: %s left, id %s\nend it: weir unblock --end %s\n", out.From, out.To, in.Service, span(out.Left), out.ID, out.ID)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&in.From, "from", "", "inside address or prefix")
	f.StringVar(&in.To, "to", "", "outside address or prefix")
	f.StringVar(&in.Service, "service", "", "tcp/443, icmp/8, esp, any, or a service of the plan")
	f.StringVar(&long, "for", "", "how long: 30m, 4h")
	f.StringVar(&in.Reason, "reason", "", "why; it goes into the journal")
	f.BoolVar(&list, "list", false, "list the live exceptions")
	f.StringVar(&end, "end", "", "end one by its id")
	f.BoolVar(&drill, "drill", false, "exercise the procedure on this machine")
	how.flags(c)
	c.MarkFlagsMutuallyExclusive("list", "end", "drill", "from", "signed")
	e.outputFlag(c)
	return c
})

func (e *env) listExceptions(c *cobra.Command) error {
	out := []api.Exception{}
	if err := e.call(c.Context(), "unblocks", struct{}{}, &out); err != nil {
		return err
	}
	if e.output == "json" {
		return e.json("Exceptions", out)
	}
	t := newTable(e.out, "ID", "KIND", "FROM", "TO", "SERVICE", "LEFT", "BYTES", "BY", "WHAT")
	for _, x := range out {
		to, service := "-", "any"
		if x.To.IsValid() {
			to = x.To.String()
		}
		if x.Service.Proto != 0 {
			service = x.Service.String()
		}
		t.row(x.ID, x.Kind, x.From, to, service, span(x.Left), bytesText(x.Bytes), x.By, x.Reason)
	}
	return t.flush()
}

var _ = register(func(e *env) *cobra.Command {
	in := api.QuarantineArgs{}
	var long string
	var how widening
	c := &cobra.Command{
		Use:   "quarantine HOST",
		Short: "cut one endpoint off now, live connections too, for a bounded time",
		Long: `  weir quarantine 10.20.16.12 --for 4h --reason "beacon"
  weir quarantine 10.20.16.12 --end

Longer than the trust file lets one operator, its signers decide; one of them alone
for at most four hours:

  weir quarantine 10.20.16.12 --for 3d --reason "beacon" --statement > st
  weir quarantine --signed st st.alice.sig st.bob.sig
  weir quarantine 10.20.16.12 --for 4h --reason "beacon" --emergency --sign KEYFILE`,
		Args: func(c *cobra.Command, args []string) error {
			if how.signed != "" {
				return nil // the signatures
			}
			return cobra.ExactArgs(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if how.signed != "" {
				return e.wider(c.Context(), how, api.WiderOf{}, args)
			}
			in.Host = args[0]
			if long != "" {
				var err error
				if in.For, err = plans.ParseDuration(long); err != nil {
					return exit.Errorf(exit.Usage, "--for: %w", err)
				}
			}
			if how.asked() {
				return e.wider(c.Context(), how, api.WiderOf{Host: in.Host, UnblockArgs: api.UnblockArgs{For: in.For, Reason: in.Reason}}, nil)
			}
			if err := e.call(c.Context(), "quarantine", in, nil); err != nil {
				return err
			}
			if in.End {
				fmt.Fprintf(e.out, "ended the quarantine of %s\n", safe(in.Host))
				return nil
			}
			fmt.Fprintf(e.out, "%s is cut off for %s; end it: weir quarantine %s --end\n", safe(in.Host), span(in.For), safe(in.Host))
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&long, "for", "", "how long: 4h")
	f.StringVar(&in.Reason, "reason", "", "why")
	f.BoolVar(&in.End, "end", false, "end it")
	how.flags(c)
	c.MarkFlagsMutuallyExclusive("end", "statement", "sign", "signed")
	c.MarkFlagsMutuallyExclusive("end", "emergency")
	return c
})
