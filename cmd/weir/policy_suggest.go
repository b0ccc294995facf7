package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/exit"
	"weir/phases/expect"
	"weir/phases/suggest"
	"weir/plans"
)

func (e *env) policySuggest() *cobra.Command {
	var evidence, names string
	var merge bool
	var o suggest.Options
	c := &cobra.Command{
		Use:   "suggest PLAN",
		Short: "classes of endpoints that behave alike, and few rules for each, from evidence",
		Long: `Generalises from what was observed: classes of endpoints that behave alike, with
rules for each class, roles that several classes have, and what is left over as
exceptions. The plan's groups come first: a class never spans two of them. It
prints what to add to the plan, in YAML, with its reasons as comments; nothing is
changed. Added to the plan, it passes weir check: --merge prints the whole plan.

Generalising is always widening. The table says, level by level, how many rules
there are and what they allow beyond what was seen; so does every rule. Take a
narrower level, or as many rules as you can read:

  weir policy suggest plan.yaml > proposal.yaml
  weir policy suggest plan.yaml --rules 60 --merge > next.yaml
  weir policy suggest plan.yaml --level 3 --evidence flows.jsonl --names asn.csv

--names is a file of lines "PREFIX,NAME" that says whose addresses are, as an
autonomous system or a provider: what one name is reached by becomes one
destination. Typical refactorings are proposed by name: mail ports only from mail
relays, no web but through the proxy, a group that needs nothing.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, text, err := e.readPlan(args[0])
			if err != nil {
				return err
			}
			ev, _, err := e.planEvidence(c.Context(), p, evidence)
			if err != nil {
				return err
			}
			if ev == nil {
				return exit.Errorf(exit.NoDaemon, "there is no evidence: no daemon answers").WithHint("--evidence FILE, as weir evidence export writes it; or start it: weir daemon")
			}
			if names != "" {
				f, err := os.Open(names)
				if err != nil {
					return exit.Errorf(exit.Invalid, "cannot read --names: %w", err)
				}
				defer f.Close()
				if o.Names, err = suggest.ReadNames(f); err != nil {
					return exit.Errorf(exit.Invalid, "%s: %w", safe(names), err)
				}
			}
			in, left, err := suggest.FromRows(p, ev.Rows(plans.NewClassifier(p)))
			if err != nil {
				return exit.Errorf(exit.Refused, "%w", err)
			}
			for _, l := range left {
				fmt.Fprintf(e.err, "weir: note: %s\n", l)
			}
			proposal, err := suggest.Suggest(p, in, o)
			if err != nil {
				return exit.Errorf(exit.Usage, "%w", err)
			}
			entries := proposal.Entries()
			merged, err := e.mergeProposal(args[0], p, text, entries)
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.json("Proposal", proposal)
			}
			if merge {
				_, err = e.out.Write(merged)
				return err
			}
			for _, l := range proposal.Header() {
				fmt.Fprintln(e.out, safe("# "+l))
			}
			_, err = fmt.Fprintf(e.out, "\n%s", plans.Fragment(entries))
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&evidence, "evidence", "", "a file written by weir evidence export; default: the daemon's")
	f.StringVar(&names, "names", "", "a file of PREFIX,NAME: whose addresses are")
	f.IntVar(&o.Level, "level", 0, fmt.Sprintf("how freely to generalise, from 1 (narrow) to 9; default %d", suggest.Default))
	f.IntVar(&o.Rules, "rules", 0, "the narrowest level with at most so many rules and exceptions")
	f.BoolVar(&merge, "merge", false, "print the plan with the proposal in it")
	c.MarkFlagsMutuallyExclusive("level", "rules")
	e.outputFlag(c)
	return c
}

// mergeProposal puts a proposal into the plan and checks what comes out as weir
// check does.
func (e *env) mergeProposal(file string, p *plans.Plan, text []byte, entries []plans.Entry) ([]byte, error) {
	merged, err := plans.Insert(text, entries)
	if err != nil {
		return nil, exit.Errorf(exit.Refused, "%w", err)
	}
	q, err := plans.Parse(file+" with the proposal", merged)
	if err != nil {
		return nil, exit.Errorf(exit.Refused, "the proposal does not fit the plan: nothing is printed\n%w", err).WithHint("a wider --level proposes less")
	}
	tests, err := expect.Plan(q, e.now())
	if err != nil {
		return nil, exit.Errorf(exit.Refused, "%w", err)
	}
	if err := failing(tests, merged); err != nil {
		return nil, exit.Errorf(exit.Refused, "the proposal contradicts the plan's tests: nothing is printed\n%w", err).WithHint("a narrower --level allows less")
	}
	return merged, nil
}
