package finding

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Kind says what a finding is about. Unknown text is an error where it is read.
type Kind string

// The kinds.
const (
	WouldDeny   Kind = "would-deny"   // passes in alert, no rule allows it
	Denied      Kind = "denied"       // was denied
	Captured    Kind = "captured"     // reached the honeypot
	Widens      Kind = "widens"       // a refactoring in its shadow would let it pass
	Narrows     Kind = "narrows"      // a refactoring in its shadow would deny it
	Rare        Kind = "rare"         // seen on too few days to be allowed by itself
	Guessed     Kind = "guessed"      // the direction is not certain
	OneWay      Kind = "one-way"      // never answered by its nature
	HighPorts   Kind = "high-ports"   // many ports between the same two
	Undeclared  Kind = "undeclared"   // seen in a group that allows only what is declared
	NotAssigned Kind = "unassigned"   // seen from an endpoint of no group
	NeverSeen   Kind = "never"        // matches what the plan never allows
	Refused     Kind = "refused"      // seen, and a person said that it is not needed
	MACChange   Kind = "mac-change"   // an address changed its link address
	IfaceChange Kind = "iface-change" // an address changed its interface
	ManyAddrs   Kind = "many-addresses"
	Inbound     Kind = "inbound" // an outside host spoke first
	Loss        Kind = "loss"    // capture lost records or did not run
	NewFlow     Kind = "new-flow"
	UnusedRule  Kind = "unused-rule"
	Drift       Kind = "drift"
	Hidden      Kind = "hidden" // something takes traffic past weir
	Lifeline    Kind = "lifeline"
	Overdue     Kind = "overdue"
	Boot        Kind = "boot" // what a boot could not restore as it should
)

var kinds = []Kind{WouldDeny, Denied, Captured, Widens, Narrows, Rare, Guessed, OneWay, HighPorts, Undeclared,
	NotAssigned, NeverSeen, Refused, MACChange, IfaceChange, ManyAddrs, Inbound, Loss, NewFlow,
	UnusedRule, Drift, Hidden, Lifeline, Overdue, Boot}

// Severity orders findings for a reader; it changes nothing by itself.
type Severity string

// The severities.
const (
	Info     Severity = "info"
	Notice   Severity = "notice"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

func (s Severity) rank() int { return slices.Index([]Severity{Info, Notice, Warning, Critical}, s) }

// State is where a finding stands in its life.
type State string

// The states.
const (
	New          State = "new"
	Acknowledged State = "acknowledged"
	Answered     State = "answered"
	Closed       State = "closed"
)

func (s State) rank() int { return slices.Index([]State{New, Acknowledged, Answered, Closed}, s) }

// Verdict is a person's answer. The zero value means that nobody answered.
type Verdict string

// The answers.
const (
	Unanswered Verdict = ""
	Needed     Verdict = "needed"
	NotNeeded  Verdict = "not-needed"
	Never      Verdict = "never"
)

// ParseVerdict reads an answer; the empty one is not an answer.
func ParseVerdict(s string) (Verdict, error) {
	switch v := Verdict(s); v {
	case Needed, NotNeeded, Never:
		return v, nil
	}
	return "", fmt.Errorf("cannot read answer %q: want needed, not-needed or never", s)
}

// Finding is something for a person.
type Finding struct {
	Fingerprint string    `json:"fingerprint"` // see Fingerprint
	Kind        Kind      `json:"kind"`
	Severity    Severity  `json:"severity"`
	Group       string    `json:"group,omitempty"`
	Flow        string    `json:"flow,omitempty"`
	Service     string    `json:"service,omitempty"`
	Destination string    `json:"destination,omitempty"`
	Words       string    `json:"words"` // one sentence
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Count       uint64    `json:"count"`
	State       State     `json:"state"`
	Answer      Verdict   `json:"answer,omitempty"`
	Who         string    `json:"who,omitempty"`
	Reason      string    `json:"reason,omitempty"`
}

// Fingerprint names a question by its parts: 12 hex digits of a SHA-256 over
// the parts, each with its length, so that no two lists of parts run together.
// The same parts give the same fingerprint in every version of weir.
func Fingerprint(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// Question is the fingerprint of a flow question: the same group, service and
// destination are one question, whatever raised it and from how many endpoints.
func Question(group, service, destination string) string {
	return Fingerprint("flow", group, service, destination)
}

// Check says what is wrong with a finding that was read from outside.
func (f Finding) Check() error {
	switch {
	case f.Fingerprint == "":
		return fmt.Errorf("cannot use finding: no fingerprint")
	case !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("cannot use finding %s: unknown kind %q", f.Fingerprint, f.Kind)
	case f.Severity.rank() < 0:
		return fmt.Errorf("cannot use finding %s: unknown severity %q", f.Fingerprint, f.Severity)
	case f.State.rank() < 0:
		return fmt.Errorf("cannot use finding %s: unknown state %q", f.Fingerprint, f.State)
	}
	if f.Answer != Unanswered {
		if _, err := ParseVerdict(string(f.Answer)); err != nil {
			return fmt.Errorf("cannot use finding %s: %w", f.Fingerprint, err)
		}
	}
	return nil
}

// Merge joins two sightings of one fingerprint: the widest span, the sum of the
// counts, the higher severity, and the state, answer and person of the one that
// is further in its life. Closed findings that come again are new again: the
// caller decides that, Merge does not.
func Merge(a, b Finding) Finding {
	out := a
	if b.State.rank() > a.State.rank() {
		out.State, out.Answer, out.Who, out.Reason = b.State, b.Answer, b.Who, b.Reason
	}
	if b.Severity.rank() > a.Severity.rank() {
		out.Severity = b.Severity
	}
	if out.First.IsZero() || !b.First.IsZero() && b.First.Before(out.First) {
		out.First = b.First
	}
	if b.Last.After(out.Last) {
		out.Last, out.Words = b.Last, b.Words
	}
	out.Count = a.Count + b.Count
	return out
}

// Sort orders findings: severe first, then the latest, then by fingerprint.
func Sort(fs []Finding) {
	slices.SortFunc(fs, func(a, b Finding) int {
		return cmp.Or(-cmp.Compare(a.Severity.rank(), b.Severity.rank()), -a.Last.Compare(b.Last),
			cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
}
