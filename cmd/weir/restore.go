package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/boot"
	"weir/cmd/weir/internal/daemon"
	"weir/cmd/weir/internal/exit"
	"weir/nft/kernel"
)

var _ = register(func(e *env) *cobra.Command {
	var atBoot bool
	c := &cobra.Command{
		Use:   "restore",
		Short: "put the confirmed step back after the kernel's table was lost",
		Long: `After a reboot without the boot unit, or after somebody deleted weir's table, the
gate is open. This loads the confirmed step's recorded ruleset again.

With --boot it works without the daemon and without the database, from the boot
snapshot, and loads what the ways back lead to as well. The unit weir-boot.service
runs it before the network comes up. Where the snapshot is damaged, the plan's
onBoot says what happens; it never happens without a word: exit 1, a line on
stderr and in the kernel's log, and a finding when the daemon starts. With
weir=off on the kernel's command line, or the file ` + boot.OffFile + `, it loads nothing.

  weir restore
  weir restore --boot`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if atBoot {
				return e.restoreAtBoot(c.Context())
			}
			var out api.Confirmed
			if err := e.call(c.Context(), "restore", struct{}{}, &out); err != nil {
				return err
			}
			fmt.Fprintf(e.out, "restored %s\n", out.Step)
			return nil
		},
	}
	c.Flags().BoolVar(&atBoot, "boot", false, "from the boot snapshot, without daemon and database; for the start of the machine")
	return c
})

// run is the folder that a boot empties.
func (e *env) run() string { return filepath.Dir(e.socket) }

func (e *env) restoreAtBoot(ctx context.Context) error {
	run := e.run()
	var r boot.Report
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		r = boot.Report{At: e.now(), Outcome: boot.Open, Words: "NOT RESTORED: the kernel cannot be spoken to; everything passes", Problems: []string{err.Error()}}
	} else {
		defer k.Close()
		r = boot.Restore(ctx, daemon.BootConfig(k, e.state, run, e.now()))
	}
	if err := r.Write(run); err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	bad := r.Outcome == boot.Open || len(r.Problems) > 0
	for _, p := range r.Problems {
		fmt.Fprintln(e.err, "weir: "+safe(p))
	}
	if err := boot.Tell(bad, r.Words); err != nil {
		fmt.Fprintf(e.err, "weir: the kernel's log was not told: %v\n", err)
	}
	if bad {
		return exit.Errorf(exit.Failed, "%s", r.Words).WithHint("weir status; the daemon has a finding of it")
	}
	fmt.Fprintln(e.out, safe(r.Words))
	return nil
}
