package main

import (
	"github.com/spf13/cobra"

	"weir/nft/lab"
)

// The child of a rehearsal: nobody types it.
var _ = register(func(e *env) *cobra.Command {
	return &cobra.Command{
		Use:    lab.Command,
		Short:  "play a script on a throw-away gateway; weir starts this itself",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return lab.Serve(e.in, e.out) },
	}
})
