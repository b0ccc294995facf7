package api

import (
	"net/netip"
	"time"

	"weir/nft"
	"weir/phases"
	"weir/phases/approval"
	"weir/phases/audit"
	"weir/phases/compile"
	"weir/phases/enforce"
	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/health"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/phases/refactor"
	"weir/phases/rehearse"
)

// The arguments and answers of the verbs.

// ApplyArgs carries a plan file.
type ApplyArgs struct {
	File string `json:"file"`
	Text []byte `json:"text"`
}

// Applied says what registering a plan did: nothing in the kernel.
type Applied struct {
	Plan string      `json:"plan"`
	Hash string      `json:"hash"`
	Next phases.Step `json:"next"`
}

// StepArgs names a step; "" is the next one.
type StepArgs struct {
	Step      string    `json:"step"`
	NotBefore time.Time `json:"notBefore,omitzero"` // when it may be armed, where signatures decide
	NotAfter  time.Time `json:"notAfter,omitzero"`

	Frozen []byte `json:"frozen,omitempty"` // take this file, which another machine of the set froze

	Tickets []approval.Ticket `json:"tickets,omitempty"` // For 0: as long as the plan soaks
}

// TicketArgs uses a ticket; without a group it lists the caller's.
type TicketArgs struct {
	Group  string `json:"group,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// DigestArgs names a frozen step; "" is the one that waits, else the one on
// trial, else the one in force.
type DigestArgs struct {
	Digest string `json:"digest"`
}

// Requested is a frozen step.
type Requested struct {
	Digest  string              `json:"digest"`
	Plan    string              `json:"plan"`
	Step    phases.Step         `json:"step"`
	Gates   []phases.GateResult `json:"gates"`
	Changes Changes             `json:"changes"`

	Rehearsal *phases.Rehearsal `json:"rehearsal,omitempty"`
	Forecast  *health.Forecast  `json:"forecast,omitempty"` // who will lose what answered them before
}

// Changes is what a frozen step changes against what is in force.
type Changes struct {
	Groups  []GroupChange  `json:"groups"`
	Widens  []policy.Box   `json:"widens"`  // allowed after, not before
	Narrows []policy.Box   `json:"narrows"` // allowed before, not after
	Used    []flow.Flow    `json:"used"`    // flows of the evidence that the narrowing denies
	Held    []enforce.Line `json:"held"`    // not allowed by themselves, or allowed with a question
	Rules   int            `json:"rules"`

	Proof *refactor.Proof `json:"proof,omitempty"` // of a refactoring; nil: the step has none
}

// RefactorArgs names a refactoring; "" is the one that waits, else the latest.
type RefactorArgs struct {
	Name string `json:"name"`
}

// Refactoring is what a refactoring changes, and where its rules come from.
type Refactoring struct {
	Name    string             `json:"name"`
	Step    string             `json:"step"` // of the plan: its shadow or its swap
	Digest  string             `json:"digest"`
	InForce bool               `json:"inForce"`
	Groups  []string           `json:"groups"`
	Proof   refactor.Proof     `json:"proof"`
	Old     []refactor.Descent `json:"old"` // rules before it, each with what takes it over, by index of New
	New     []refactor.Descent `json:"new"` // its rules, each with what it takes over, by index of Old
	Shadow  *phases.Shadow     `json:"shadow,omitempty"`
}

// GroupChange is what happens to one group.
type GroupChange struct {
	Group  string            `json:"group"`
	Before compile.Treatment `json:"before"`
	After  compile.Treatment `json:"after"`
	Share  int               `json:"share,omitempty"`
	Rules  int               `json:"rules"`
}

// FrozenText is a frozen step as nft text.
type FrozenText struct {
	Digest string      `json:"digest"`
	Head   phases.Head `json:"head"`
	Text   string      `json:"text"`
}

// Leaktest is what an intruder in each group got out of a frozen step.
type Leaktest struct {
	Step     string          `json:"step"`
	Digest   string          `json:"digest"`
	Over     string          `json:"over"` // the step before, that it is compared with
	Ways     []rehearse.Leak `json:"ways"`
	Sum      phases.Leaks    `json:"sum"`
	Approved bool            `json:"approved"` // the list is the one that is a part of the frozen step
}

// ApproveArgs is a yes, or with Deny a no.
type ApproveArgs struct {
	Digest string `json:"digest"`
	Deny   bool   `json:"deny"`
	Reason string `json:"reason"`

	Signature []byte `json:"signature,omitempty"` // armoured; with it the person is the signer
	Statement []byte `json:"statement,omitempty"` // what was signed; none: what is asked for
}

// Decided names the signer of a decision; "" where it was an account's.
type Decided struct {
	Signer string `json:"signer,omitempty"`
}

// StatementArgs asks for what a signer signs.
type StatementArgs struct {
	Digest string `json:"digest"`
	Deny   bool   `json:"deny"`
	Trust  bool   `json:"trust"` // about the trust file that is there now, not about a step

	Emergency string        `json:"emergency,omitempty"` // the reason: to arm without the quorum
	Lease     time.Duration `json:"lease,omitempty"`     // of the emergency

	Wider *WiderOf `json:"wider,omitempty"` // about an exception beyond what one operator may do
}

// WiderOf is an unblock, or with Host a quarantine, that is to be signed.
type WiderOf struct {
	UnblockArgs
	Host  string `json:"host"`
	Alone bool   `json:"alone"` // by one signer, in an emergency
}

// WiderArgs brings signatures over a statement about an exception.
type WiderArgs struct {
	Statement  []byte   `json:"statement"`
	Signatures [][]byte `json:"signatures"`
}

// Widened is the exception that was made.
type Widened struct {
	Kind      string        `json:"kind"` // "unblock" or "quarantine"
	ID        string        `json:"id"`   // of an unblock; the address of a quarantine
	For       time.Duration `json:"for"`
	Emergency bool          `json:"emergency,omitempty"` // signed by one alone
}

// Statement is a text to sign.
type Statement struct {
	Text []byte `json:"text"`
}

// Trust is the trust file in force.
type Trust struct {
	Machine string   `json:"machine"` // identity of this machine
	File    string   `json:"file"`
	Hash    string   `json:"hash,omitempty"` // "" none
	Profile string   `json:"profile,omitempty"`
	Change  int      `json:"change,omitempty"`  // signers that another file needs
	Signers []string `json:"signers,omitempty"` // name and fingerprints
	Allowed string   `json:"allowed,omitempty"` // for ssh-keygen -Y verify -f
	Witness []string `json:"witness,omitempty"` // who is told of the audit log's checkpoints
	Refused string   `json:"refused,omitempty"` // why nothing can be decided by it now
}

// TrustArgs brings signatures over a statement about the trust file.
type TrustArgs struct {
	Statement  []byte   `json:"statement"`
	Signatures [][]byte `json:"signatures"`
}

// AdvanceArgs arms the approved step. Brownout 0: not a brownout.
type AdvanceArgs struct {
	Digest   string        `json:"digest"`
	Brownout time.Duration `json:"brownout"`

	Statement []byte `json:"statement,omitempty"` // an emergency, signed by one
	Signature []byte `json:"signature,omitempty"`
}

// Advanced is an armed step.
type Advanced struct {
	Step  phases.Step         `json:"step"`
	Lease time.Duration       `json:"lease"`
	Left  time.Duration       `json:"left"`
	Gates []phases.GateResult `json:"gates"`
}

// ConfirmArgs keeps the step on trial.
type ConfirmArgs struct {
	SameSession bool `json:"sameSession,omitempty"` // although the login is older than the trial
}

// Confirmed names the step in force.
type Confirmed struct {
	Step string `json:"step"`
}

// AcceptArgs is a person's word that they know of something that hides traffic.
type AcceptArgs struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// MendArgs asks to put back what somebody else changed. Resume ends a pause
// first: a person says so.
type MendArgs struct {
	Resume bool `json:"resume"`
}

// Mended says what was put back; Whole: the table, which was gone.
type Mended struct {
	Step    string           `json:"step"`
	Whole   bool             `json:"whole,omitempty"`
	Changes []nft.Difference `json:"changes,omitempty"`
}

// RollbackArgs says where to: "" one step, a step, a phase, or "off"; or one
// group.
type RollbackArgs struct {
	To    string `json:"to"`
	Group string `json:"group"`
}

// RolledBack says what is in force now.
type RolledBack struct {
	Step    string          `json:"step"`
	Targets []phases.Target `json:"targets"`
	Took    time.Duration   `json:"took"`
}

// Noticed says that the caller changed the kernel without the daemon.
type Noticed struct {
	Took time.Duration `json:"took"` // until the caller saw it in the kernel
}

// PauseArgs says why.
type PauseArgs struct {
	Reason string `json:"reason"`
}

// Counts are a group's counters.
type Counts struct {
	Allowed nft.CounterValue `json:"allowed"`
	Would   nft.CounterValue `json:"would"`
	Denied  nft.CounterValue `json:"denied"`
}

// Status is everything that a status page needs.
type Status struct {
	phases.Status
	Present    bool              `json:"present"` // weir's table is in the kernel
	Observing  bool              `json:"observing"`
	Spared     []string          `json:"spared,omitempty"`
	Honeypot   string            `json:"honeypot,omitempty"` // what becomes of the flows that the step sends there
	Boot       string            `json:"boot,omitempty"`     // what the boot could not do as it should
	Questions  int               `json:"questions"`
	Witnessed  *float64          `json:"witnessed,omitempty"`
	Counters   map[string]Counts `json:"counters,omitempty"`
	Exceptions []Exception       `json:"exceptions,omitempty"`
	Audit      string            `json:"audit,omitempty"`     // why the audit log does not hold
	SelfServe  bool              `json:"selfServe,omitempty"` // one local yes suffices for what waits
	Health     *Health           `json:"health,omitempty"`
	Stale      bool              `json:"stale,omitempty"`  // a question was answered since what waits was frozen
	Behind     time.Duration     `json:"behind,omitempty"` // the clock is this much behind the journal's newest record: rollout time stands still
}

// Exception is a live unblock or quarantine.
type Exception struct {
	ID      string        `json:"id"`
	Kind    string        `json:"kind"` // "unblock" or "quarantine"
	From    netip.Prefix  `json:"from"`
	To      netip.Prefix  `json:"to,omitzero"`
	Service flow.Service  `json:"service,omitzero"`
	Left    time.Duration `json:"left"` // as the kernel says
	Packets uint64        `json:"packets"`
	Bytes   uint64        `json:"bytes"`
	By      string        `json:"by,omitempty"`
	Reason  string        `json:"reason,omitempty"`
}

// FlowsArgs filters and groups the list of flows.
type FlowsArgs struct {
	By      string `json:"by"` // "flow", "group", "service" or "destination"
	Group   string `json:"group"`
	Client  string `json:"client"`
	Service string `json:"service"`
	All     bool   `json:"all"` // also unanswered and inbound ones
}

// LinesArgs filters the list of questions.
type LinesArgs struct {
	All bool `json:"all"` // answered ones too
}

// AnswerArgs answers a question.
type AnswerArgs struct {
	ID      string          `json:"id"`
	Verdict finding.Verdict `json:"verdict"`
	Reason  string          `json:"reason"`
}

// UnblockArgs opens an exception.
type UnblockArgs struct {
	From    string        `json:"from"`
	To      string        `json:"to"`
	Service string        `json:"service"`
	For     time.Duration `json:"for"`
	Reason  string        `json:"reason"`
}

// EndArgs ends an exception.
type EndArgs struct {
	ID string `json:"id"`
}

// Drilled is the measured unblock procedure.
type Drilled struct {
	Took   time.Duration `json:"took"`
	Opened time.Duration `json:"opened"` // from the call until the kernel showed it
	Ended  time.Duration `json:"ended"`
}

// QuarantineArgs cuts one endpoint off.
type QuarantineArgs struct {
	Host   string        `json:"host"`
	For    time.Duration `json:"for"` // 0 with End
	End    bool          `json:"end"`
	Reason string        `json:"reason"`
}

// WhyArgs asks whether it is the firewall.
type WhyArgs struct {
	Host  string        `json:"host"`
	Since time.Duration `json:"since"`
}

// Why is the answer.
type Why struct {
	Host        netip.Addr    `json:"host"`
	Side        string        `json:"side,omitempty"` // "outside" or "own": then the plan does not judge what it opens, and the rest is empty
	Group       string        `json:"group"`
	Treatment   string        `json:"treatment"`
	Denied      []WhyLine     `json:"denied"`
	Rules       int           `json:"rules"`
	Lines       []WhyLine     `json:"wouldDeny"`
	Quarantined time.Duration `json:"quarantined,omitempty"`
}

// WhyLine is one flow of the host that was or would be denied.
type WhyLine struct {
	Flow  flow.Flow `json:"flow"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Count uint64    `json:"count"`
}

