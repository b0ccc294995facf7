package phases

import (
	"weir/nft"
	"weir/phases/compile"
	"weir/phases/refactor"
	"weir/phases/rehearse"
	"weir/plans"
)

// Draft is a step as it would be frozen from what is known now. Nothing is
// kept: what is approved is frozen by Request.
type Draft struct {
	Step    Step
	Input   compile.Input
	Rules   nft.Revision
	Proof   *refactor.Proof // what the step's refactoring changes; nil: it has none
	Backout nft.Rollback    // to the step before; to off for the first
	Cuts    []string        // what the plan denies of what the machine depends on: such a step is not frozen
}

// Drafts compiles every step of a plan after off, each upon the one before, for
// "weir plan". It needs no journal and no kernel.
func Drafts(plan plans.Plan, m Material, compileStep func(compile.Input) (nft.Revision, error)) ([]Draft, error) {
	var out []Draft
	var over *Frozen
	for _, st := range Expand(plan) {
		if st.Name == StepOff {
			continue
		}
		in, err := input(plan, st, over, m)
		if err != nil {
			return out, err
		}
		rules, err := compileStep(in)
		if err != nil {
			return out, err
		}
		d := Draft{Step: st, Input: in, Rules: rules, Backout: nft.Rollback{Hooks: hooksOf(rules.Entry), Tx: "by-hand", Kind: nft.TxHold}}
		d.Proof = proof(plan, st, in, over, m)
		if over != nil {
			d.Backout.ID, d.Backout.Entry = over.Rules.ID, over.Rules.Entry
			d.Backout.Alert = Narrower(in, over.Input)
		}
		own := in
		own.Lifelines = own.Lifelines[:len(own.Lifelines)-len(m.Lifelines)]
		d.Cuts = rehearse.Contradictions(own, m.Lifelines)
		out = append(out, d)
		over = &Frozen{Head: Head{Plan: plan.Hash, Step: st}, Input: in, Rules: rules}
	}
	return out, nil
}
