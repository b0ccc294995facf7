package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/plans"
	"weir/store"
)

var _ = register(func(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "apply PLAN",
		Short: "register a plan with the daemon; nothing in the kernel changes",
		Long: `Registers a plan as the next revision. The step in force stays in force. What
waits for approval is void. What only widens keeps its place; what narrows, is
new or has other members goes through alert first: "weir plan" shows it before.

Root does not take a plan that somebody else may write, itself or by way of a
folder above it; "-" reads standard input.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := ownPlan(args[0]); err != nil {
				return err
			}
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

// ownPlan refuses, for root, a plan file that others may change between the
// moment somebody looks at it and this one.
func ownPlan(file string) error {
	if os.Geteuid() != 0 || file == "-" || strings.HasPrefix(file, "/dev/fd/") || file == "/dev/stdin" {
		return nil
	}
	var owners []uint32
	if p := api.PeerOf(int32(os.Getpid()), 0, 0); p.LoginUID != api.NoLogin {
		owners = append(owners, p.LoginUID)
	}
	if id, err := strconv.ParseUint(os.Getenv("SUDO_UID"), 10, 32); err == nil {
		owners = append(owners, uint32(id))
	}
	_, err := store.ReadGuarded(file, plans.MaxSize, owners...)
	if errors.Is(err, store.ErrWritable) {
		return exit.Errorf(exit.NoPerm, "cannot register the plan: %w", err)
	}
	return nil // what else is wrong with it is said where it is read
}
