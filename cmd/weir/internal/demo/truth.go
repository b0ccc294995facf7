package demo

import (
	"context"
	"fmt"
	"slices"

	"weir/nft"
	"weir/nft/kernel"
	"weir/phases"
)

// Truth is what the kernel holds, in the plan's words.
type Truth struct {
	Step  string // confirmed and in force; "off"
	Trial string // "" where none
}

// truth reads the gateway's kernel and names what it holds by the history:
// several steps may have the same rules.
func (s *stage) truth(ctx context.Context, history []phases.Record) (steps, trials []string, err error) {
	k, err := kernel.Open(kernel.Options{NetPath: s.net.gateway.Path()})
	if err != nil {
		return nil, nil, err
	}
	defer k.Close()
	look, err := k.Look(ctx)
	if err != nil {
		return nil, nil, err
	}
	stable, ok := nft.One(look.Stable)
	if !ok {
		return nil, nil, fmt.Errorf("the kernel's hooks or families differ: %v", look.Stable)
	}
	trial, ok := nft.One(look.Trial)
	if !ok {
		return nil, nil, fmt.Errorf("the kernel's trials differ: %v", look.Trial)
	}
	if stable == "" {
		steps = []string{phases.StepOff}
	} else {
		steps = stepsOf(history, stable)
	}
	if trial != "" {
		trials = stepsOf(history, trial)
	}
	return steps, trials, nil
}

func stepsOf(history []phases.Record, revision string) []string {
	var out []string
	for _, r := range history {
		if r.Head == nil {
			continue
		}
		if r.Head.Revision == revision {
			out = append(out, r.Head.Step.Name)
		}
		if r.Head.OffID == revision {
			out = append(out, phases.StepOff)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Deeds tells a history in short words, in the order in which things happened:
// what the story says that it did is compared with it.
func Deeds(history []phases.Record) []string {
	var out []string
	names := map[string]string{"": phases.StepOff}
	var intent phases.Record
	for _, r := range history {
		switch r.Kind {
		case phases.Applied:
			out = append(out, "apply")
		case phases.Requested:
			names[r.Digest] = r.Head.Step.Name
			out = append(out, "request "+r.Head.Step.Name)
		case phases.Approved:
			out = append(out, "approve "+names[r.Digest])
		case phases.Intent:
			intent = r
		case phases.Seen:
			if !r.Done {
				out = append(out, "not done: "+intent.Words)
				continue
			}
			switch intent.Op {
			case phases.OpArm:
				if intent.Brownout {
					out = append(out, "brownout "+names[intent.Digest])
				} else {
					out = append(out, "arm "+names[intent.Digest])
				}
			case phases.OpConfirm:
				out = append(out, "confirm "+names[intent.Digest])
			default:
				out = append(out, intent.Words)
			}
		case phases.Lapsed:
			out = append(out, "lapse")
		case phases.Adopted:
			out = append(out, "rollback to "+names[r.Digest])
		case phases.Resumed:
			out = append(out, "resume")
		case phases.Drilled:
			out = append(out, "drill")
		case phases.Answered:
			out = append(out, "answer "+r.Answer)
		case phases.Noted:
			if r.Line != "" { // else it says what was read back, or how long a rollback took
				out = append(out, "unblock")
			}
		default:
			out = append(out, string(r.Kind))
		}
	}
	return out
}
