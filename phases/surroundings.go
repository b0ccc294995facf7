package phases

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Surrounding is something of this machine that takes traffic past weir, shows
// it changed, or says that another machine carries a part of it. What was seen
// here may then not be all, and what is denied here may go another way.
type Surrounding struct {
	Name  string `json:"name"` // stable, for a person's word: "keepalived", "vrf:blue"
	Words string `json:"words"`
	// Holds says what becomes of a step that denies: CannotTell until a person
	// accepted it, Fail whatever a person says, Pass where it is only told.
	Holds Verdict   `json:"holds"`
	By    string    `json:"by,omitempty"` // who accepted it; "" nobody
	At    time.Time `json:"at,omitzero"`
	Why   string    `json:"why,omitempty"`
}

// Accepted is a person's word about a surrounding: they know of it, and why the
// evidence holds all the same.
type Accepted struct {
	By  Actor
	At  time.Time
	Why string
}

// ErrNoReason: what a person accepts, they say why.
var ErrNoReason = errors.New("say why: for another gateway, that its evidence was imported")

// Accept writes down that a person knows of a surrounding.
func (m *Machine) Accept(_ context.Context, now time.Time, by Actor, name, why string) error {
	if strings.TrimSpace(why) == "" {
		return fmt.Errorf("cannot accept %s: %w", name, ErrNoReason)
	}
	_, err := m.append(Record{At: now, Kind: AcceptedThat, Actor: by, Line: name, Answer: why, Words: "accepted " + name + ": " + why})
	return err
}

// With returns surroundings with what people said of them.
func (s State) With(list []Surrounding) []Surrounding {
	out := make([]Surrounding, len(list))
	for i, x := range list {
		if a, ok := s.Accepted[x.Name]; ok {
			x.By, x.At, x.Why = a.By.String(), a.At, a.Why
		}
		out[i] = x
	}
	return out
}

// gateSurroundings lets a step that denies nothing through, and says what there
// is; one that denies waits until a person knows of it.
func gateSurroundings(a asking) GateResult {
	if a.Surroundings == nil {
		if !a.step.Denies() {
			return pass("not looked at yet")
		}
		return cannotTell("it is not known what hides traffic from weir: weir doctor")
	}
	var fails, asks, rest []string
	var name string
	for _, x := range a.State.With(a.Surroundings) {
		switch {
		case x.Holds == Fail && a.step.Denies():
			fails = append(fails, x.Words)
		case x.Holds == CannotTell && x.By == "" && a.step.Denies():
			asks = append(asks, x.Words)
			if name == "" {
				name = x.Name
			}
		default:
			rest = append(rest, x.Words)
		}
	}
	switch {
	case len(fails) > 0:
		return refuse(time.Time{}, "%s", strings.Join(append(fails, asks...), "; "))
	case len(asks) > 0:
		return cannotTell("%s; say that you know and why the evidence holds: weir doctor --accept %s --reason …", strings.Join(asks, "; "), name)
	case len(rest) > 0:
		return pass("known: %s", brief(rest, 3))
	}
	return pass("nothing hides traffic from weir")
}