// ExplainArgs asks for one flow.
type ExplainArgs struct {
	Src     string `json:"src"`
	Dst     string `json:"dst"`
	Service string `json:"service"`
}

// Decision is what decides a flow in one revision.
type Decision struct {
	Step    string `json:"step"`
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"` // nft text of the deciding rule
	Chain   string `json:"chain"`
	Reason  string `json:"reason,omitempty"` // of the policy rule that allows it
}

// Explained says what decides a flow now and after the next step.
type Explained struct {
	Flow    flow.Flow `json:"flow"`
	Group   string    `json:"group"`             // "" of an outside client
	Inbound bool      `json:"inbound,omitempty"` // an outside host opens it towards inside
	Now     Decision  `json:"now"`
	Next    *Decision `json:"next,omitempty"`
}

// RemoveArgs asks to take weir out of the kernel.
type RemoveArgs struct {
	Yes bool `json:"yes"`
}

// Removed says what was taken out and put back.
type Removed struct {
	Table   bool     `json:"table"`
	Sysctls []string `json:"sysctls"`
}

// Coverage is how much of the time was observed.
type Coverage struct {
	From      time.Time     `json:"from,omitzero"`
	Observed  time.Duration `json:"observed"`
	Gaps      []GapText     `json:"gaps"`
	Events    []EventCover  `json:"events"`
	Witnessed *float64      `json:"witnessed,omitempty"`
	Lost      uint64        `json:"lost"`

	Discovered []monitor.Discovered `json:"discovered"` // what each group's discovery has come to
}

