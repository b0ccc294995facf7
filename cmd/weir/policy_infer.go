package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/exit"
	"weir/phases/policy/infer"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/nfttext"
)

func (e *env) policyInfer(use string) *cobra.Command {
	var from rulesFrom
	var plan planOptions
	c := &cobra.Command{
		Use:   use + " FILE",
		Short: "the policy that existing rules amount to, proven to be the same",
		Long: `Turns the rules of a chain into few rules without priorities: allow only what is
listed, by classes of hosts and services that behave alike. Says how complex
they were and are, whether fewer rules are possible at all, and which rules do
nothing. A chain whose default is to accept is printed as what it denies.

  weir policy infer fw.save
  weir policy infer fw.save -o yaml --inside 10.20.0.0/16 > plan.yaml
  weir policy infer fw.save -o nft > fw.nft; nft -c -f fw.nft
  weir policy infer live: --chain output

What -o yaml and -o nft print has been read back before: it is the identical
set of packets. A plan cannot say source ports, interfaces, ICMP codes or what
the header does not decide: rules that need them are left out and named in the
plan and on stderr; it never allows more than the rules did.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := e.load(c.Context(), from, args[0])
			if err != nil {
				return err
			}
			switch e.output {
			case "yaml":
				return e.inferPlan(s, plan)
			case "nft":
				return e.inferNft(s)
			}
			res, err := infer.Infer(judged(s), s.chain)
			if err != nil {
				return exit.Errorf(exit.Failed, "%w", err)
			}
			if e.output == "json" {
				return e.json("Policy", policyJSON(res))
			}
			return e.plainly(res.Text)
		},
	}
	from.flags(c)
	plan.flags(c)
	e.outputFlag(c, "yaml", "nft")
	return c
}

// judged leaves out what a plan says nothing about: its policy alone.
func judged(s source) rules.Ruleset {
	if s.plan == nil {
		return s.rules
	}
	c := *s.rules.Chain(s.chain)
	c.Rules = c.Rules[len(notJudged(s.plan)):]
	return rules.Ruleset{Families: s.rules.Families, Chains: []*rules.Chain{&c}}
}

// inferNft prints the policy, or where that is no simpler the rules
// themselves, for nft -f.
func (e *env) inferNft(s source) error {
	res, err := infer.Infer(judged(s), s.chain)
	if err != nil {
		return exit.Errorf(exit.Failed, "%w", err)
	}
	hook := s.rules.Chain(s.chain).Hook
	out := res.Policy.Ruleset(hook, hook)
	if res.Kept != nil {
		out = reachable(*res.Kept, s.chain)
		fmt.Fprintf(e.err, "weir: note: no policy is simpler than the rules themselves: they are written in their order\n")
	}
	text, err := nfttext.Write(out, "weir_policy")
	if err != nil {
		return exit.Errorf(exit.Refused, "%w", err).WithHint("weir policy infer -o text shows the rules with what they ask")
	}
	back, err := nfttext.Read("nft", text)
	if err != nil {
		return exit.Errorf(exit.Failed, "cannot read back what was written: %w", err)
	}
	same, err := identical(judged(s), s.chain, back, rules.Hooked(back)[0])
	if err != nil {
		return exit.Errorf(exit.Failed, "%w", err)
	}
	if !same {
		return exit.Errorf(exit.Failed, "what was written is not the same set of packets when read back: nothing is printed")
	}
	_, err = fmt.Fprint(e.out, plainText(text))
	return err
}

// reachable leaves out other hooked chains and what only they jump to.
func reachable(rs rules.Ruleset, chain string) rules.Ruleset {
	keep := map[string]bool{chain: true}
	for changed := true; changed; {
		changed = false
		for _, c := range rs.Chains {
			for _, r := range c.Rules {
				if keep[c.Name] && r.Target != "" && !keep[r.Target] {
					keep[r.Target], changed = true, true
				}
			}
		}
	}
	out := rules.Ruleset{Families: rs.Families}
	for _, c := range rs.Chains {
		if keep[c.Name] {
			out.Chains = append(out.Chains, c)
		}
	}
	return out
}

// identical says whether two chains let the same packets pass, of the families
// that the first judges.
func identical(a rules.Ruleset, chainA string, b rules.Ruleset, chainB string) (bool, error) {
	onlyA, onlyB, err := differences(a, chainA, b, chainB)
	return !onlyA && !onlyB, err
}

// policyOut is what -o json prints.
type policyOut struct {
	Chain      string         `json:"chain"`
	Means      string         `json:"means"` // "allows" or "denies" what the rules list
	Rules      []policyRule   `json:"rules"`
	Classes    []policyClass  `json:"classes"`
	Before     int            `json:"complexityBefore"`
	After      int            `json:"complexityAfter"`
	Bound      int            `json:"atLeast"`
	Minimal    bool           `json:"minimal"`
	Kept       []place        `json:"kept,omitempty"` // where no policy is simpler
	Unmatched  []place        `json:"unmatched"`
	Shadowed   []place        `json:"shadowed"`
	Redundant  []place        `json:"redundant"`
	ClassCount map[string]int `json:"classCount"`
}

type policyRule struct {
	Text []string `json:"text"`
	From []place  `json:"from"`
}

type policyClass struct {
	Name      string   `json:"name"`
	Not       bool     `json:"not,omitempty"`
	Addresses []string `json:"addresses"`
}

type place struct {
	Where string `json:"where"`
	Rule  string `json:"rule"`
}

func places(list []rules.Rule) []place {
	out := []place{}
	for _, r := range list {
		if r.Action != "" {
			out = append(out, place{r.Where(), r.Text})
		}
	}
	return out
}

func policyJSON(r infer.Result) policyOut {
	o := policyOut{Chain: r.Chain, Means: "allows", Rules: []policyRule{}, Classes: []policyClass{}, Before: r.Before, After: r.After, Bound: r.Bound, Minimal: r.Minimal,
		Unmatched: places(r.Dead.Unmatched), Shadowed: places(r.Dead.Shadowed), Redundant: places(r.Dead.Redundant), ClassCount: r.Classes}
	if r.Policy.Denies {
		o.Means = "denies"
	}
	for _, x := range r.Policy.Rules {
		o.Rules = append(o.Rules, policyRule{x.Lines(), places(x.From)})
	}
	for _, c := range r.Policy.Classes {
		k := policyClass{Name: c.Name, Not: c.Addrs.Not}
		for _, a := range c.Addrs.Ranges {
			k.Addresses = append(k.Addresses, infer.RangeText(a))
		}
		o.Classes = append(o.Classes, k)
	}
	if r.Kept != nil {
		for _, c := range r.Kept.Chains {
			o.Kept = append(o.Kept, places(c.Rules)...)
		}
	}
	return o
}
