package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/phases"
	"weir/phases/approval"
	"weir/plans"
	"weir/store"
)

// The daemon reads the trust file anew for each command: what it says, and
// whether others could have written it, is so at that moment.

// openTrust says who this machine is and what its trust file holds, and writes
// down once more what the journal knows as spent.
func (d *Daemon) openTrust(ctx context.Context, now time.Time) error {
	if id, err := os.ReadFile("/etc/machine-id"); err == nil && len(strings.TrimSpace(string(id))) > 0 {
		d.machine.Identity = phases.MachineIdentity([]byte(strings.TrimSpace(string(id))))
	}
	d.lookAtTrust(ctx, now)
	if t, err := d.machine.Trust(); err != nil {
		d.log.Error("no approval counts", "error", err)
	} else if t != nil {
		d.log.Info("steps are approved by signature", "trust", t.Hash, "profile", t.Profile)
	}
	return d.machine.SpendAgain()
}

// lookAtTrust tells the machine what the trust file holds now. A failure does
// not stop the ways back; it stops approvals.
func (d *Daemon) lookAtTrust(ctx context.Context, now time.Time) {
	var data []byte
	var err error
	if d.cfg.Trust != "" {
		data, err = store.ReadGuarded(d.cfg.Trust, plans.MaxSize)
	}
	if errors.Is(err, os.ErrNotExist) {
		data, err = nil, nil
	}
	if err := d.machine.UseTrust(ctx, now, data, err); err != nil {
		d.log.Error("cannot use the trust file", "error", err)
	}
	// The rights of the accepted file hold also while another one is there.
	if t, _ := d.machine.Trust(); d.access.Load() == nil || t != d.accessOf {
		a := newAccess(t)
		d.accessOf = t
		d.access.Store(a)
		d.openSocket(a)
		d.useWitness(t)
	}
}

// decideSigned takes a signature.
func (d *Daemon) decideSigned(ctx context.Context, c caller, in api.ApproveArgs) (api.Decided, error) {
	what := approval.Approve
	if in.Deny {
		what = approval.Deny
	}
	name, err := d.machine.Decide(ctx, c.now, c.Actor, in.Digest, what, in.Statement, in.Signature)
	return api.Decided{Signer: name}, err
}

// statement is what a signer signs.
func (d *Daemon) statement(ctx context.Context, c caller, in api.StatementArgs) (api.Statement, error) {
	var s approval.Statement
	var err error
	switch {
	case in.Trust:
		s, err = d.machine.TrustStatement(c.now)
	case in.Wider != nil:
		s, err = d.widerStatement(c, *in.Wider)
	case in.Emergency != "":
		s, err = d.machine.EmergencyStatement(c.now, in.Digest, in.Lease, in.Emergency)
	case in.Deny:
		s, err = d.machine.Statement(in.Digest, approval.Deny)
	default:
		s, err = d.machine.Statement(in.Digest, approval.Approve)
	}
	return api.Statement{Text: s.Text()}, err
}

func (d *Daemon) trust(ctx context.Context, c caller, in None) (api.Trust, error) {
	out := api.Trust{Machine: d.machine.Identity, File: d.cfg.Trust}
	t, err := d.machine.Trust()
	if err != nil {
		out.Refused = err.Error()
	}
	if t == nil {
		return out, nil
	}
	out.Hash, out.Profile, out.Change, out.Allowed = t.Hash, t.Profile, t.Change, t.AllowedSigners(approval.Namespace)
	if t.Witness.File != "" {
		out.Witness = append(out.Witness, t.Witness.File)
	}
	if t.Witness.Syslog {
		out.Witness = append(out.Witness, "syslog")
	}
	for _, s := range t.Signers {
		line := s.Name
		if s.Login != "" {
			line += " (account " + s.Login + ")"
		}
		out.Signers = append(out.Signers, fmt.Sprintf("%s: %s; %d keys", line, strings.Join(s.Roles, ", "), len(s.Keys)))
	}
	return out, nil
}

func (d *Daemon) acceptTrust(ctx context.Context, c caller, in api.TrustArgs) (None, error) {
	return None{}, d.machine.AcceptTrust(ctx, c.now, c.Actor, in.Statement, in.Signatures)
}

// nonceFolders keeps what is spent in three folders: with the journal, in that of
// the socket, and beside the boot snapshot.
func nonceFolders(state, run string) *spentNonces {
	return &spentNonces{dirs: []string{state, run, store.BootDir(state)}}
}

// spentNonces makes the files when the first nonce is asked for: without a trust
// file there is none.
type spentNonces struct {
	dirs []string
	n    *store.Nonces
}

func (s *spentNonces) open() (err error) {
	if s.n == nil {
		s.n, err = store.OpenNonces(slices.Compact(s.dirs)...)
	}
	return err
}

func (s *spentNonces) Spend(nonce string) error {
	if err := s.open(); err != nil {
		return err
	}
	return s.n.Spend(nonce)
}

func (s *spentNonces) Spent(nonce string) (bool, error) {
	if err := s.open(); err != nil {
		return false, err
	}
	return s.n.Spent(nonce)
}
