package phases

import (
	"context"

	"weir/nft"
)

// Kernel is what the machine needs of the kernel. Every method may be called
// again after an error. Only the machine's goroutine calls it.
type Kernel interface {
	// Look reads marker, trial, stable and the groups put back, in one go.
	Look(ctx context.Context) (nft.Look, error)
	// Load brings a revision into the kernel without referring to it. It is
	// verified when Load returns; loading a loaded revision changes nothing.
	Load(ctx context.Context, r nft.Revision) error
	// Arm puts a loaded revision on trial: nft.ErrChanged, nft.ErrPending and
	// nft.ErrNotLoaded mean that nothing changed.
	Arm(ctx context.Context, a nft.Arm) error
	// Confirm makes the running trial stable; nft.ErrLapsed: nothing changed.
	Confirm(ctx context.Context, c nft.Confirm) error
	// Rollback makes a loaded revision stable, whatever the kernel holds.
	Rollback(ctx context.Context, r nft.Rollback) error
	// Back puts one group back to alert, or ends that.
	Back(ctx context.Context, group string, on bool, tx string) error
	// EncodeRollback writes the netlink bytes of a rollback. It sends nothing.
	EncodeRollback(r nft.Rollback) ([]byte, error)
}

// Journal keeps records in order, for ever.
type Journal interface {
	// Append sets Seq and is durable on return.
	Append(Record) (Record, error)
	// Records returns all records, oldest first.
	Records() ([]Record, error)
}

// Files keeps frozen steps and backouts as plain files, fsynced on return.
type Files interface {
	PutFrozen(digest string, data []byte) error
	GetFrozen(digest string) ([]byte, error)
	// PutBackout keeps the way from one revision to one target: netlink bytes
	// ready to send and nft text that a person can run. from is a revision's
	// ID, to is a step's name or "default".
	PutBackout(from, to string, message, text []byte) error
}

// Boots keeps the boot snapshot and, in a small file beside it, what is to be
// done where it is damaged.
type Boots interface {
	// GetBoot returns both; os.ErrNotExist where there is no snapshot.
	GetBoot() (snapshot, choice []byte, err error)
	// GetChoice returns the small file alone; empty where there is none.
	GetChoice() ([]byte, error)
	// PutBoot replaces both: the old or the new, durable on return.
	PutBoot(snapshot, choice []byte) error
	// DropBoot removes both.
	DropBoot() error
}
