package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/daemon"
	"weir/phases"
)

var _ = register(func(e *env) *cobra.Command {
	var openings bool
	c := &cobra.Command{
		Use:   "history",
		Short: "every step, approval, rollback and unblock, with who and when",
		Long: `With --openings: each time in which a gate was more open than was last approved,
by a rollback, a trial that nobody confirmed, an unblock, a reboot or somebody
else's hand; who did it, and what left that would have been denied.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if openings {
				return e.showOpenings(c.Context())
			}
			out := []phases.Record{}
			bare, err := e.readOnly(c.Context(), "history", &out)
			if bare != nil {
				var torn int
				if out, torn, err = daemon.ReadHistory(e.state); err == nil {
					fmt.Fprintln(e.err, "weir: no daemon answers; this is the plain copy of the journal")
				}
				if torn > 0 {
					fmt.Fprintf(e.err, "weir: %s of it cannot be read; the journal has them\n", many(torn, "line"))
				}
			}
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.json("History", out)
			}
			t := newTable(e.out, "SEQ", "WHEN", "WHO", "WHAT", "")
			for _, r := range out {
				what := string(r.Kind)
				if r.Op != "" {
					what += " " + string(r.Op)
				}
				t.row(r.Seq, when(r.At, e.now()), r.Actor, what, r.Words)
			}
			return t.flush()
		},
	}
	c.Flags().BoolVar(&openings, "openings", false, "the times in which a gate stood open, and what left")
	e.outputFlag(c)
	return c
})
