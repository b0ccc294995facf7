package phases

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"weir/nft"
)

// Kind is what a journal record says. Text on disk; unknown text is an error
// where it is read.
type Kind string

// The kinds of records.
const (
	Applied      Kind = "applied"   // a plan was registered
	Requested    Kind = "requested" // a step was frozen
	Approved     Kind = "approved"
	Denied       Kind = "denied"
	Intent       Kind = "intent"  // about to do Op in the kernel
	Seen         Kind = "seen"    // the kernel after an intent; Done says whether it was done
	Lapsed       Kind = "lapsed"  // a trial ended by itself
	Adopted      Kind = "adopted" // the kernel was changed without the journal
	Emptied      Kind = "emptied" // the table is gone: a reboot, or somebody deleted it
	Booted       Kind = "booted"  // the machine was started again, and the boot snapshot restored; Done: what is confirmed
	TakenOut     Kind = "removed" // the table was removed on purpose
	Paused       Kind = "paused"
	Resumed      Kind = "resumed"
	Drilled      Kind = "drilled"  // the unblock procedure was exercised
	Answered     Kind = "answered" // a line was answered by a person
	Noted        Kind = "noted"    // exceptions, quarantines and other daily work
	AcceptedThat Kind = "accepted" // a person knows of something that hides traffic
	Drifted      Kind = "drift"    // somebody else changed what the table holds
	Mended       Kind = "mended"   // it holds again what was recorded
	Trusted      Kind = "trusted"  // a trust file was used for the first time, or changed by its quorum
)

// Op is what an intent does in the kernel.
type Op string

// The operations.
const (
	OpArm      Op = "arm"
	OpConfirm  Op = "confirm"
	OpRollback Op = "rollback"
	OpGroup    Op = "group"   // one group back to alert
	OpRestore  Op = "restore" // the confirmed step again, after the table was gone
	OpRepair   Op = "repair"  // what somebody else changed, back to what was recorded
)

// NoLogin is the login uid of a process that no login session started.
const NoLogin = ^uint32(0)

// Actor is who asked: the socket peer's uid, and its audit login uid, which
// survives sudo and su.
type Actor struct {
	UID      uint32 `json:"uid"`
	LoginUID uint32 `json:"loginUid"`
	Name     string `json:"name"`
	Signer   string `json:"signer,omitempty"` // whose signature it was, or whose account by the trust file
	PID      int32  `json:"pid,omitempty"`    // the process that asked; 0 weir itself, or not known
	Exe      string `json:"exe,omitempty"`    // its program; "" where the kernel does not tell
}

// Self is weir acting by itself.
var Self = Actor{UID: 0, LoginUID: NoLogin, Name: "weir"}

// Person is a text that tells two people apart, or "" where that cannot be
// told: root without a login of somebody else behind it.
func (a Actor) Person() string {
	if a.Signer != "" {
		return "signer:" + a.Signer
	}
	id := a.UID
	if a.LoginUID != NoLogin {
		id = a.LoginUID
	}
	if id == 0 {
		return ""
	}
	return "uid:" + strconv.FormatUint(uint64(id), 10)
}

// String is the name, with the signer's where a signature or the trust file
// tells it.
func (a Actor) String() string {
	if a.Signer != "" && a.Signer != a.Name {
		return a.Signer + " (" + a.Name + ")"
	}
	return a.Name
}

