package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/daemon"
	"weir/cmd/weir/internal/exit"
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
			h, err := e.hold(c.Context())
			if err != nil {
				return err
			}
			defer h.k.Close()
			if next || step != "" {
				return e.diffStep(h, step)
			}
			return e.diffKernel(c.Context(), h)
		},
	}
	c.Flags().BoolVar(&next, "next", false, "the frozen step that waits")
	c.Flags().StringVar(&step, "step", "", "the newest frozen step of this name")
	c.MarkFlagsMutuallyExclusive("next", "step")
	return c
})

func (e *env) diffKernel(ctx context.Context, h *held) error {
	switch {
	case !h.look.Present:
		fmt.Fprintln(e.out, "weir has no table in the kernel: everything passes")
		records, _, err := daemon.ReadHistory(e.state)
		if x := exit.From(err); x != nil && x.Code != exit.NoDaemon {
			return err
		}
		s := phases.Fold(records)
		name, _, _, _ := s.Current()
		if name == phases.StepOff {
			return nil
		}
		fmt.Fprintf(e.out, "but %s was confirmed; put it back: weir restore\n", name)
		return &difference{}
	case !h.known:
		fmt.Fprintf(e.out, "no frozen step is recorded for what the kernel holds (%s)\n", h.name())
		return &difference{}
	}
	f, err := readFrozen(e.state, h.head)
	if err != nil {
		return err
	}
	if err := h.k.Verify(ctx, f.Rules); err != nil {
		fmt.Fprintf(e.out, "the kernel does not hold %s as it was recorded: %s\n", h.name(), safe(err.Error()))
		return &difference{}
	}
	fmt.Fprintf(e.out, "the kernel holds %s, revision %s: every chain and set, with as many rules and elements as recorded\n", h.name(), h.id)
	return nil
}

func (e *env) diffStep(held *held, step string) error {
	cur, known := held.head, held.known
	var want *phases.Head
	for _, h := range held.heads {
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
	fmt.Fprintf(e.out, "from %s to %s\n", held.name(), want.Step.Name)
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
