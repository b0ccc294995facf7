package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/phases/rehearse"
)

var _ = register(func(e *env) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "leaktest [DIGEST]",
		Short: "play the intruder against the next step: what gets out, and by whose decision",
		Long: `From each group, and in both families, tries about 25 ways out with real packets
against the recorded bytes of the frozen step that waits (else of the one on trial,
else of the one in force), in a throw-away network namespace: unseen HTTPS, QUIC,
names from the resolver and from others, payload in ICMP, GRE, ESP, 6in4, fragments,
the address of a group that may do more, an outside host that speaks first, tunnels
that live through the step and through the end of an unblock. Each is closed, or
open by a rule, a lifeline, its group or a line of the plan; what is open by nobody's
decision is a hole. Nothing leaves this machine.

  weir leaktest              what stays open, and what changes against the step before
  weir leaktest --all        the closed ones too
  weir leaktest -o json

Exit 2 where there is a hole.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var in api.DigestArgs
			if len(args) > 0 {
				in.Digest = args[0]
			}
			var out api.Leaktest
			if err := e.call(c.Context(), "leaktest", in, &out); err != nil {
				return err
			}
			holes := 0
			for _, l := range out.Ways {
				if l.Hole {
					holes++
				}
			}
			if e.output == "json" {
				if err := e.json("Leaktest", out); err != nil {
					return err
				}
			} else {
				e.showLeaks(out, all, holes)
			}
			if holes > 0 {
				return &difference{}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all", false, "list the closed ways too")
	e.outputFlag(c)
	return c
})

func (e *env) showLeaks(out api.Leaktest, all bool, holes int) {
	fmt.Fprintf(e.out, "step %s, frozen as %s, against %s before it\n", safe(out.Step), short(out.Digest), safe(out.Over))
	t := newTable(e.out, "  group", "family", "way", "before", "after", "packet", "by")
	for _, l := range out.Ways {
		if all || l.Open || l.Was != l.Open {
			t.row("  "+l.Group, string(l.Family), l.Way, opened(l.Was), change(l), l.Packet, safe(l.By))
		}
	}
	t.flush()
	open, closes := 0, 0
	for _, l := range out.Ways {
		if l.Open {
			open++
		}
		if l.Was && !l.Open {
			closes++
		}
	}
	fmt.Fprintf(e.out, "%d ways out tried: %d open, %d closed by this step\n", len(out.Ways), open, closes)
	if holes > 0 {
		fmt.Fprintf(e.out, "%s: open, and nobody decided so\n", many(holes, "HOLE"))
	}
	if out.Approved {
		fmt.Fprintln(e.out, "this list is a part of the frozen step")
	}
}

func opened(open bool) string {
	if open {
		return "open"
	}
	return "closed"
}

func change(l rehearse.Leak) string {
	if l.Was != l.Open {
		return opened(l.Open) + " *"
	}
	return opened(l.Open)
}
