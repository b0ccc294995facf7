package enforce

import (
	"weir/phases/flow"
	"weir/plans"
)

// Exempt says what a plan decides about a flow before any rule is asked.
type Exempt struct {
	life  lifelines
	never nevers
}

// NewExempt prepares a plan's lifelines and never entries.
func NewExempt(p *plans.Plan) Exempt { return Exempt{lifelinesOf(p), neversOf(p)} }

// Lifeline says whether a lifeline lets a group's flow pass.
func (x Exempt) Lifeline(group string, f flow.Flow) bool { return x.life.passes(group, f) }

// Never returns the entry by which the plan never allows a group's flow, or nil.
func (x Exempt) Never(group string, f flow.Flow) *plans.Never {
	return x.never.find(group, f.Client, f.Server, f.Service())
}