// Record is one line of the journal. Which fields are set depends on Kind.
type Record struct {
	Seq      uint64        `json:"seq"`
	At       time.Time     `json:"at"`
	Kind     Kind          `json:"kind"`
	Actor    Actor         `json:"actor"`
	Words    string        `json:"words,omitempty"`    // for people
	Plan     string        `json:"plan,omitempty"`     // applied: its hash
	PlanText []byte        `json:"planText,omitempty"` // applied: its bytes
	Head     *Head         `json:"head,omitempty"`     // requested
	Digest   string        `json:"digest,omitempty"`   // of the frozen step that the record is about
	Op       Op            `json:"op,omitempty"`       // intent, seen
	Tx       string        `json:"tx,omitempty"`       // of the transaction
	To       string        `json:"to,omitempty"`       // rollback: the target's step name
	Revision string        `json:"revision,omitempty"` // stable after a rollback, adoption; "" none
	Groups   []string      `json:"groups,omitempty"`   // groups put back to alert; drilled: none
	Lease    time.Duration `json:"lease,omitempty"`    // arm
	Brownout bool          `json:"brownout,omitempty"` // arm
	Uses     []uint64      `json:"uses,omitempty"`     // arm: the approvals that it consumes, by Seq
	Done     bool          `json:"done,omitempty"`     // seen, booted
	Boot     string        `json:"boot,omitempty"`     // boot id, where the kernel was read
	Trial    string        `json:"trial,omitempty"`    // adopted: the trial's revision
	Took     time.Duration `json:"took,omitempty"`     // drilled; seen, adopted: from the first message to the kernel until what it holds was read back
	Before   string        `json:"before,omitempty"`   // seen, lapsed, adopted, emptied, removed: stable until then; "" none
	Held     string        `json:"held,omitempty"`     // noted: the hash of the frozen part that the kernel was read back to hold, exactly
	Line     string        `json:"line,omitempty"`     // answered, noted: what it is about
	Answer   string        `json:"answer,omitempty"`   // answered: needed, not-needed, never
	Copy     bool          `json:"copy,omitempty"`     // adopted: done in a copy of the table that another program had saved and loaded
	Pauses   bool          `json:"pauses,omitempty"`   // rollback, adopted: the rollout is paused by it

	Since     time.Time        `json:"since,omitzero"`      // drift, mended: not later than the change
	Processes []Process        `json:"processes,omitempty"` // drift, adopted, emptied: who, as the kernel named them
	Changes   []nft.Difference `json:"changes,omitempty"`   // drift: all that differs now

	Statement  []byte   `json:"statement,omitempty"`  // approved, denied, trusted: what was signed
	Signature  []byte   `json:"signature,omitempty"`  // approved, denied: armoured, as ssh-keygen wrote it
	Signatures [][]byte `json:"signatures,omitempty"` // trusted
	Key        string   `json:"key,omitempty"`        // approved, denied: fingerprint
	Taken      bool     `json:"taken,omitempty"`      // requested: another machine of the set froze it
	Ticket     string   `json:"ticket,omitempty"`     // group: the one that was used
	Emergency  string   `json:"emergency,omitempty"`  // arm: the signed reason
	Unwell     string   `json:"unwell,omitempty"`     // rollback: the harm that the trial did
	Nonce      string   `json:"nonce,omitempty"`      // denied, intent, trusted: spent by this
	Trust      string   `json:"trust,omitempty"`      // trusted: hash of the file
	TrustText  []byte   `json:"trustText,omitempty"`  // trusted: its bytes
}

var kinds = []Kind{Applied, Requested, Approved, Denied, Intent, Seen, Lapsed, Adopted, Emptied, Booted, TakenOut, Paused, Resumed, Drilled, Answered, Noted, AcceptedThat, Drifted, Mended, Trusted}

// UnmarshalText refuses unknown text: a newer weir wrote it.
func (k *Kind) UnmarshalText(b []byte) error {
	if !slices.Contains(kinds, Kind(b)) {
		return fmt.Errorf("cannot read a journal record of kind %q: a newer weir wrote it", b)
	}
	*k = Kind(b)
	return nil
}

// UnmarshalText refuses unknown text.
func (o *Op) UnmarshalText(b []byte) error {
	if !slices.Contains([]Op{"", OpArm, OpConfirm, OpRollback, OpGroup, OpRestore, OpRepair}, Op(b)) {
		return fmt.Errorf("cannot read a journal record with the operation %q: a newer weir wrote it", b)
	}
	*o = Op(b)
	return nil
}
