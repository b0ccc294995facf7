package compile

import (
	"net/netip"

	"weir/phases/flow"
	"weir/phases/policy"
)

// Treatment is what happens to a group's packets that no rule allows.
type Treatment string

// The treatments; the zero value is invalid. Honeypot denies like Reject in
// filter; the redirect is a chain of its own that the confirm switches on.
const (
	Open     Treatment = "open"  // everything passes, nothing is listed
	Alert    Treatment = "alert" // everything passes, what no rule allows is listed
	Drop     Treatment = "drop"
	Reject   Treatment = "reject"
	Honeypot Treatment = "honeypot"
)

// Denies says whether a treatment denies anything.
func (t Treatment) Denies() bool { return t == Drop || t == Reject || t == Honeypot }

// Input is everything that a revision is computed from. Order of lists does
// not matter; the output is the same.
type Input struct {
	Off                                  bool // the step "off": everything open but to who is quarantined
	Scope                                Scope
	Groups                               []Group
	Policy                               policy.Policy
	Lifelines                            []Lifeline
	Never                                []Never
	Shadow                               *Shadow        `json:",omitempty"` // nil: nothing is evaluated beside the policy
	Links                                []netip.Prefix // prefixes of the inside links: a MAC counts only with a source in them; empty: any inside source
	LogGroup, VerdictGroup, HoneypotPort uint16
}

// Scope says which packets are judged.
type Scope struct {
	Hooks                       []string // "forward", "output"
	Inside, Outside             []netip.Prefix
	InsideIfaces, OutsideIfaces []string
	Inbound                     string        // "observe", "refuse", "ignore"
	InboundAllow                []InboundRule // with refuse: what outside hosts may open
}

// InboundRule lets outside hosts open connections to inside ones.
type InboundRule struct {
	From, To []netip.Prefix // empty: any
	Services []flow.Service // empty: any
}

// Group is one group with its treatment in this step.
type Group struct {
	Name      string
	Members   []netip.Prefix
	MACs      []string
	Ifaces    []string
	Self      bool     // this machine's output
	UIDs      []uint32 // with Self: only sockets of these users
	Families  []flow.Family
	Treatment Treatment
	Share     int            // percent that Treatment applies to, the rest is in alert; 0 or 100: all
	ShareBy   string         // "mac" or "ipv4" (IPv6 then waits in alert)
	Seed      uint32         // of the share
	Prefixes  []netip.Prefix // Treatment applies only to these, the rest is in alert; empty: all
}

// Lifeline is a flow that passes before anything else is judged.
type Lifeline struct {
	Name     string
	From, To []netip.Prefix // empty: any
	Services []flow.Service // empty: any
	Reply    bool           // stateless, in the answer's direction: Services are source ports
}

// Never is denied before any allow rule of its groups, with its own treatment,
// where the group's own treatment denies; else it is listed.
type Never struct {
	Name     string
	Group    string // empty: every group
	From, To []netip.Prefix
	Services []flow.Service // empty: any
	Deny     Treatment
}
