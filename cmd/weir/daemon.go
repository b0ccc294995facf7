package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/daemon"
)

var _ = register(func(e *env) *cobra.Command {
	var trust string
	c := &cobra.Command{
		Use:   "daemon",
		Short: "run the daemon: it owns journal, evidence and capture",
		Long: `Runs in the foreground until it is ended. It keeps the journal, reads the flows
from the kernel, and answers the other commands on the socket. What is in force
is in the kernel: ending the daemon changes nothing there.

Where there is a trust file, steps are approved by the signatures of the people
that it names, and not by account. Only root may be able to write it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := os.MkdirAll(filepath.Dir(e.socket), 0o755); err != nil {
				return fmt.Errorf("cannot make the socket's folder: %w", err)
			}
			return daemon.Run(c.Context(), daemon.Config{State: e.state, Socket: e.socket, Trust: trust, Now: e.now, Log: e.err})
		},
	}
	c.Flags().StringVar(&trust, "trust", envOr("WEIR_TRUST", "/etc/weir/trust.yaml"), "the trust file: who may decide")
	return c
})
