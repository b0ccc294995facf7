package phases

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"weir/phases/approval"
	"weir/phases/flow"
	"weir/plans"
)

// An unblock or a quarantine within the trust file's limits is one operator's.
// Beyond them it is signed: by the quorum that the trust file asks for under the
// step names "unblock" and "quarantine"; or by one signer alone, in an
// emergency, for at most LongestEmergency, which the kernel ends.

// The kinds of exceptions, which are also what "least" of a trust file calls them.
const (
	KindUnblock    = "unblock"
	KindQuarantine = "quarantine"
)

// How long a statement about an exception may be brought, and how long an
// exception lasts at most when its quorum signs.
const (
	widerLife   = 24 * time.Hour
	widerAtMost = 30 * 24 * time.Hour
	aloneAgain  = 24 * time.Hour
)

// Wider is an exception that is signed. Of a quarantine only From is set, to one
// address.
type Wider struct {
	Kind    string
	From    netip.Prefix
	To      netip.Prefix
	Service flow.Service // zero: any
	For     time.Duration
	Reason  string
}

// target is the one line that says what an exception lets through or cuts off.
func (w Wider) target() string {
	if w.Kind == KindQuarantine {
		return w.Kind + " " + w.From.String()
	}
	service := "any"
	if w.Service.Proto != 0 {
		service = w.Service.String()
	}
	return strings.Join([]string{w.Kind, w.From.String(), w.To.String(), service}, " ")
}

// widerOf reads what target wrote; another form of the same is refused.
func widerOf(s approval.Statement) (Wider, error) {
	w := Wider{For: s.Lease, Reason: s.Reason}
	var errs [3]error
	f := strings.Split(strings.Join(s.Targets, " "), " ")
	switch {
	case len(f) == 2 && f[0] == KindQuarantine:
		w.Kind = f[0]
		w.From, errs[0] = netip.ParsePrefix(f[1])
	case len(f) == 4 && f[0] == KindUnblock:
		w.Kind = f[0]
		w.From, errs[0] = netip.ParsePrefix(f[1])
		w.To, errs[1] = netip.ParsePrefix(f[2])
		if f[3] != "any" {
			w.Service, errs[2] = flow.ParseService(f[3])
		}
	default:
		return w, fmt.Errorf("%w: it names no exception", approval.ErrForm)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return w, fmt.Errorf("%w: %w", approval.ErrForm, err)
	}
	if len(s.Targets) != 1 || w.target() != s.Targets[0] || w.From != w.From.Masked() || w.To.IsValid() && w.To != w.To.Masked() || s.Name != w.Kind {
		return w, fmt.Errorf("%w: it names no exception", approval.ErrForm)
	}
	return w, nil
}

// WiderStatement is what signers sign so that an exception may be made beyond
// the trust file's limits; d is approval.Approve, or approval.Emergency for one
// signer alone.
func (m *Machine) WiderStatement(now time.Time, d approval.Decision, w Wider) (approval.Statement, error) {
	s, t, err := m.widerWanted(w, d)
	if err != nil {
		return s, err
	}
	s.Ask = approval.Ask{Trust: t.Hash, NotAfter: now.UTC().Add(widerLifeOf(d)).Truncate(time.Second)}
	if s.Machine, err = m.identity(t); err != nil {
		return s, err
	}
	if s.LogSize, s.LogRoot, err = m.root(t.Machines.Name != ""); err != nil {
		return s, err
	}
	if s.Nonce, err = m.nonce(); err != nil {
		return s, err
	}
	return s, widerForm(s)
}

func widerLifeOf(d approval.Decision) time.Duration {
	if d == approval.Emergency {
		return emergencyLife
	}
	return widerLife
}

func (m *Machine) widerWanted(w Wider, d approval.Decision) (approval.Statement, *plans.Trust, error) {
	t, err := m.Trust()
	switch {
	case err != nil:
		return approval.Statement{}, nil, err
	case t == nil:
		return approval.Statement{}, nil, ErrNoTrust
	case m.state.Plan == "":
		return approval.Statement{}, nil, ErrNoPlan
	}
	return approval.Statement{Decision: d, Subject: approval.Exception, Name: w.Kind, Digest: hashOf([]byte(w.target())), Plan: m.state.Plan,
		Upon: "-", UponStep: "-", Revision: "-", Hashes: map[string]string{}, Targets: []string{w.target()}, Lease: w.For, Reason: w.Reason}, t, nil
}

