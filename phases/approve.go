package phases

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Approve is a person's yes to exactly one frozen step; digest may be cut to a
// unique beginning of at least 8 digits, or "" for the one that waits. It does
// not need the kernel.
func (m *Machine) Approve(ctx context.Context, now time.Time, by Actor, digest string) error {
	fail := func(err error) error { return fmt.Errorf("cannot approve: %w", err) }
	h, err := m.waiting(digest)
	if err != nil {
		return fail(err)
	}
	switch t, err := m.Trust(); {
	case err != nil:
		return fail(err)
	case t != nil:
		return fail(ErrUnsigned)
	}
	rule, person := h.Step.Approval, by.Person()
	req := m.state.Request
	if person == "" && (rule.Quorum > 1 || !rule.SelfApproval) {
		return fail(ErrIndistinct)
	}
	if !rule.SelfApproval {
		switch req.By.Person() {
		case "":
			return fail(fmt.Errorf("%w: it was requested by %s", ErrIndistinct, req.By.Name))
		case person:
			return fail(ErrSelfApproval)
		}
	}
	for _, a := range m.valid(now) {
		if a.By.Person() == person {
			return fail(ErrApprovedOnce)
		}
	}
	_, err = m.append(Record{At: now, Kind: Approved, Actor: by, Digest: h.Digest(), Words: "approved " + h.Step.Name})
	return err
}

// Deny is a person's no: the frozen step can never be armed.
func (m *Machine) Deny(ctx context.Context, now time.Time, by Actor, digest, words string) error {
	h, err := m.waiting(digest)
	if err != nil {
		return fmt.Errorf("cannot deny: %w", err)
	}
	if words == "" {
		words = "denied " + h.Step.Name
	}
	r := Record{At: now, Kind: Denied, Actor: by, Digest: h.Digest(), Words: words}
	if h.Ask != nil {
		r.Nonce = h.Ask.Nonce
		if err := m.spend(r.Nonce); err != nil {
			return fmt.Errorf("cannot deny: %w", err)
		}
	}
	_, err = m.append(r)
	return err
}

// waiting returns the head of the frozen step that waits, or why it does not.
func (m *Machine) waiting(digest string) (Head, error) {
	if m.state.Plan == "" {
		return Head{}, ErrNoPlan
	}
	full, err := m.expandDigest(digest)
	if err != nil {
		return Head{}, err
	}
	if req := m.state.Request; req != nil && (full == "" || full == req.Digest) {
		h := m.state.Heads[req.Digest]
		if h.OverStep != m.state.Stable || h.Over != m.state.StableID {
			return h, ErrOverChanged
		}
		return h, nil
	}
	if v, ok := m.state.Void[full]; ok {
		return m.state.Heads[full], v.Why
	}
	if full != "" {
		return Head{}, fmt.Errorf("%w under this digest", ErrNoRequest)
	}
	// Nothing waits: the reason why the newest does not is the better answer.
	if _, why := m.newestVoid(); why != nil {
		return Head{}, fmt.Errorf("%w (the last request: %w)", ErrNoRequest, why)
	}
	return Head{}, ErrNoRequest
}

// newestVoid is the request that was given up last, and why; nil: none ever was.
func (m *Machine) newestVoid() (digest string, why error) {
	var at time.Time
	for d, v := range m.state.Void {
		if v.At.After(at) {
			digest, why, at = d, v.Why, v.At
		}
	}
	return digest, why
}

func (m *Machine) expandDigest(short string) (string, error) {
	if short == "" || m.state.Heads[short].Version != 0 {
		return short, nil
	}
	var found string
	for d := range m.state.Heads {
		for _, form := range []string{d, d[len("sha256:"):]} {
			if len(short) >= 8 && len(form) >= len(short) && form[:len(short)] == short && d != found {
				if found != "" {
					return "", fmt.Errorf("cannot tell which frozen step %s is: it is the beginning of two digests", short)
				}
				found = d
			}
		}
	}
	if found == "" {
		return "", fmt.Errorf("%w under the digest %s", ErrNoRequest, short)
	}
	return found, nil
}

// valid lists the approvals that have not expired.
func (m *Machine) valid(now time.Time) []Approval {
	if m.state.Request == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(m.state.Request.Approvals), func(a Approval) bool {
		return !a.Expires.IsZero() && !now.Before(a.Expires)
	})
}

// approved checks the quorum and returns the approvals that arming uses up.
func (m *Machine) approved(h Head, now time.Time) ([]uint64, error) {
	rule, valid := m.rule(h.Step), m.valid(now)
	people := map[string]bool{}
	var uses []uint64
	t, err := m.Trust()
	switch {
	case err != nil:
		return nil, err
	case t != nil:
		people, uses, err = m.signedBy(h, t)
		if err == nil {
			err = h.Ask.Open(now)
		}
		if err == nil && len(people) < rule.Quorum {
			err = fmt.Errorf("%w: %d of %d", ErrNotApproved, len(people), rule.Quorum)
		}
		return uses, err
	}
	for _, a := range valid {
		people[a.By.Person()] = true
		uses = append(uses, a.Seq)
	}
	if len(people) >= rule.Quorum {
		return uses, nil
	}
	why := ErrNotApproved
	if len(m.state.Request.Approvals) > len(valid) {
		why = ErrExpired
	}
	return nil, fmt.Errorf("%w: %d of %d", why, len(people), rule.Quorum)
}
