package phases

import (
	"time"

	"weir/plans"
)

// Verdict is a gate's answer. Only Pass lets through.
type Verdict string

// The three answers; the zero value is invalid.
const (
	Pass       Verdict = "pass"
	Fail       Verdict = "fail"
	CannotTell Verdict = "cannot tell"
)

// GateResult is a gate's answer with its words.
type GateResult struct {
	Gate     string    `json:"gate"`
	Verdict  Verdict   `json:"verdict"`
	Words    string    `json:"words"`
	Earliest time.Time `json:"earliest,omitzero"` // when it can pass at the earliest; zero: unknown, or now
	Moment   bool      `json:"moment,omitempty"`  // judged when the step is armed, not when it is frozen
}

func gatesOf(plan plans.Plan, s Step) []string { return nil }

// Gates asks every gate of a step.
func Gates(plan plans.Plan, step Step, f Facts, s State, now time.Time) []GateResult {
	return nil
}

// GateBrownouts is passed by the brownouts that the plan asks for.
const GateBrownouts = "brownouts"

// refusing lists the words of the gates that do not pass; those of the moment
// only when moment is set.
func refusing(gates []GateResult, moment bool) []string {
	var out []string
	for _, g := range gates {
		if g.Verdict != Pass && (moment || !g.Moment) {
			out = append(out, g.Gate+" ("+string(g.Verdict)+"): "+g.Words)
		}
	}
	return out
}
