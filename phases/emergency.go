package phases

import (
	"context"
	"fmt"
	"time"

	"weir/phases/approval"
	"weir/plans"
)

// An emergency arms the frozen step that waits on the word of one signer, for a
// bounded time that the kernel ends, with a reason that is signed. It skips the
// quorum and the calendar, no other gate. It is void afterwards: only once the
// quorum has signed can it be confirmed, or the same signer act alone again
// within a day.

// LongestEmergency is how long the kernel holds an emergency at most.
const LongestEmergency = 4 * time.Hour

// emergencyLife is how long a signature over an emergency may be brought.
const emergencyLife = 15 * time.Minute

// EmergencyStatement is what one signer signs.
func (m *Machine) EmergencyStatement(now time.Time, digest string, lease time.Duration, reason string) (approval.Statement, error) {
	s, err := m.Statement(digest, approval.Emergency)
	if err != nil {
		return s, err
	}
	s.NotBefore, s.NotAfter = time.Time{}, now.UTC().Add(emergencyLife).Truncate(time.Second)
	s.Lease, s.Reason = lease, reason
	if s.Nonce, err = m.nonce(); err != nil {
		return s, err
	}
	return s, emergencyForm(s)
}

func emergencyForm(s approval.Statement) error {
	if s.Lease <= 0 || s.Lease > LongestEmergency {
		return fmt.Errorf("%w: an emergency lasts at most %s, not %s", ErrWindow, LongestEmergency, s.Lease)
	}
	if _, err := approval.Parse(s.Text()); err != nil {
		return fmt.Errorf("an emergency needs a reason, in one line of plain ASCII: %w", err)
	}
	return nil
}

// emergency is a statement that was found good.
type emergency struct {
	statement       approval.Statement
	text, signature []byte
	by              approval.Signed
}

// Emergency arms what waits, on one signature over EmergencyStatement's text. It
// returns the signer's name.
func (m *Machine) Emergency(ctx context.Context, now time.Time, by Actor, text, signature []byte, facts Facts) ([]GateResult, string, error) {
	e, err := m.emergency(now, text, signature)
	if err != nil {
		return nil, "", fmt.Errorf("cannot arm in an emergency: %w", err)
	}
	by.Signer = e.by.Signer.Name
	gates, err := m.arm(ctx, now, by, e.statement.Digest, 0, e, facts)
	return gates, by.Signer, err
}

func (m *Machine) emergency(now time.Time, text, signature []byte) (*emergency, error) {
	t, err := m.Trust()
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, ErrNoTrust
	}
	h, err := m.asked("", approval.Emergency, nil)
	if err != nil {
		return nil, err
	}
	want, err := statement(h, approval.Emergency)
	if err != nil {
		return nil, err
	}
	s, err := approval.Parse(text)
	if err != nil {
		return nil, err
	}
	want.Nonce, want.NotBefore, want.NotAfter, want.Lease, want.Reason = s.Nonce, time.Time{}, s.NotAfter, s.Lease, s.Reason
	if err := s.Matches(want); err != nil {
		return nil, err
	}
	if err := emergencyForm(s); err != nil {
		return nil, err
	}
	if s.NotAfter.After(now.Add(emergencyLife)) {
		return nil, fmt.Errorf("%w: a signature over an emergency lives at most %s", ErrWindow, emergencyLife)
	}
	if err := s.Open(now); err != nil {
		return nil, err
	}
	if err := m.current(*h.Ask, t, m.state.Request.Taken); err != nil {
		return nil, err
	}
	if err := m.unspent(s.Nonce); err != nil {
		return nil, err
	}
	e := &emergency{statement: s, text: text, signature: signature}
	if e.by, err = approval.Verify(t, plans.RoleApprove, text, signature); err != nil {
		return nil, err
	}
	return e, m.notAgain(e.by.Signer.Name, now)
}
