package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/daemon"
)

var _ = register(func(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "daemon",
		Short: "run the daemon: it owns journal, evidence and capture",
		Long: `Runs in the foreground until it is ended. It keeps the journal, reads the flows
from the kernel, and answers the other commands on the socket. What is in force
is in the kernel: ending the daemon changes nothing there.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := os.MkdirAll(filepath.Dir(e.socket), 0o755); err != nil {
				return fmt.Errorf("cannot make the socket's folder: %w", err)
			}
			return daemon.Run(c.Context(), daemon.Config{State: e.state, Socket: e.socket, Now: e.now, Log: e.err})
		},
	}
})
