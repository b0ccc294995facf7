package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/daemon"
	"weir/cmd/weir/internal/exit"
	"weir/nft"
	"weir/nft/kernel"
	"weir/phases"
	"weir/phases/policy"
)

var _ = register(func(e *env) *cobra.Command {
	var next, restore bool
	var in api.MendArgs
	var step string
	c := &cobra.Command{
		Use:   "diff",
		Short: "does the kernel hold what was confirmed; what would a frozen step change",
		Long: `Without a flag: compares every rule, every element and every chain of the table
with the recorded ruleset of the step in force and of the ways back from it, and
says what differs: "-" is lacking, "+" is too many. With --next or --step: what a
frozen step changes. Both work from plain files, without the daemon. Exit 2: a
difference.

With --restore the kernel holds again what was approved and confirmed; the journal
says who asked. While the rollout is paused that needs --resume as well: somebody
may have opened it on purpose.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := e.hold(c.Context())
			if err != nil {
				return err
			}
			defer h.k.Close()
			if restore {
				return e.mend(c.Context(), in)
			}
			if next || step != "" {
				return e.diffStep(h, step)
			}
			return e.diffKernel(c.Context(), h)
		},
	}
	c.Flags().BoolVar(&next, "next", false, "the frozen step that waits")
	c.Flags().StringVar(&step, "step", "", "the newest frozen step of this name")
	c.Flags().BoolVar(&restore, "restore", false, "put back what somebody else changed")
	c.Flags().BoolVar(&in.Resume, "resume", false, "with --restore: end the pause as well")
	c.MarkFlagsMutuallyExclusive("next", "step", "restore")
	e.outputFlag(c)
	return c
})

// kernelDiff is the answer as JSON.
type kernelDiff struct {
	Step        string           `json:"step"`
	Revision    string           `json:"revision,omitempty"`
	Differences []nft.Difference `json:"differences"`
}

func (e *env) diffKernel(ctx context.Context, h *held) error {
	for _, o := range h.heads { // "off" is a revision of the step that it went back from
		if !h.known && h.id != "" && o.OffID == h.id {
			h.head, h.known = o, true
		}
	}
	switch {
	case !h.look.Present:
		records, _, err := daemon.ReadHistory(e.state)
		if x := exit.From(err); x != nil && x.Code != exit.NoDaemon {
			return err
		}
		s := phases.Fold(records)
		name, _, _, _ := s.Current()
		diffs := []nft.Difference{}
		if name != phases.StepOff {
			diffs = append(diffs, nft.Difference{Object: "table", What: nft.Missing})
		}
		if e.output == "json" {
			err = e.json("Diff", kernelDiff{Step: name, Differences: diffs})
		} else {
			fmt.Fprintln(e.out, "weir has no table in the kernel: everything passes")
		}
		if err != nil || len(diffs) == 0 {
			return err
		}
		fmt.Fprintf(e.err, "but %s was confirmed; put it back: weir diff --restore\n", name)
		return &difference{}
	case !h.known:
		fmt.Fprintf(e.out, "no frozen step is recorded for what the kernel holds (%s)\n", h.name())
		return &difference{}
	}
	want, err := e.wanted(h)
	if err != nil {
		return err
	}
	diffs, _, err := h.k.Compare(ctx, want, true)
	if err != nil {
		return err
	}
	if e.output == "json" {
		if err := e.json("Diff", kernelDiff{Step: h.name(), Revision: h.id, Differences: append([]nft.Difference{}, diffs...)}); err != nil {
			return err
		}
	} else {
		e.showDifferences(diffs)
	}
	if len(diffs) > 0 {
		fmt.Fprintf(e.err, "the kernel does not hold %s as it was recorded; put it back: weir diff --restore\n", h.name())
		return &difference{}
	}
	if e.output != "json" {
		fmt.Fprintf(e.out, "the kernel holds %s, revision %s: every chain and set, every rule and element as recorded\n", h.name(), h.id)
	}
	return nil
}

func (e *env) showDifferences(diffs []nft.Difference) {
	for _, d := range diffs {
		fmt.Fprintln(e.out, safe(d.String()))
		for _, l := range d.Lines {
			fmt.Fprintf(e.out, "  %s\n", safe(l))
		}
	}
}

// wanted is what the table should hold: the step that judges now, the one under
// it, and what their ways back lead to, as far as it is loaded.
func (e *env) wanted(h *held) (*kernel.Want, error) {
	var revs []nft.Revision
	known, have := []string{}, map[string]bool{}
	for id, head := range h.heads {
		known = append(known, id, head.OffID)
	}
	add := func(head phases.Head, rules, off bool) error {
		rules = rules && !have[head.Revision]
		off = off && !have[head.OffID] && (slices.Contains(h.look.Loaded, head.OffID) || h.id == head.OffID)
		if !rules && !off {
			return nil
		}
		f, err := readFrozen(e.state, head)
		if err != nil {
			return err
		}
		if off {
			revs, have[head.OffID] = append(revs, f.OffRev), true
		}
		if rules {
			revs, have[head.Revision] = append(revs, f.Rules), true
		}
		return nil
	}
	judging := []phases.Head{h.head}
	if stable, _ := nft.One(h.look.Stable); stable != h.id {
		if head, ok := h.heads[stable]; ok {
			judging = append(judging, head)
		}
	}
	for _, head := range judging {
		for _, b := range head.Backouts {
			if way, ok := h.heads[b.Nft.ID]; ok && slices.Contains(h.look.Loaded, b.Nft.ID) {
				if err := add(way, true, false); err != nil {
					return nil, err
				}
			}
		}
		if err := add(head, h.id != head.OffID, true); err != nil {
			return nil, err
		}
	}
	return kernel.NewWant(revs, known)
}

// mend puts back what somebody else changed.
func (e *env) mend(ctx context.Context, in api.MendArgs) error {
	var out api.Mended
	if err := e.call(ctx, "mend", in, &out); err != nil {
		return err
	}
	if e.output == "json" {
		return e.json("Mended", out)
	}
	e.showDifferences(out.Changes)
	switch {
	case out.Whole:
		fmt.Fprintf(e.out, "restored: the kernel holds %s again\n", out.Step)
	case len(out.Changes) == 0:
		fmt.Fprintf(e.out, "no difference: the kernel holds %s\n", out.Step)
	default:
		fmt.Fprintf(e.out, "put back: the kernel holds %s again\n", out.Step)
	}
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
