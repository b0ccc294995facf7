package policy

import (
	"net/netip"
	"time"

	"weir/phases/flow"
)

// Policy is a set of allow rules; what no rule allows is denied. Rules have no
// order. The zero value denies everything.
type Policy struct {
	Rules []Rule
}

// Reason says why a rule is there. Unknown text is an error where it is read.
type Reason string

// The reasons.
const (
	Observed   Reason = "observed"
	DeclaredBy Reason = "declared"
	OneWay     Reason = "one-way"  // seen, never answered by nature (syslog, traps); waits for review
	Answered   Reason = "answered" // a would-be-denied flow that a person said is needed
	Refactored Reason = "refactored"
)

// Rule allows the endpoints of one group to reach destinations by services. A
// flow matches when its client is one of the group's (and, where given, in
// Endpoints), its server in To and its service in Services.
type Rule struct {
	Group     string
	Endpoints []netip.Prefix // empty: the whole group
	To        []netip.Prefix // empty: everywhere outside, in both families
	Services  []flow.Service // never empty
	Families  []flow.Family  // empty: both
	Reason    Reason
	Name      string // of the declared flow or the refactoring, else ""
	Owner     string
	Expires   time.Time // zero: never
}
