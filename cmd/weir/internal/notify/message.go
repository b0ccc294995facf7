package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"weir/plans"
)

// Severity says how urgent a message is. The zero value is invalid.
type Severity string

// The severities, the least first.
const (
	Info    Severity = plans.SeverityInfo
	Warning Severity = plans.SeverityWarning
	Page    Severity = plans.SeverityPage // somebody is to be woken
)

func (s Severity) rank() int { return slices.Index([]Severity{Info, Warning, Page}, s) }

// Kind says what a message is about: one word or two with a hyphen, stable, for
// rules at the receiver.
type Kind string

// The kinds.
const (
	Opening   Kind = "opening"   // a gate is more open than was last approved
	Closed    Kind = "closed"    // it is no more
	Paused    Kind = "paused"    // nothing is armed until somebody resumes the rollout
	Health    Kind = "health"    // a step does harm, or that cannot be told
	Drift     Kind = "drift"     // somebody else changed what is weir's
	Emergency Kind = "emergency" // one signer decided alone
	Sinks     Kind = "sinks"     // the webhooks were changed
	Test      Kind = "test"
)

// Message is one thing that people are told.
type Message struct {
	Severity Severity  `json:"severity"`
	Kind     Kind      `json:"kind"`
	Words    string    `json:"words"` // one sentence, or a few
	At       time.Time `json:"at"`    // when it happened, rollout time
	Group    string    `json:"group,omitempty"`
	Step     string    `json:"step,omitempty"`
	Command  string    `json:"command,omitempty"` // what to type now
	Lines    []string  `json:"lines,omitempty"`   // details, one each
}

// the longest that is sent; what is cut off is said
const (
	longestWords = 2000
	mostLines    = 50
)

// clean is the message with everything escaped and bounded.
func (m Message) clean() Message {
	m.Words, m.Group, m.Step, m.Command = Clean(m.Words), Clean(m.Group), Clean(m.Step), Clean(m.Command)
	n := len(m.Lines)
	m.Lines = slices.Clone(m.Lines[:min(n, mostLines)])
	for i := range m.Lines {
		m.Lines[i] = Clean(m.Lines[i])
	}
	if n > mostLines {
		m.Lines = append(m.Lines, fmt.Sprintf("and %d more", n-mostLines))
	}
	return m
}

// Clean makes a string that came from the network or from a person one line of
// visible characters: everything else is written as \u{…}, and what is longer than
// 2000 bytes is cut, which it says.
func Clean(s string) string {
	var b strings.Builder
	for i, r := range s {
		if b.Len() >= longestWords {
			fmt.Fprintf(&b, "… (%d bytes more)", len(s)-i)
			break
		}
		if r == ' ' || r != utf8.RuneError && unicode.IsPrint(r) && !unicode.In(r, unicode.Mn, unicode.Me) {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, "\\u{%x}", r)
	}
	return b.String()
}
