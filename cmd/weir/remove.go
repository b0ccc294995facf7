package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
)

var _ = register(func(e *env) *cobra.Command {
	in := api.RemoveArgs{}
	c := &cobra.Command{
		Use:   "remove",
		Short: "take everything of weir out of the kernel",
		Long: `Deletes weir's table, puts the sysctls back that the first step changed, and reads
both back. Journal and evidence stay on disk. Everything passes afterwards.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out api.Removed
			if err := e.call(c.Context(), "remove", in, &out); err != nil {
				return err
			}
			fmt.Fprintln(e.out, "the table inet weir is gone; everything passes")
			for _, s := range out.Sysctls {
				fmt.Fprintln(e.out, safe(s))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&in.Yes, "yes", false, "yes, open the gate and stop watching")
	return c
})
