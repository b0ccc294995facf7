package nft

import (
	"errors"
	"net/netip"
	"time"

	"weir/phases/flow"
)

// TxKind is what the last transaction in the table was.
type TxKind string

// The kinds; their numbers in the kernel's map are 1 to 7 and 9.
const (
	TxArm       TxKind = "arm"
	TxConfirm   TxKind = "confirm"
	TxRollback  TxKind = "rollback"
	TxGroup     TxKind = "group"
	TxException TxKind = "exception"
	TxLoad      TxKind = "load"
	TxBoot      TxKind = "boot" // the confirmed step was restored from the boot snapshot
	TxHold      TxKind = "hold" // a person ran the backout's nft file by hand
)

// Look is what the kernel holds, read in one go under one generation.
type Look struct {
	BootID  string
	Gen     uint32
	Present bool // the table exists
	Stale   bool // it is a copy: it was made before the machine was started, saved, and loaded again by somebody else
	Layout  uint32
	Tx      string // id of the last transaction, "" where none
	Kind    TxKind
	Trial   map[string]map[flow.Family]string // hook letter → family → revision ID, "" where the map is empty
	Stable  map[string]map[flow.Family]string
	Left    time.Duration // least time left of the trial as the kernel says; 0 without a trial
	Loaded  []string      // revision IDs that the marker says are complete
	Back    []string      // groups put back to alert
	Spared  []string      // groups whose open connections are spared now
}

// One returns the revision that every hook and both families name: "" where
// all are empty, and ok false where they differ.
func One(m map[string]map[flow.Family]string) (id string, ok bool) {
	first := true
	for _, fam := range m {
		for _, f := range []flow.Family{flow.IPv4, flow.IPv6} {
			v := fam[f]
			if first {
				id, first = v, false
			} else if v != id {
				return "", false
			}
		}
	}
	return id, true
}

// Arm puts a loaded revision on trial.
type Arm struct {
	ID    string
	Entry map[string]string // as Revision.Entry
	Tx    string
	Lease time.Duration
	Spare []string // groups whose open connections pass during the trial
	Over  string   // the stable revision this was frozen upon; "" where none. Another one in the kernel: ErrChanged
}

// Confirm makes the trial stable. The trial must still be running.
type Confirm struct {
	ID       string
	Entry    map[string]string
	Tx       string
	Spare    []string      // groups whose open connections pass on
	SpareFor time.Duration // for this long; 0: their spare maps are emptied
	NoBack   []string      // groups whose "back in alert" ends with this confirm
}

// Rollback makes a loaded revision stable and ends any trial, whatever the
// kernel holds. ID "" empties trial and stable: everything passes.
type Rollback struct {
	ID    string
	Entry map[string]string
	Hooks []string // hook letters whose maps are written
	Tx    string
	Kind  TxKind   // TxRollback, TxBoot or TxHold
	Alert []string // groups put back to alert in the same batch: the target is narrower than what passes now
}

// Exception is a bounded right outside every revision. From and To are ranges
// given as prefixes; Service's zero value means any.
type Exception struct {
	ID      string // "e" and up to 12 hex digits
	From    netip.Prefix
	To      netip.Prefix
	Service flow.Service
	For     time.Duration // when added: its length; when listed: the time left as the kernel says
	Packets uint64        // when listed
	Bytes   uint64
}

// Errors of the kernel's owner that callers tell apart.
var (
	ErrLapsed    = errors.New("the trial has lapsed")                            // Confirm: nothing changed
	ErrChanged   = errors.New("the kernel holds another revision than expected") // Arm: nothing changed
	ErrPending   = errors.New("another trial is running")                        // Arm: nothing changed
	ErrNotLoaded = errors.New("the revision is not completely loaded")           // Arm, Rollback: nothing changed
	ErrUnknown   = errors.New("sent, but the kernel could not be read back")     // the outcome is unknown
)

// CounterValue is a named counter's reading.
type CounterValue struct{ Packets, Bytes uint64 }
