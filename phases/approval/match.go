package approval

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Matches says whether a statement that came from somebody is the one that is
// asked for, and if not, which fact differs.
func (s Statement) Matches(want Statement) error {
	differ := func(err error, have, want any) error { return fmt.Errorf("%w: %v, not %v", err, have, want) }
	switch {
	case s.Subject != want.Subject:
		return differ(ErrSubject, s.Subject, want.Subject)
	case s.Machine != want.Machine:
		return differ(ErrMachine, s.Machine, want.Machine)
	case s.Ask.Trust != want.Ask.Trust:
		return differ(ErrTrust, s.Ask.Trust, want.Ask.Trust)
	case s.Plan != want.Plan:
		return differ(ErrPlan, s.Plan, want.Plan)
	case s.Name != want.Name:
		return differ(ErrStep, s.Name, want.Name)
	case s.Upon != want.Upon || s.UponStep != want.UponStep:
		return differ(ErrUpon, s.Upon+" "+s.UponStep, want.Upon+" "+want.UponStep)
	case s.Digest != want.Digest:
		return differ(ErrDigest, s.Digest, want.Digest)
	case s.Revision != want.Revision, !maps.Equal(s.Hashes, want.Hashes), !slices.Equal(s.Targets, want.Targets):
		return ErrHashes
	case !slices.Equal(s.Tickets, want.Tickets):
		return ErrTicket
	case s.Nonce != want.Nonce:
		return ErrNonce
	case !s.NotBefore.Equal(want.NotBefore) || !s.NotAfter.Equal(want.NotAfter):
		return differ(ErrWindow, moment(s.NotBefore)+" to "+moment(s.NotAfter), moment(want.NotBefore)+" to "+moment(want.NotAfter))
	case s.LogSize != want.LogSize || s.LogRoot != want.LogRoot:
		return differ(ErrLog, s.LogRoot, want.LogRoot)
	case s.Decision != want.Decision:
		return differ(ErrSubject, s.Decision, want.Decision)
	case s.Lease != want.Lease || s.Reason != want.Reason:
		return differ(ErrSubject, s.Reason, want.Reason)
	}
	return nil
}

// Open says whether a step may be armed now by approvals of this request.
func (a Ask) Open(now time.Time) error {
	if err := a.Alive(now); err != nil {
		return err
	}
	if !a.NotBefore.IsZero() && now.Before(a.NotBefore) {
		return fmt.Errorf("%w: not before %s", ErrEarly, moment(a.NotBefore))
	}
	return nil
}

// Alive says whether signatures are still worth something.
func (a Ask) Alive(now time.Time) error {
	if !now.Before(a.NotAfter) {
		return fmt.Errorf("%w at %s", ErrLate, moment(a.NotAfter))
	}
	return nil
}