// GapText is a time without evidence.
type GapText struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Cause string    `json:"cause"`
	Lost  uint64    `json:"lost,omitempty"`
}

// EventCover is how much of a calendar event was observed.
type EventCover struct {
	Name  string    `json:"name"`
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Share float64   `json:"share"`
}

// RollbackNoteFile is where a rollback without the daemon leaves who did it.
const RollbackNoteFile = "rolled-back.json"

// RollbackNote is its content.
type RollbackNote struct {
	Version  int       `json:"version"` // 1
	UID      uint32    `json:"uid"`
	LoginUID uint32    `json:"loginUid"`
	Name     string    `json:"name"`
	PID      int32     `json:"pid"`
	Exe      string    `json:"exe"`
	At       time.Time `json:"at"`
}

// AuditArgs asks for the audit log from a leaf on, counted from 0.
type AuditArgs struct {
	From uint64 `json:"from"`
}

// AuditPart is a part of the audit log; the last one has the checkpoints.
type AuditPart struct {
	Size        uint64          `json:"size"` // of the whole log, in leaves
	Leaves      [][]byte        `json:"leaves"`
	Key         string          `json:"key"`                   // the machine's public key
	Broken      string          `json:"broken,omitempty"`      // why the log does not hold
	Checkpoints []string        `json:"checkpoints,omitempty"` // lines
	Journal     []audit.Problem `json:"journal,omitempty"`     // in what the log is not the journal
}

// Report is an audit report: the large parts, the log and the frozen steps, are
// asked for one by one.
type Report struct {
	Size      uint64       `json:"size"` // leaves in the part log
	Parts     []ReportPart `json:"parts"`
	Signature []byte       `json:"signature"`
}

// ReportPart is one part of a report. Its text ends with a line's end.
type ReportPart struct {
	Name string `json:"name"`
	Text []byte `json:"text,omitempty"` // nil where somebody else brings it
	Sum  string `json:"sum"`            // SHA-256 of the text, 64 hex digits
}

// FrozenFile is the file of a frozen step, verbatim.
type FrozenFile struct {
	Text []byte `json:"text"`
}
