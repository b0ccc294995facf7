package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
)

var _ = register(func(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "apply PLAN",
		Short: "register a plan with the daemon; nothing in the kernel changes",
		Long: `Registers a plan as the next revision. The step in force stays in force. What
waits for approval is void. What only widens keeps its place; what narrows, is
new or has other members goes through alert first: "weir plan" shows it before.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			_, text, err := e.readPlan(args[0])
			if err != nil {
				return err
			}
			var out api.Applied
			if err := e.call(c.Context(), "apply", api.ApplyArgs{File: args[0], Text: text}, &out); err != nil {
				return err
			}
			fmt.Fprintf(e.out, "registered plan %s, %s\nnothing in the kernel changed; the next step is %s: weir advance\n", out.Plan, out.Hash, out.Next.Name)
			return nil
		},
	}
})
