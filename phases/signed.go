package phases

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"weir/phases/approval"
	"weir/plans"
)

// Statement is what a signer signs to decide on the frozen step that waits;
// digest as in Approve.
func (m *Machine) Statement(digest string, d approval.Decision) (approval.Statement, error) {
	t, err := m.Trust()
	if err != nil {
		return approval.Statement{}, err
	}
	if t == nil {
		return approval.Statement{}, ErrNoTrust
	}
	h, err := m.waiting(digest)
	if err != nil {
		return approval.Statement{}, err
	}
	return statement(h, d)
}

func statement(h Head, d approval.Decision) (approval.Statement, error) {
	if h.Ask == nil {
		return approval.Statement{}, fmt.Errorf("%w: there was none", approval.ErrTrust)
	}
	s := approval.Statement{Decision: d, Subject: approval.Step, Name: h.Step.Name, Digest: h.Digest(), Ask: *h.Ask, Plan: h.Plan,
		Upon: dash(h.Over), UponStep: dash(h.OverStep), Revision: h.Revision, Hashes: maps.Clone(h.Hashes)}
	for _, t := range h.Step.Targets {
		s.Targets = append(s.Targets, t.String())
	}
	if p := h.Proof; p != nil {
		for _, l := range p.Widens.Lines {
			s.Targets = append(s.Targets, "widens "+l)
		}
		for _, l := range p.Narrows.Lines {
			s.Targets = append(s.Targets, "narrows "+l)
		}
	}
	return s, nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Decide takes a signer's decision: a signature over Statement's text. text may
// be nil: then the statement that is asked for is meant, with decision d. It
// returns the signer's name. The person is the signer, whoever brought it.
func (m *Machine) Decide(ctx context.Context, now time.Time, by Actor, digest string, d approval.Decision, text, signature []byte) (string, error) {
	name, err := m.decide(ctx, now, by, digest, d, text, signature)
	if err != nil {
		return name, fmt.Errorf("cannot take the signature: %w", err)
	}
	return name, nil
}

func (m *Machine) decide(ctx context.Context, now time.Time, by Actor, digest string, d approval.Decision, text, signature []byte) (string, error) {
	t, err := m.Trust()
	if err != nil {
		return "", err
	}
	if t == nil {
		return "", ErrNoTrust
	}
	h, err := m.asked(digest, d, text)
	if err != nil {
		return "", err
	}
	want, err := statement(h, d)
	if err != nil {
		return "", err
	}
	if err := m.current(*h.Ask, t, m.state.Request.Taken); err != nil {
		return "", err
	}
	if err := h.Ask.Alive(now); err != nil {
		return "", err
	}
	v, err := approval.Verify(t, plans.RoleApprove, want.Text(), signature)
	if err != nil {
		return "", err
	}
	by.Signer = v.Signer.Name
	r := Record{At: now, Kind: Approved, Actor: by, Digest: h.Digest(), Statement: want.Text(), Signature: signature, Key: v.Key, Words: "approved " + h.Step.Name}
	if d == approval.Deny {
		if err := m.spend(h.Ask.Nonce); err != nil {
			return "", err
		}
		r.Kind, r.Nonce, r.Words = Denied, h.Ask.Nonce, "denied "+h.Step.Name
		_, err = m.append(r)
		return v.Signer.Name, err
	}
	if err := m.notAuthor(h, v.Signer); err != nil {
		return "", err
	}
	for _, a := range m.state.Request.Approvals {
		if a.By.Signer == v.Signer.Name {
			return "", fmt.Errorf("%w: %s", ErrApprovedOnce, v.Signer.Name)
		}
	}
	_, err = m.append(r)
	return v.Signer.Name, err
}

// asked finds the frozen step that a statement is about; every difference from
// what is asked for has its own words.
func (m *Machine) asked(digest string, d approval.Decision, text []byte) (Head, error) {
	if text == nil {
		return m.waiting(digest)
	}
	s, err := approval.Parse(text)
	if err != nil {
		return Head{}, err
	}
	if s.Subject == approval.Step && m.state.Heads[s.Digest].Version != 0 {
		h, err := m.waiting(s.Digest) // it may be denied, used, replaced
		if err != nil {
			return h, err
		}
	}
	h, err := m.waiting(digest)
	if err != nil {
		return h, err
	}
	want, err := statement(h, d)
	if err != nil {
		return h, err
	}
	return h, s.Matches(want)
}

// notAuthor says whether a signer is somebody else than the one who froze the
// step and, where it came from another machine of the set, the one who took it.
func (m *Machine) notAuthor(h Head, s plans.Signer) error {
	if m.rule(h.Step).SelfApproval {
		return nil
	}
	return errors.Join(apart(h.By, s), apart(m.state.Request.By, s))
}

// apart says whether the one who requested a step and a signer are two people.
func apart(requester Actor, s plans.Signer) error {
	switch {
	case requester.Person() == "":
		return fmt.Errorf("%w: it was requested by %s", ErrIndistinct, requester.Name)
	case requester.Signer == s.Name:
		return fmt.Errorf("%w: %s", ErrSelfApproval, s.Name)
	case requester.Signer == "" && s.Login == "":
		return fmt.Errorf("%w: the trust file does not say which account is %s's", ErrIndistinct, s.Name)
	}
	return nil
}

// asSigner names the signer behind an account.
func (m *Machine) asSigner(by Actor) Actor {
	if t := m.trust.accepted; t != nil && by.Person() != "" {
		if s := t.SignerOf(by.Name); s != nil {
			by.Signer = s.Name
		}
	}
	return by
}

// current says whether a request is still one that may be decided and armed. One
// that was taken from another machine of the set is bound to that one's log.
func (m *Machine) current(a approval.Ask, t *plans.Trust, taken bool) error {
	if a.Trust != t.Hash {
		return fmt.Errorf("%w: %s, not %s", approval.ErrTrust, a.Trust, t.Hash)
	}
	who, err := m.identity(t)
	if err != nil {
		return err
	}
	if a.Machine != who {
		return fmt.Errorf("%w: %s, not %s", approval.ErrMachine, a.Machine, who)
	}
	if err := m.unspent(a.Nonce); err != nil || taken {
		return err
	}
	return m.extends(a)
}

// signedBy judges the kept signatures once more, since the journal is only a
// file, and returns the people and the records that arming uses up.
func (m *Machine) signedBy(h Head, t *plans.Trust) (map[string]bool, []uint64, error) {
	want, err := statement(h, approval.Approve)
	if err != nil {
		return nil, nil, err
	}
	if err := m.current(*h.Ask, t, m.state.Request.Taken); err != nil {
		return nil, nil, err
	}
	people := map[string]bool{}
	var uses []uint64
	for _, a := range m.state.Request.Approvals {
		v, err := approval.Verify(t, plans.RoleApprove, want.Text(), a.Signature)
		if err != nil {
			return nil, nil, fmt.Errorf("the kept approval %d: %w", a.Seq, err)
		}
		if err := m.notAuthor(h, v.Signer); err != nil {
			return nil, nil, err
		}
		people[v.Signer.Name] = true
		uses = append(uses, a.Seq)
	}
	return people, uses, nil
}