func widerForm(s approval.Statement) error {
	most := widerAtMost
	if s.Decision == approval.Emergency {
		most = LongestEmergency
	}
	if s.Lease <= 0 || s.Lease > most {
		return fmt.Errorf("%w: signed by %s, an exception lasts at most %s, not %s", ErrWindow,
			map[bool]string{true: "one alone", false: "its quorum"}[s.Decision == approval.Emergency], text(most), text(s.Lease))
	}
	if _, err := approval.Parse(s.Text()); err != nil {
		return fmt.Errorf("an exception that is signed needs a reason, in one line of plain ASCII: %w", err)
	}
	return nil
}

// AcceptWider takes the signatures over WiderStatement's text, writes them down
// and returns what the caller has to open now, with the record of it. The
// statement is of no use a second time, whether the caller succeeds or not. name
// says what the exception is called, or why it cannot be made.
func (m *Machine) AcceptWider(ctx context.Context, now time.Time, by Actor, statement []byte, signatures [][]byte, name func(Wider) (string, error)) (Wider, Record, error) {
	fail := func(err error) (Wider, Record, error) {
		return Wider{}, Record{}, fmt.Errorf("cannot take the exception: %w", err)
	}
	s, err := approval.Parse(statement)
	if err != nil {
		return fail(err)
	}
	if s.Subject != approval.Exception || s.Decision == approval.Deny {
		return fail(fmt.Errorf("%w: it is about a %s", approval.ErrSubject, s.Subject))
	}
	w, err := widerOf(s)
	if err != nil {
		return fail(err)
	}
	want, t, err := m.widerWanted(w, s.Decision)
	if err != nil {
		return fail(err)
	}
	want.Ask = s.Ask
	want.Ask.Trust = t.Hash
	if want.Machine, err = m.identity(t); err != nil {
		return fail(err)
	}
	for _, check := range []func() error{
		func() error { return s.Matches(want) },
		func() error { return widerForm(s) },
		func() error { return s.Open(now) },
		func() error {
			if s.NotAfter.After(now.Add(widerLifeOf(s.Decision))) {
				return fmt.Errorf("%w: a signature over it lives at most %s", ErrWindow, text(widerLifeOf(s.Decision)))
			}
			return nil
		},
		func() error { return m.current(s.Ask, t, false) },
	} {
		if err := check(); err != nil {
			return fail(err)
		}
	}
	by = m.asSigner(by)
	names, err := m.widerSigned(now, by, t, s, signatures)
	if err != nil {
		return fail(err)
	}
	line, err := name(w)
	if err != nil {
		return fail(err)
	}
	if err := m.spend(s.Nonce); err != nil {
		return fail(err)
	}
	r := Record{At: now, Kind: Noted, Actor: by, Line: line, Lease: w.For, Nonce: s.Nonce, Statement: statement, Signatures: signatures,
		Words: fmt.Sprintf("%s for %s, signed by %s: %s", w.target(), text(w.For), strings.Join(names, ", "), w.Reason)}
	if s.Decision == approval.Emergency {
		r.Actor.Signer, r.Emergency = names[0], w.Reason
		r.Words = "EMERGENCY: " + r.Words
	}
	r, err = m.append(r)
	return w, r, err
}

// widerSigned says who signed, where they are enough.
func (m *Machine) widerSigned(now time.Time, by Actor, t *plans.Trust, s approval.Statement, signatures [][]byte) ([]string, error) {
	least := t.Floor(s.Name)
	need := least.Quorum
	if s.Decision == approval.Emergency {
		need = 1
	}
	var names []string
	people := map[string]bool{}
	for _, sig := range signatures {
		v, err := approval.Verify(t, plans.RoleApprove, s.Text(), sig)
		if err == nil && s.Decision == approval.Approve && !least.SelfApproval {
			err = apart(by, v.Signer)
		}
		if err == nil && s.Decision == approval.Emergency {
			err = m.notAgain(v.Signer.Name, now)
		}
		if err != nil {
			return nil, err
		}
		if !people[v.Signer.Name] {
			people[v.Signer.Name] = true
			names = append(names, v.Signer.Name)
		}
	}
	if len(names) < need {
		return nil, fmt.Errorf("%w: %d of %d", ErrNotApproved, len(names), need)
	}
	return names, nil
}

// notAgain refuses a signer's second emergency within a day, unless a quorum has
// signed something since: what one decides alone is void afterwards.
func (m *Machine) notAgain(signer string, now time.Time) error {
	if at, ok := m.state.Alone[signer]; ok && now.Before(at.Add(aloneAgain)) {
		return fmt.Errorf("%w: %s at %s", ErrAlone, signer, at.UTC().Format(time.RFC3339))
	}
	return nil
}
