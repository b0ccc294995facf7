package phases

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"weir/phases/approval"
	"weir/plans"
)

// Nonces keeps what was spent outside the journal, so that a journal that was
// put back from a copy does not bring back what it allowed.
type Nonces interface {
	Spend(nonce string) error // durable on return; again is no error
	Spent(nonce string) (bool, error)
}

// AuditLog is the log that approvals are bound to.
type AuditLog interface {
	Root() (size uint64, root string, err error)
	Extends(size uint64, root string) error // nil: the log had this root at this size
}

// trust is the trust file as the machine knows it.
type trust struct {
	accepted *plans.Trust // by its first use or by its quorum; nil: none ever was
	disk     []byte       // the file now
	err      error        // why the file cannot be used
}

// UseTrust tells what the trust file holds now: nil for none, or why it cannot
// be read. The first file that is ever told is accepted and recorded; another
// one stops approvals until AcceptTrust.
func (m *Machine) UseTrust(ctx context.Context, now time.Time, file []byte, cannot error) error {
	m.trust.disk, m.trust.err = file, cannot
	if m.state.Trust == "" && file != nil && cannot == nil {
		t, err := m.readTrust(file)
		if err != nil {
			m.trust.err = err
			return nil
		}
		if _, err := m.append(Record{At: now, Kind: Trusted, Actor: Self, Trust: t.Hash, TrustText: file, Words: "first use of the trust file " + t.Hash}); err != nil {
			return err
		}
	}
	if m.state.Trust == "" || m.trust.accepted != nil && m.trust.accepted.Hash == m.state.Trust {
		return nil
	}
	m.trust.accepted = nil
	t, err := plans.ParseTrust("the accepted trust file", m.state.TrustText)
	if err == nil && t.Hash != m.state.Trust {
		err = ErrCorrupt
	}
	if err != nil {
		return fmt.Errorf("cannot read the trust file that was accepted: %w", err)
	}
	m.trust.accepted = t
	return nil
}

// readTrust reads a trust file that is to be used on this machine.
func (m *Machine) readTrust(file []byte) (*plans.Trust, error) {
	t, err := plans.ParseTrust("the trust file", file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrustFile, err)
	}
	if _, err := m.identity(t); err != nil {
		return nil, err
	}
	return t, nil
}

// identity is what approvals are bound to: this machine, or the set that it is
// a member of.
func (m *Machine) identity(t *plans.Trust) (string, error) {
	if m.Identity == "" {
		return "", fmt.Errorf("%w: this machine has no identity: /etc/machine-id is missing", ErrTrustFile)
	}
	if t.Machines.Name == "" {
		return m.Identity, nil
	}
	for _, id := range t.Machines.Members {
		if id == m.Identity {
			return "set:" + t.Machines.Name, nil
		}
	}
	return "", fmt.Errorf("%w: this machine, %s, is no member of its set %s", ErrTrustFile, m.Identity, t.Machines.Name)
}

// Trust returns the trust file in force: nil where none ever was. The error says
// why nothing can be decided by it now.
func (m *Machine) Trust() (*plans.Trust, error) {
	t := m.trust.accepted
	switch {
	case t == nil && m.state.Trust != "":
		return nil, fmt.Errorf("%w: the accepted one, %s, was not read", ErrTrustFile, m.state.Trust)
	case t == nil && m.trust.err != nil:
		return nil, fmt.Errorf("%w: %w", ErrTrustFile, m.trust.err)
	case t == nil:
		return nil, nil
	case m.trust.err != nil:
		return t, fmt.Errorf("%w: %w", ErrTrustFile, m.trust.err)
	case m.trust.disk == nil:
		return t, fmt.Errorf("%w: it is gone", ErrTrustChanged)
	case hashOf(m.trust.disk) != t.Hash:
		return t, fmt.Errorf("%w: %s was accepted, and %s is there", ErrTrustChanged, t.Hash, hashOf(m.trust.disk))
	}
	return t, nil
}

// rule is what a step needs: what was frozen, raised to the trust file's least.
func (m *Machine) rule(s Step) plans.ApprovalRule {
	if t := m.trust.accepted; t != nil {
		return t.Stricter(s.Name, s.Approval)
	}
	return s.Approval
}

// ask makes what binds signatures to this request; nil without a trust file.
func (m *Machine) ask(now time.Time, step Step, mat Material) (*approval.Ask, error) {
	t, err := m.Trust()
	if t == nil && err == nil && len(mat.Tickets) > 0 {
		err = fmt.Errorf("%w: a ticket is a part of what is signed", ErrNoTrust)
	}
	if t == nil || err != nil {
		return nil, err
	}
	a := &approval.Ask{Trust: t.Hash, NotBefore: mat.NotBefore.UTC().Truncate(time.Second)}
	if a.Machine, err = m.identity(t); err != nil {
		return nil, err
	}
	long := step.Approval.ExpireAfter
	if long <= 0 {
		long = 24 * time.Hour
	}
	last := now.UTC().Add(long).Truncate(time.Second)
	if a.NotAfter = mat.NotAfter.UTC().Truncate(time.Second); mat.NotAfter.IsZero() {
		a.NotAfter = last
	}
	if a.NotAfter.After(last) || !a.NotAfter.After(now) || !a.NotBefore.Before(a.NotAfter) {
		return nil, fmt.Errorf("%w: it would be from %s to %s, and the plan lets it live until %s", ErrWindow,
			a.NotBefore.Format(time.RFC3339), a.NotAfter.Format(time.RFC3339), last.Format(time.RFC3339))
	}
	if a.Tickets, err = tickets(step, mat.Tickets); err != nil {
		return nil, err
	}
	if a.Nonce, err = m.nonce(); err != nil {
		return nil, err
	}
	a.LogSize, a.LogRoot, err = m.root(false)
	return a, err
}

