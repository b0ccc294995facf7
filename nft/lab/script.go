package lab

import (
	"time"

	"weir/nft"
)

// Script is what is played, in order, in one new gateway. Its JSON is what the
// child reads.
type Script struct {
	Revisions []nft.Revision `json:"revisions"`
	Inside    []string       `json:"inside"` // the gateway's interfaces
	Outside   []string       `json:"outside"`
	Acts      []Act          `json:"acts"`
}

// Route sends packets for a prefix out of an interface of the gateway.
type Route struct {
	To    string `json:"to"` // a prefix
	Iface string `json:"iface"`
}

// Act is one thing to do; exactly one of its fields is set.
type Act struct {
	Load     string         `json:"load,omitempty"` // a revision's ID: loaded and verified
	Arm      *nft.Arm       `json:"arm,omitempty"`
	Confirm  *nft.Confirm   `json:"confirm,omitempty"`
	Rollback *nft.Rollback  `json:"rollback,omitempty"`
	Bytes    []byte         `json:"bytes,omitempty"` // a recorded way back, sent as it is
	Unblock  *nft.Exception `json:"unblock,omitempty"`
	End      string         `json:"end,omitempty"`    // an exception's ID
	Routes   []Route        `json:"routes,omitempty"` // replaced, or added
	Send     []Packet       `json:"send,omitempty"`
	Read     bool           `json:"read,omitempty"` // counters, and what decides
}

// Packet is one packet with its way into the gateway. ID is written into it
// where the far end finds it again; no two packets of a script have the same.
type Packet struct {
	ID    uint32   `json:"id"`
	Iface string   `json:"iface"` // it enters by; "" for one that the gateway itself sends
	MAC   []byte   `json:"mac,omitempty"`
	IP    [][]byte `json:"ip"` // whole IP packets: one, or its fragments
}

// Outcome is what came of one act.
type Outcome struct {
	Took     time.Duration     `json:"took"`
	Left     []string          `json:"left,omitempty"` // of Send: the interface that each packet left the gateway by, "" for none
	Counters map[string]uint64 `json:"counters,omitempty"`
	Holds    map[string]string `json:"holds,omitempty"` // of Read: every chain and set of revisions with its fingerprint; trial, stable and groups put back, by family
}

// Result has one outcome for each act.
type Result struct {
	Outcomes []Outcome     `json:"outcomes"`
	Took     time.Duration `json:"took"`
	Error    string        `json:"error,omitempty"`  // what could not be done; the outcomes end before it
	Denied   bool          `json:"denied,omitempty"` // it could not be done because namespaces are not allowed here
}
