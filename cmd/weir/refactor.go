package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/phases/policy"
	"weir/phases/refactor"
)

var _ = register(func(e *env) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "refactor [NAME]",
		Short: "what a refactoring changes, and where its rules come from",
		Long: `Shows a refactoring of the plan as it was frozen: exactly what it widens and
narrows, what its shadow saw, and how its rules and those that they replace belong
together, both ways, with the flows of the evidence. Without a name it is the one
that waits, is in its shadow, or was swapped last.

  weir refactor
  weir refactor desks --all`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in := api.RefactorArgs{}
			if len(args) > 0 {
				in.Name = args[0]
			}
			var out api.Refactoring
			if err := e.call(c.Context(), "refactor", in, &out); err != nil {
				return err
			}
			if e.output == "json" {
				return e.json("Refactoring", out)
			}
			e.showRefactoring(out, all)
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all", false, "every old rule, not only those of which something is lost")
	e.outputFlag(c)
	return c
})

func (e *env) showRefactoring(r api.Refactoring, all bool) {
	state := "not in force"
	if r.InForce {
		state = "in force"
	}
	fmt.Fprintf(e.out, "refactoring %s of %s: %s, frozen as %s, %s\n", r.Name, strings.Join(r.Groups, ", "), r.Step, short(r.Digest), state)
	e.showProof(r.Proof)
	if s := r.Shadow; s != nil {
		for _, g := range r.Groups {
			p := s.Packets[g]
			fmt.Fprintf(e.out, "  beside   %s since %s: %d packets lie in the widening, %d in the narrowing\n", g, when(s.Since, e.now()), p.Widens, p.Narrows)
		}
	}
	fmt.Fprintln(e.out)
	t := newTable(e.out, "NEW", "RULE", "FROM OLD", "FLOWS", "FOR EXAMPLE")
	for i, d := range r.New {
		t.row(i+1, policy.RuleText(d.Rule), relatives(d, "nothing"), d.Flows, exampleOf(d))
	}
	t.flush()
	fmt.Fprintln(e.out)
	t = newTable(e.out, "OLD", "RULE", "NOW IN", "FLOWS", "LOST", "FOR EXAMPLE")
	left := 0
	for i, d := range r.Old {
		if !all && !d.Beyond {
			left++
			continue
		}
		t.row(i+1, policy.RuleText(d.Rule), relatives(d, "nothing"), d.Flows, d.Lost, exampleOf(d))
	}
	t.flush()
	if left > 0 {
		fmt.Fprintf(e.out, "%s of which nothing is lost: weir refactor %s --all\n", many(left, "old rule"), r.Name)
	}
}

// showProof writes what a refactoring widens and narrows.
func (e *env) showProof(p refactor.Proof) {
	for _, l := range proofLines(p) {
		fmt.Fprintf(e.out, "  %s\n", safe(l))
	}
}

// proofLines are the lines of both differences, with their sums.
func proofLines(p refactor.Proof) []string {
	var out []string
	for _, l := range p.Widens.Lines {
		out = append(out, "widens   "+l)
	}
	for _, l := range p.Narrows.Lines {
		out = append(out, "narrows  "+l)
	}
	return append(out, "widens   "+p.Widens.Summary(), "narrows  "+p.Narrows.Summary())
}

// fewRules is how many numbers of rules are written before "and … more".
const fewRules = 8

// relatives names the rules of the other list that a rule belongs to; those in
// part in brackets.
func relatives(d refactor.Descent, none string) string {
	var out []string
	for _, i := range slices.Sorted(slices.Values(slices.Concat(d.Whole, d.Part))) {
		text := fmt.Sprint(i + 1)
		if slices.Contains(d.Part, i) {
			text = "(" + text + ")"
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return none
	}
	if n := len(out) - fewRules; n > 0 {
		out = append(out[:fewRules], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(out, " ")
}

func exampleOf(d refactor.Descent) string {
	if len(d.Examples) == 0 {
		return "-"
	}
	return d.Examples[0]
}
