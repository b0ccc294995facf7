package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/exit"
)

var _ = register(func(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "backout [STEP]",
		Short: "show the recorded way back, as nft text that works without weir",
		Long: `Lists the ways back from what the kernel holds, or prints one as the nft file
that a person can run when everything else fails.

  weir backout                    list them, with their files
  weir backout off                print the file`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			h, err := e.hold(c.Context())
			if err != nil {
				return err
			}
			defer h.k.Close()
			if !h.known {
				return exit.Errorf(exit.Refused, "no way back is recorded for what the kernel holds (%s)", h.name()).
					WithHint("if everything else fails: nft delete table inet weir")
			}
			if len(args) == 0 && e.output == "json" {
				return e.json("Backouts", h.head.Backouts)
			}
			if len(args) == 0 {
				t := newTable(e.out, "TO", "FILE")
				for _, b := range h.head.Backouts {
					t.row(b.To, backoutFile(e.state, h.id, b.To))
				}
				return t.flush()
			}
			text, err := os.ReadFile(backoutFile(e.state, h.id, args[0]))
			if err != nil {
				return exit.Errorf(exit.Invalid, "no way back from %s to %q is recorded", h.name(), safe(args[0])).
					WithHint("weir backout lists them")
			}
			_, err = e.out.Write(text)
			return err
		},
	}
	e.outputFlag(c)
	return c
})

func backoutFile(state, id, to string) string {
	return filepath.Join(state, "backout", id, strings.ReplaceAll(to, "/", "+")+".nft")
}
