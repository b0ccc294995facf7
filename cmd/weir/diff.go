package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/exit"
	"weir/nft"
	"weir/nft/kernel"
	"weir/phases"
	"weir/phases/policy"
)

var _ = register(func(e *env) *cobra.Command {
	var next bool
	var step string
	c := &cobra.Command{
		Use:   "diff",
		Short: "does the kernel hold what was confirmed; what would a frozen step change",
		Long: `Without a flag: compares the kernel's chains, the number of rules in each and the
number of elements in each set with the recorded ruleset of the step in force. With --next or --step: what a frozen
step changes. Works from plain files, without the daemon. Exit 2: a difference.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			k, err := kernel.Open(kernel.Options{})
			if err != nil {
				return err
			}
			defer k.Close()
			look, err := k.Look(c.Context())
			if err != nil {
				return err
			}
			hs := heads(e.state)
			id, _ := nft.One(look.Trial)
			if id == "" {
				id, _ = nft.One(look.Stable)
			}
			cur, known := hs[id]
			if next || step != "" {
				return e.diffStep(hs, cur, known, step)
			}
			return e.diffKernel(c.Context(), k, look, cur, known)
		},
	}
	c.Flags().BoolVar(&next, "next", false, "the frozen step that waits")
	c.Flags().StringVar(&step, "step", "", "the newest frozen step of this name")
	c.MarkFlagsMutuallyExclusive("next", "step")
	return c
})

// readFrozen reads and verifies a frozen step's file.
func readFrozen(state string, h phases.Head) (phases.Frozen, error) {
	digest := h.Digest()
	data, err := os.ReadFile(filepath.Join(state, "frozen", strings.TrimPrefix(digest, "sha256:")+".json"))
	if err != nil {
		return phases.Frozen{}, fmt.Errorf("cannot read the frozen step: %w", err)
	}
	return phases.DecodeFrozen(digest, data)
}

func (e *env) diffKernel(ctx context.Context, k *kernel.Kernel, look nft.Look, cur phases.Head, known bool) error {
	switch {
	case !look.Present:
		fmt.Fprintln(e.out, "weir has no table in the kernel: everything passes")
		return nil
	case !known:
		stable, _ := nft.One(look.Stable)
		fmt.Fprintf(e.out, "no frozen step is recorded for what the kernel holds (%s)\n", stepName(heads(e.state), stable))
		return &difference{}
	}
	f, err := readFrozen(e.state, cur)
	if err != nil {
		return err
	}
	if err := k.Verify(ctx, f.Rules); err != nil {
		fmt.Fprintf(e.out, "the kernel does not hold %s as it was recorded: %s\n", cur.Step.Name, safe(err.Error()))
		return &difference{}
	}
	fmt.Fprintf(e.out, "the kernel holds %s, revision %s: every chain and set, with as many rules and elements as recorded\n", cur.Step.Name, cur.Revision)
	return nil
}

func (e *env) diffStep(hs map[string]phases.Head, cur phases.Head, known bool, step string) error {
	var want *phases.Head
	for _, h := range hs {
		if step != "" && h.Step.Name != step || step == "" && (!h.At.After(cur.At) || h.Over != cur.Revision) {
			continue
		}
		if want == nil || h.At.After(want.At) {
			want = &h
		}
	}
	if want == nil {
		return exit.Errorf(exit.Refused, "no such frozen step").WithHint("weir request freezes the next one")
	}
	after, err := readFrozen(e.state, *want)
	if err != nil {
		return err
	}
	var before phases.Frozen
	if known {
		if before, err = readFrozen(e.state, cur); err != nil {
			return err
		}
	}
	changed := false
	name := phases.StepOff
	if known {
		name = cur.Step.Name
	}
	fmt.Fprintf(e.out, "from %s to %s\n", name, want.Step.Name)
	for _, t := range want.Step.Targets {
		b, _ := before.Step.Target(t.Group)
		if b.Group == "" {
			b = phases.Target{Group: t.Group, Treatment: "open"}
		}
		if !b.Equal(t) {
			changed = true
			fmt.Fprintf(e.out, "  %s: %s → %s\n", t.Group, strings.TrimPrefix(b.String(), t.Group+" "), strings.TrimPrefix(t.String(), t.Group+" "))
		}
	}
	less, more := policy.Diff(before.Input.Policy, after.Input.Policy)
	show := func(word string, boxes []policy.Box) {
		lines := []string{}
		for _, b := range boxes {
			lines = append(lines, fmt.Sprintf("  %s %s (for example %s)\n", word, safe(b.String()), b.Example()))
		}
		slices.Sort(lines)
		for _, l := range lines {
			changed = true
			fmt.Fprint(e.out, l)
		}
	}
	show("+", more)
	show("-", less)
	if changed {
		return &difference{}
	}
	fmt.Fprintln(e.out, "  no difference")
	return nil
}
