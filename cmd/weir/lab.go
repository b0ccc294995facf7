package main

import (
	"github.com/spf13/cobra"

	"weir/nft/lab"
)

// The child of a rehearsal, and with --ask the service that has none of the
// daemon's rights: nobody types either.
var _ = register(func(e *env) *cobra.Command {
	var ask bool
	c := &cobra.Command{
		Use:    lab.Command,
		Short:  "play a script on a throw-away gateway; weir starts this itself",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if ask {
				return lab.Answer(c.Context(), e.in, e.out)
			}
			return lab.Serve(e.in, e.out)
		},
	}
	c.Flags().BoolVar(&ask, "ask", false, "make the gateway first: stdin and stdout are a connection of the daemon's")
	return c
})
