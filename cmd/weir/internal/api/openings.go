package api

import (
	"net/netip"
	"time"

	"weir/phases/flow"
)

// Opening is a time in which a gate was more open than was approved, with what
// left that would have been denied. For an unblock it is all that it let out.
type Opening struct {
	ID           string     `json:"id"`
	Kind         string     `json:"kind"` // rollback, group, lapse, foreign, reboot, removed or unblock
	From         time.Time  `json:"from"`
	To           time.Time  `json:"to,omitzero"`      // zero: it goes on
	Settled      time.Time  `json:"settled,omitzero"` // it was approved then to leave it so
	Groups       []string   `json:"groups,omitempty"`
	By           string     `json:"by,omitempty"`
	Words        string     `json:"words"`
	Endpoints    int        `json:"endpoints"`
	Destinations int        `json:"destinations"`
	Bytes        uint64     `json:"bytes"`             // of Left
	Passed       uint64     `json:"passed"`            // bytes of what would have passed anyhow
	Unseen       bool       `json:"unseen,omitempty"`  // the table was gone: what left may not have been seen
	Unknown      bool       `json:"unknown,omitempty"` // what would have been denied cannot be told: all is listed
	Left         []LeftFlow `json:"left"`              // most bytes first
}

// LeftFlow is a flow that left through an opening.
type LeftFlow struct {
	Group       string       `json:"group"`
	Client      netip.Addr   `json:"client"`
	Server      netip.Addr   `json:"server"`
	Service     flow.Service `json:"service"`
	First       time.Time    `json:"first"`
	Last        time.Time    `json:"last"`
	Connections uint64       `json:"connections"`
	Bytes       uint64       `json:"bytes"` // that the client sent
}
