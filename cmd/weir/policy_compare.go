package main

import (
	"io"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/exit"
	"weir/phases/policy/diagram"
	"weir/phases/policy/infer"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/nfttext"
)

func (e *env) policyCompare(use string) *cobra.Command {
	var from rulesFrom
	var chainB string
	c := &cobra.Command{
		Use:   use + " A B",
		Short: "what only one of two rulesets or plans allows, with examples",
		Long: `Compares what two files let pass and says what A allows and B does not, and the
reverse: exact, in few boxes, each with a packet as example and the rules that
decide. Exit 2: there is a difference. Drop and reject are the same. Where one
is a plan, new connections from its inside to its outside are compared: of the
plan what it lets pass once all its steps are taken, and with --evidence what was
observed of groups that it does not refactor.

  weir policy compare old.save new.save
  weir policy compare fw.save plan.yaml
  weir policy compare fw.save live: --chain-b forward`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := e.load(c.Context(), from, args[0])
			if err != nil {
				return err
			}
			if chainB != "" {
				from.chain = chainB
			}
			b, err := e.load(c.Context(), from, args[1])
			if err != nil {
				return err
			}
			for _, s := range []source{a, b} {
				if s.plan != nil {
					a.rules, b.rules = bounded(a.rules, a.chain, s.plan), bounded(b.rules, b.chain, s.plan)
				}
			}
			d, err := infer.Compare(nfttext.Normal(a.rules), nfttext.Normal(b.rules), a.chain, b.chain)
			if err != nil {
				return exit.Errorf(exit.Failed, "%w", err)
			}
			if e.output == "json" {
				err = e.json("Difference", map[string]any{"onlyA": partsJSON(d.OnlyA), "onlyB": partsJSON(d.OnlyB)})
			} else {
				err = e.plainly(func(w io.Writer) error { return d.Text(w, safe(a.name), safe(b.name)) })
			}
			if err == nil && !d.Equal() {
				err = &difference{}
			}
			return err
		},
	}
	from.flags(c)
	c.Flags().StringVar(&chainB, "chain-b", "", "the chain of B, where it has another name")
	e.outputFlag(c)
	return c
}

// partOut is a box of a difference or an answer as -o json prints it.
type partOut struct {
	Text    []string `json:"text"`
	Example string   `json:"example"`
	ByA     []place  `json:"by"`
	ByB     []place  `json:"byOther,omitempty"`
}

func partsJSON(list []infer.Part) []partOut {
	out := []partOut{}
	for _, p := range list {
		out = append(out, partOut{p.Lines(), p.Example.String(), places(p.ByA), places(p.ByB)})
	}
	return out
}

// differences says whether one chain lets pass what the other does not.
func differences(a rules.Ruleset, chainA string, b rules.Ruleset, chainB string) (onlyA, onlyB bool, err error) {
	fa, err := rules.Flatten(nfttext.Normal(a), chainA)
	if err != nil {
		return false, false, err
	}
	fb, err := rules.Flatten(nfttext.Normal(b), chainB)
	if err != nil {
		return false, false, err
	}
	space, f := diagram.NewSpace(fa, fb), diagram.NewForest(0)
	x, err := space.Build(f, fa, diagram.Allowed, a.Families...)
	if err != nil {
		return false, false, err
	}
	y, err := space.Build(f, fb, diagram.Allowed, a.Families...)
	if err != nil {
		return false, false, err
	}
	both, err := f.Pair(x, y)
	if err != nil {
		return false, false, err
	}
	for _, v := range f.Values(both) {
		onlyA = onlyA || v == diagram.Accepted<<4|diagram.Dropped
		onlyB = onlyB || v == diagram.Dropped<<4|diagram.Accepted
	}
	return onlyA, onlyB, nil
}
