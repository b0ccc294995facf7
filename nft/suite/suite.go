// Package suite holds everything that owns weir's table to one behaviour: the
// same rows of steps run against nft/kernel in a throw-away namespace, judged
// by real packets, and against nft/fake with a clock that is moved by hand.
//
// A row is a list of lines "step => what the kernel holds then", or
// "step =! error"; after an error nothing may have changed.
package suite

import (
	"context"
	"testing"
	"time"

	"weir/nft"
)

// K is what the suite needs of a kernel; it is what the rollout machine needs.
type K interface {
	Look(context.Context) (nft.Look, error)
	Load(context.Context, nft.Revision) error
	Arm(context.Context, nft.Arm) error
	Confirm(context.Context, nft.Confirm) error
	Rollback(context.Context, nft.Rollback) error
	Back(ctx context.Context, group string, on bool, tx string) error
	EncodeRollback(nft.Rollback) ([]byte, error)
	SendRaw(context.Context, []byte) error
}

// Subject is one kernel, empty, with its judge.
type Subject struct {
	K K
	// Judge fails the test unless packets of both families are decided so.
	Judge func(testing.TB, Decision)
	// Wait lets time pass.
	Wait func(time.Duration)
	// ByHand does what a person does who runs the backout's text.
	ByHand func(nft.Rollback) error
	// Foreign commits something that is not weir's.
	Foreign func() error
}

// Decision is how packets are decided: by which revision of Revision ("" is
// none: everything passes), and whether its group is put back to alert.
type Decision struct {
	Revision string // "a", "b" or ""
	Back     bool
}

// Refuses says whether a new connection to the port is refused.
func (d Decision) Refuses(port uint16) bool {
	return !d.Back && d.Revision != "" && port == Port(d.Revision)
}

// Port is the TCP port that a revision refuses with a reset; everything else
// passes.
func Port(revision string) uint16 {
	if revision == "a" {
		return 1001
	}
	return 1002
}

// Group is the one group of the revisions.
const Group = "desks"

// Brief is the lease of steps that are meant to lapse, Long that of others.
const (
	Brief = 800 * time.Millisecond
	Long  = time.Minute
)

// Run runs every row against kernels of its own.
func Run(t *testing.T, start func(testing.TB) Subject) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := &walk{TB: t, Subject: start(t)}
			w.run(r.steps)
		})
	}
}
