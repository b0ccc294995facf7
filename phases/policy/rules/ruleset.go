package rules

import (
	"fmt"
	"slices"

	"weir/phases/flow"
)

// Ruleset is what one program says about packets. The zero value has no
// chains.
type Ruleset struct {
	Families []flow.Family // that it judges; none means both
	Chains   []*Chain      // in the order of the text
	Notes    []Note        // what a person should know: lines not understood, actions simplified
}

// Chain is a list of rules, tried in order.
type Chain struct {
	Name    string
	Hook    string // "forward", "input", "output" …; "" for a chain that is only jumped to
	Default Action // what happens at the end of a hooked chain: Accept or Drop; "" for others
	Rules   []Rule
}

// Note is something that a reader says about a line.
type Note struct {
	File string
	Line int // from 1; 0 when it is about the whole file
	Text string
}

func (n Note) String() string { return fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Text) }

// Chain returns the chain with a name, or nil.
func (r Ruleset) Chain(name string) *Chain {
	for _, c := range r.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Judges says whether the ruleset judges packets of a family.
func (r Ruleset) Judges(f flow.Family) bool {
	return len(r.Families) == 0 || slices.Contains(r.Families, f)
}

// Rule is one line. The zero value is invalid: it has no action.
type Rule struct {
	File   string
	Line   int    // from 1
	Text   string // as written
	Match  Match
	Action Action
	Target string // the chain, for Jump and Goto
}

// Where is the rule's place in words: "fw.save:12".
func (r Rule) Where() string { return fmt.Sprintf("%s:%d", r.File, r.Line) }

// Action is what a rule does with a packet that it matches.
type Action string

// The actions. A packet that is handed to a program (QUEUE, NFQUEUE) counts as
// accepted, and the reader says so in a note; logging, counting and marking are
// Continue.
const (
	Accept   Action = "accept"
	Drop     Action = "drop"
	Reject   Action = "reject"
	Jump     Action = "jump"
	Goto     Action = "goto"
	Return   Action = "return"
	Continue Action = "continue"
)

// Final says whether the action ends the evaluation.
func (a Action) Final() bool { return a == Accept || a == Drop || a == Reject }

// Merge makes one ruleset of two that judge different families, such as the
// files of iptables-save and ip6tables-save: chains of the same name are
// joined, each rule limited to its family. Where the hooked chains' defaults
// differ, the first's becomes a rule of its own.
func Merge(a, b Ruleset) (Ruleset, error) {
	if len(a.Families) != 1 || len(b.Families) != 1 || a.Families[0] == b.Families[0] {
		return Ruleset{}, fmt.Errorf("cannot merge rulesets for %v and %v: want one family each, and not the same", a.Families, b.Families)
	}
	out := Ruleset{Families: []flow.Family{a.Families[0], b.Families[0]}, Notes: slices.Concat(a.Notes, b.Notes)}
	for _, part := range []Ruleset{a, b} {
		for _, c := range part.Chains {
			into := out.Chain(c.Name)
			if into == nil {
				into = &Chain{Name: c.Name, Hook: c.Hook, Default: c.Default}
				out.Chains = append(out.Chains, into)
			} else if into.Hook != c.Hook {
				return Ruleset{}, fmt.Errorf("cannot merge chain %s: one is hooked to %q, the other to %q", c.Name, into.Hook, c.Hook)
			} else if into.Default != c.Default {
				into.Rules = append(into.Rules, Rule{Text: "default of the first", Action: into.Default, Match: Match{Family: a.Families[0]}})
				into.Default = c.Default
			}
			for _, r := range c.Rules {
				r.Match.Family = part.Families[0]
				into.Rules = append(into.Rules, r)
			}
		}
	}
	return out, nil
}
