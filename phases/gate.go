package phases

import (
	"fmt"
	"slices"
	"strings"
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

// The gates.
const (
	GateObserved     = "observed"     // monitor.minimum of observed time
	GateCalendar     = "calendar"     // monitor.covers
	GateWitnessed    = "witnessed"    // monitor.witnessed
	GateUnseen       = "unseen"       // monitor.unseen
	GateUnanswered   = "unanswered"   // replies may take another way
	GateLoss         = "loss"         // nothing was missed lately
	GateAlert        = "alert"        // enforce.alert.minimum
	GateQuiet        = "quiet"        // enforce.alert.quiet
	GateCensus       = "census"       // live connections were judged
	GateQuestions    = "questions"    // rare and one-way flows were answered
	GateSurroundings = "surroundings" // nothing hides traffic that a person does not know of
	GateHeartbeat    = "heartbeat"    // a synthetic would-be-denied packet shows up
	GateSoak         = "soak"         // enforce.soak after the wave before
	GateHealth       = "health"       // every probe of the plan is answered
	GateDrill        = "drill"        // the unblock procedure was exercised
	GateBrownouts    = "brownouts"    // those that the plan asks for have run
	GateWindow       = "window"       // enforce.windows
	GateFreeze       = "freeze"       // enforce.freezes
	GateTests        = "tests"        // the plan's tests, asked of the rules that were made
	GateProof        = "proof"        // what a refactoring changes is known, approved and within its budget
	GateShadow       = "shadow"       // old and new rules ran side by side without an unapproved disagreement
	GateOpen         = "open"         // no open connection is one that the refactoring would cut
)

// ofTheMoment lists the gates that are judged when a step is armed. The others
// judge evidence and are judged when it is frozen, too.
var ofTheMoment = []string{GateHeartbeat, GateDrill, GateHealth, GateBrownouts, GateWindow, GateFreeze, GateSoak}

// GateResult is a gate's answer with its words.
type GateResult struct {
	Gate     string    `json:"gate"`
	Verdict  Verdict   `json:"verdict"`
	Words    string    `json:"words"`
	Earliest time.Time `json:"earliest,omitzero"` // when it can pass at the earliest; zero: unknown, or now
	Moment   bool      `json:"moment,omitempty"`  // judged when the step is armed, not when it is frozen
}

// gatesOf names the gates of a step, in the order in which they are asked.
func gatesOf(plan plans.Plan, s Step) []string {
	var out []string
	switch {
	case s.Name == StepAlert && !s.Denies():
		out = []string{GateObserved, GateCalendar, GateLoss, GateUnanswered, GateSurroundings}
		if plan.Monitor.Witnessed > 0 {
			out = append(out, GateWitnessed)
		}
		if plan.Monitor.Unseen > 0 {
			out = append(out, GateUnseen)
		}
	case strings.HasPrefix(s.Name, blockPrefix):
		if plan.Environment != "new" {
			out = []string{GateAlert, GateQuiet, GateCensus, GateQuestions, GateLoss, GateUnanswered}
		}
		out = append(out, GateSurroundings, GateHeartbeat, GateSoak, GateDrill)
		if len(s.Brownouts) > 0 {
			out = append(out, GateBrownouts)
		}
		out = append(out, GateWindow, GateFreeze)
	case s.Shadow != "":
		out = []string{GateProof}
	case strings.HasPrefix(s.Name, swapPrefix):
		out = []string{GateProof}
		if r, ok := refactorOf(plan, s.Wave()); ok && r.Shadow > 0 {
			out = append(out, GateShadow, GateOpen)
		}
		out = append(out, GateSurroundings, GateSoak, GateWindow, GateFreeze)
	case s.Name == StepWatch:
		out = []string{GateSoak}
	}
	if s.Blocks() && len(plan.Health.Probes) > 0 {
		out = append(out, GateHealth)
	}
	return out
}

// asking is what a gate is asked with.
type asking struct {
	plan plans.Plan
	step Step
	Facts
	State
	now time.Time
}

var gates = map[string]func(asking) GateResult{
	GateObserved: gateObserved, GateCalendar: gateCalendar, GateWitnessed: gateWitnessed, GateUnseen: gateUnseen, GateUnanswered: gateUnanswered,
	GateLoss: gateLoss, GateAlert: gateAlert, GateQuiet: gateQuiet, GateCensus: gateCensus, GateQuestions: gateQuestions,
	GateSurroundings: gateSurroundings,
	GateHeartbeat:    gateHeartbeat, GateSoak: gateSoak, GateDrill: gateDrill, GateHealth: gateHealth, GateBrownouts: gateBrownouts,
	GateWindow: gateWindow, GateFreeze: gateFreeze, GateProof: gateProof, GateShadow: gateShadow, GateOpen: gateOpen,
}

// Gates asks every gate of a step.
func Gates(plan plans.Plan, step Step, f Facts, s State, now time.Time) []GateResult {
	var out []GateResult
	for _, name := range step.Gates {
		r := GateResult{Verdict: CannotTell, Words: "this weir does not know the gate"}
		if ask, ok := gates[name]; ok {
			r = ask(asking{plan, step, f, s, now})
		}
		r.Gate, r.Moment = name, slices.Contains(ofTheMoment, name)
		out = append(out, r)
	}
	return out
}

func pass(format string, args ...any) GateResult {
	return GateResult{Verdict: Pass, Words: fmt.Sprintf(format, args...)}
}

func refuse(earliest time.Time, format string, args ...any) GateResult {
	return GateResult{Verdict: Fail, Words: fmt.Sprintf(format, args...), Earliest: earliest}
}

func cannotTell(format string, args ...any) GateResult {
	return GateResult{Verdict: CannotTell, Words: fmt.Sprintf(format, args...)}
}

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
