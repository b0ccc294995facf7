// Package health decides whether a step does harm: from probes that the plan
// names, and from the endpoints that lost what they had an answer from. It is
// pure: the daemon measures, and does what follows.
//
// One endpoint counts once, whatever it sends. A destination that never answered
// an endpoint before does not count, so a scan, however wide, says nothing. What
// those who approved the step knew of (the forecast) does not count either.
package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/phases/flow"
)

// Verdict is what is said of a step. The zero value is invalid.
type Verdict string

// The verdicts.
const (
	Good       Verdict = "good"
	Bad        Verdict = "bad"
	CannotTell Verdict = "cannot tell"
)

// failures is how many attempts of a probe in a row must fail: one lost packet is
// no outage.
const failures = 2

// Outcome is what came of one attempt of a probe. The zero value is invalid.
type Outcome string

// The outcomes.
const (
	Answered Outcome = "answered"
	Failed   Outcome = "failed"
	Silent   Outcome = "silent" // who was to say how things are said nothing
)

// Result is one attempt of a probe.
type Result struct {
	Began   time.Time `json:"began"`
	Outcome Outcome   `json:"outcome"`
	Words   string    `json:"words,omitempty"` // why it failed
}

// Probe is a probe with its latest attempts, oldest first.
type Probe struct {
	Name    string   `json:"name"`
	Group   string   `json:"group,omitempty"` // whose step it watches; "" every group's
	Results []Result `json:"results,omitempty"`
}

// Ready says whether the probe can tell harm from health: its last attempt, begun
// after a moment, was answered. The words say why not.
func (p Probe) Ready(after time.Time) (bool, string) {
	n := len(p.Results)
	switch {
	case n == 0 || p.Results[n-1].Began.Before(after):
		return false, "the probe " + p.Name + " has not been tried yet"
	case p.Results[n-1].Outcome != Answered:
		return false, fmt.Sprintf("the probe %s fails already: %s", p.Name, p.Results[n-1].Words)
	}
	return true, ""
}

// since counts the attempts that began at or after a moment and failed, in a row
// and up to the last one, and returns the last.
func (p Probe) since(armed time.Time) (failed int, last Result, any bool) {
	for _, r := range slices.Backward(p.Results) {
		if r.Began.Before(armed) {
			break
		}
		if !any {
			last, any = r, true
		}
		if r.Outcome != Failed {
			break
		}
		failed++
	}
	return failed, last, any
}

// Loss is a flow that an endpoint had an answer from, and that it is denied now.
type Loss struct {
	Endpoint string    `json:"endpoint"` // one machine: its link address where it is known, else its address
	Group    string    `json:"group"`
	Flow     flow.Flow `json:"flow"`
	At       time.Time `json:"at"`       // when it was denied last
	Foreseen bool      `json:"foreseen"` // those who approved the step knew
}

// Evidence is what a step is judged by.
type Evidence struct {
	Armed  time.Time // when the step was armed, rollout time
	Groups []string  // that the step narrows
	Probes []Probe
	Losses []Loss
	Lost   int    // so many endpoints may lose what nobody foresaw
	Blind  string // why losses were not seen; "" they were
}

// Judgement is a verdict with its reasons.
type Judgement struct {
	Verdict   Verdict  `json:"verdict"`
	Words     []string `json:"words,omitempty"`  // why it is not good
	Groups    []string `json:"groups,omitempty"` // that it is bad for, sorted
	Endpoints int      `json:"endpoints"`        // that lost what nobody foresaw
	Foreseen  int      `json:"foreseen"`         // that lost only what was foreseen
}

func (j Judgement) String() string {
	if len(j.Words) == 0 {
		return string(j.Verdict)
	}
	return string(j.Verdict) + ": " + strings.Join(j.Words, "; ")
}

// Judge says how a step does.
func Judge(e Evidence) Judgement {
	var j Judgement
	var bad, unsure, groups []string
	lost, foreseen := map[string]bool{}, map[string]bool{}
	byGroup := map[string]map[string]bool{}
	example := ""
	for _, l := range e.Losses {
		if l.At.Before(e.Armed) || !slices.Contains(e.Groups, l.Group) {
			continue
		}
		if l.Foreseen {
			foreseen[l.Endpoint] = true
			continue
		}
		lost[l.Endpoint] = true
		if byGroup[l.Group] == nil {
			byGroup[l.Group] = map[string]bool{}
		}
		byGroup[l.Group][l.Endpoint] = true
		example = fmt.Sprintf("%s to %s %s", l.Flow.Client, l.Flow.Server, l.Flow.Service())
	}
	for end := range lost {
		delete(foreseen, end)
	}
	j.Endpoints, j.Foreseen = len(lost), len(foreseen)
	if len(lost) > e.Lost {
		bad = append(bad, fmt.Sprintf("%d endpoints lost what answered them before and nobody foresaw, %d may; as %s", len(lost), e.Lost, example))
		for g := range byGroup {
			groups = append(groups, g)
		}
	}
	for _, p := range e.Probes {
		failed, last, any := p.since(e.Armed)
		switch {
		case failed >= failures:
			bad = append(bad, fmt.Sprintf("the probe %s failed %d times: %s", p.Name, failed, last.Words))
			if p.Group == "" {
				groups = append(groups, e.Groups...)
			} else if slices.Contains(e.Groups, p.Group) {
				groups = append(groups, p.Group)
			}
		case !any:
			unsure = append(unsure, "the probe "+p.Name+" has not been tried since")
		case last.Outcome != Answered:
			unsure = append(unsure, fmt.Sprintf("the probe %s: %s", p.Name, last.Words))
		}
	}
	if e.Blind != "" {
		unsure = append(unsure, e.Blind)
	}
	slices.Sort(groups)
	switch {
	case len(bad) > 0:
		j.Verdict, j.Words, j.Groups = Bad, bad, slices.Compact(groups)
	case len(unsure) > 0:
		j.Verdict, j.Words = CannotTell, unsure
	default:
		j.Verdict = Good
	}
	return j
}
