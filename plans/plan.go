package plans

import (
	"net/netip"
	"slices"
	"time"

	"weir/phases/flow"
)

// Plan is a rollout plan without mistakes. All names are resolved, all lists
// are sorted where order has no meaning (Groups by name) and kept as written
// where it has (Waves, Refactor, Approvals).
type Plan struct {
	Hash          string // "sha256:" and 64 hex digits, of the file's bytes
	Name          string
	Owner         string
	Ticket        string
	Timezone      *time.Location
	Environment   string // "operational" or "new"
	Scope         Scope
	Groups        []Group // sorted by name; "unassigned" is always among them
	Services      map[string][]flow.Service
	Lifelines     []Lifeline
	Declared      []Declared
	Never         []Never
	Tests         []Test
	Calendar      []Event
	Monitor       Monitor
	Enforce       Enforce
	Refactor      []Refactor
	Watch         Watch
	Unblock       Unblock
	Approvals     []ApprovalRule
	Drift         string // what becomes of what somebody else changes in the kernel: "alert" or "repair"
	ConfirmWithin time.Duration
	OnBoot        string // "restore" or "open": what a boot does where its snapshot is damaged
	Capture       Capture
	Notify        Notify
	Health        Health
}

// The values of OnBoot.
const (
	OnBootRestore = "restore"
	OnBootOpen    = "open"
)

// Unassigned is the group of everything inside that is in no other group.
const Unassigned = "unassigned"

// Pos is where something stands in the plan file, for messages.
type Pos struct {
	File string
	Line int
	Col  int
}

// Scope says which traffic is judged.
type Scope struct {
	Hooks         []string       // "forward", "output"
	Inside        []netip.Prefix // masked; may be empty when InsideIfaces is not
	InsideIfaces  []string
	Outside       []netip.Prefix // empty: every destination that is not inside, loopback, link-local, multicast, broadcast
	OutsideIfaces []string
	Inbound       string // "observe", "refuse", "ignore"
}

// Families says which families have an inside: those of its prefixes; both
// where only interfaces are named or hooks holds only output.
func (s Scope) Families() []flow.Family {
	var v4, v6 bool
	for _, p := range s.Inside {
		if p.Addr().Is4() {
			v4 = true
		} else {
			v6 = true
		}
	}
	if !v4 && !v6 || len(s.InsideIfaces) > 0 || slices.Equal(s.Hooks, []string{"output"}) {
		return []flow.Family{flow.IPv4, flow.IPv6}
	}
	var out []flow.Family
	if v4 {
		out = append(out, flow.IPv4)
	}
	if v6 {
		out = append(out, flow.IPv6)
	}
	return out
}

// Group is a class of endpoints.
type Group struct {
	Name     string
	Members  []netip.Prefix // masked; single addresses are /32 and /128
	MACs     []string       // lower case, with colons
	Ifaces   []string
	Self     bool // this machine's own output (hook output)
	UIDs     []uint32
	Families []flow.Family // never empty
	Allow    string        // "observed" or "declared"
	RulesBy  []string      // resolved: a sublist of group, endpoint, destination, service
	Extends  string
	Owner    string
	Pos      Pos
}

// Target is what "from" and "to" hold. Any of the fields may be set; the
// meaning is their union. The zero value is invalid: nobody.
type Target struct {
	Any, Inside, Outside, Self bool
	Groups                     []string
	Prefixes                   []netip.Prefix
}

// Lifeline is what no step may cut.
type Lifeline struct {
	Name     string
	From, To Target
	Services []flow.Service // empty: every service
	Families []flow.Family
	Pos      Pos
}

// Declared is a flow that is known but not (yet) seen.
type Declared struct {
	Name     string
	From, To Target
	Services []flow.Service
	Families []flow.Family
	Owner    string
	Reason   string
	Exercise string    // cron, or ""
	Expires  time.Time // zero: never; the end of that day in the plan's time zone
	Window   *Window   // nil: always
	Pos      Pos
}

// Never is what is not allowed even if seen.
type Never struct {
	Name     string
	From, To Target // default: any, outside
	Services []flow.Service
	Deny     string // "reject", "drop", "honeypot"
	Reason   string
	Pos      Pos
}

// Window is a span that begins at each instant of a cron expression.
type Window struct {
	Cron        string
	DaysOfMonth string        // "8-14", or ""
	Before      time.Duration // the span begins this long before the instant
	After       time.Duration // and ends this long after it
}

// Event is a named span of the business calendar.
type Event struct {
	Name string
	Window
	Pos Pos
}

// Freeze is a span of days in which nothing is blocked.
type Freeze struct {
	Name     string
	From, To time.Time // midnight of the first day, midnight after the last
}

// Monitor is the first phase.
type Monitor struct {
	Minimum   time.Duration
	Covers    []string // names of calendar events that observed time must contain
	MinDays   int      // a flow seen on fewer days is rare and waits for an answer; 0: 1
	Witnessed float64  // least share of the outside interfaces' bytes that flows explain; 0: not a gate
	Unseen    float64  // most of a group's pairs of destination and service that, by estimate, were not seen; 0: not a gate
}

// Enforce is the second phase.
type Enforce struct {
	RulesBy     []string
	Alert       Alert
	Brownouts   []time.Duration
	Waves       []Wave
	LeaveOpen   []string
	Deny        string // "reject", "drop", "honeypot"
	Established string // "drain", "cut", "keep"
	KeepReason  string
	DrainFor    time.Duration
	Soak        time.Duration
	Windows     []Window
	Freezes     []Freeze
}

// Alert is the alert-only step.
type Alert struct {
	Minimum, Maximum time.Duration // Maximum 0: none
	Quiet            time.Duration
}

// Wave is one block step.
type Wave struct {
	Name        string
	Groups      []string
	Share       int             // percent, 1 to 100
	Prefixes    []netip.Prefix  // only these members; empty: all
	Deny        string          // resolved
	Established string          // resolved
	Brownouts   []time.Duration // resolved
	Pos         Pos
}

// Refactor replaces what groups are allowed by a few rules.
type Refactor struct {
	Name   string
	Groups []string
	Allow  []AllowRule
	Shadow time.Duration // how long old and new rules run side by side before the swap; 0: not at all
	Budget Budget        // resolved
	Pos    Pos
}

// Budget is how much a refactoring may allow beyond what was allowed before;
// nil: as much as people approve.
type Budget struct {
	Addresses *uint64 // destinations: IPv4 addresses and IPv6 networks of length 64
	Services  *uint64 // ports, ICMP types and bare protocols
}

// AllowRule is a rule of a refactored group.
type AllowRule struct {
	To       Target
	Services []flow.Service
}

// Watch is the fourth phase.
type Watch struct{ Report string }

// Unblock limits exceptions.
type Unblock struct {
	Longest time.Duration
	Widest4 int // least prefix length of --to
	Widest6 int
	From4   int // least prefix length of --from; 0: any
	From6   int
	Contact string
}

// ApprovalRule says what a step needs; the first whose Steps matches decides.
type ApprovalRule struct {
	Steps        string // a glob over step names, "*" matches "/" and ":" too
	Quorum       int    // 0: none needed
	SelfApproval bool
	ExpireAfter  time.Duration
}

// Capture names the netlink log groups.
type Capture struct {
	LogGroup     uint16 // first sight; default 100
	VerdictGroup uint16 // would-deny, denied, captured; default 101
	HoneypotPort uint16 // default 2323
}