func (m *Machine) nonce() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(m.Rand, b[:]); err != nil {
		return "", fmt.Errorf("cannot make a nonce: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// root is the audit log's; without one it is 0 and "-", and so it is in what any
// machine of a set may be brought first: each has a log of its own.
func (m *Machine) root(ofSet bool) (uint64, string, error) {
	if m.Log == nil || ofSet {
		return 0, "-", nil
	}
	return m.Log.Root()
}

// spend makes a nonce useless for ever.
func (m *Machine) spend(nonce string) error {
	if m.Nonces == nil || nonce == "" {
		return nil
	}
	if err := m.Nonces.Spend(nonce); err != nil {
		return fmt.Errorf("cannot write down that the approval is used: %w", err)
	}
	return nil
}

// unspent says whether a nonce may still be used.
func (m *Machine) unspent(nonce string) error {
	if m.state.Nonces[nonce] {
		return ErrUsed
	}
	if m.Nonces == nil {
		return nil
	}
	spent, err := m.Nonces.Spent(nonce)
	if err == nil && spent {
		err = approval.ErrSpent
	}
	return err
}

// SpendAgain writes every nonce that the journal knows as spent once more
// outside of it: a crash may have come between.
func (m *Machine) SpendAgain() error {
	for n := range m.state.Nonces {
		if err := m.spend(n); err != nil {
			return err
		}
	}
	return nil
}

// trustLife is how long signers have to agree to another trust file.
const trustLife = 7 * 24 * time.Hour

// TrustStatement is what signers of the accepted trust file sign so that the
// file that is there now may be used instead.
func (m *Machine) TrustStatement(now time.Time) (approval.Statement, error) {
	t := m.trust.accepted
	switch {
	case t == nil:
		return approval.Statement{}, ErrNoTrust
	case m.trust.disk == nil || m.trust.err != nil:
		_, err := m.Trust()
		return approval.Statement{}, err
	}
	next, err := m.readTrust(m.trust.disk)
	if err != nil {
		return approval.Statement{}, err
	}
	if next.Hash == t.Hash {
		return approval.Statement{}, ErrSameTrust
	}
	s := approval.Statement{Decision: approval.Approve, Subject: approval.Trust, Name: "trust", Digest: next.Hash, Plan: "-", Upon: "-", UponStep: "-", Revision: "-"}
	s.Ask = approval.Ask{Trust: t.Hash, NotAfter: now.UTC().Add(trustLife).Truncate(time.Second)}
	if s.Machine, err = m.identity(t); err != nil {
		return s, err
	}
	if s.LogSize, s.LogRoot, err = m.root(t.Machines.Name != ""); err != nil {
		return s, err
	}
	s.Nonce, err = m.nonce()
	return s, err
}

// AcceptTrust takes the trust file that is there now, on the signatures of as
// many signers of the accepted one as that asks for. What was requested before
// is void.
func (m *Machine) AcceptTrust(ctx context.Context, now time.Time, by Actor, statement []byte, signatures [][]byte) error {
	fail := func(err error) error { return fmt.Errorf("cannot accept the trust file: %w", err) }
	want, err := m.TrustStatement(now)
	if err != nil {
		return fail(err)
	}
	s, err := approval.Parse(statement)
	if err != nil {
		return fail(err)
	}
	want.Ask = approval.Ask{Machine: want.Machine, Trust: want.Ask.Trust, NotBefore: s.NotBefore, NotAfter: s.NotAfter, Nonce: s.Nonce, LogSize: s.LogSize, LogRoot: s.LogRoot}
	if err := s.Matches(want); err != nil {
		return fail(err)
	}
	if err := s.Open(now); err != nil {
		return fail(err)
	}
	if s.NotAfter.After(now.Add(trustLife)) {
		return fail(fmt.Errorf("%w: a statement about a trust file lives at most a week", ErrWindow))
	}
	if err := m.unspent(s.Nonce); err != nil {
		return fail(err)
	}
	if err := m.extends(s.Ask); err != nil {
		return fail(err)
	}
	t := m.trust.accepted
	people := map[string]bool{}
	for _, sig := range signatures {
		v, err := approval.Verify(t, plans.RoleTrust, statement, sig)
		if err != nil {
			return fail(err)
		}
		people[v.Signer.Name] = true
	}
	if len(people) < t.Change {
		return fail(fmt.Errorf("%w: %d of %d", ErrNotApproved, len(people), t.Change))
	}
	if err := m.spend(s.Nonce); err != nil {
		return fail(err)
	}
	if _, err := m.append(Record{At: now, Kind: Trusted, Actor: by, Trust: want.Digest, TrustText: m.trust.disk, Nonce: s.Nonce,
		Statement: statement, Signatures: signatures, Words: "changed the trust file to " + want.Digest}); err != nil {
		return fail(err)
	}
	return m.UseTrust(ctx, now, m.trust.disk, nil)
}

// extends says whether the audit log still holds what it held at the request.
func (m *Machine) extends(a approval.Ask) error {
	if m.Log == nil || a.LogRoot == "-" {
		return nil
	}
	if err := m.Log.Extends(a.LogSize, a.LogRoot); err != nil {
		return fmt.Errorf("%w: %w", approval.ErrLog, err)
	}
	return nil
}

// MachineIdentity makes the identity of a machine from the text of
// /etc/machine-id, which itself is told to nobody.
func MachineIdentity(machineID []byte) string {
	sum := sha256.Sum256(append([]byte("weir machine "), machineID...))
	return "m" + hex.EncodeToString(sum[:12])
}
