package phases

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"weir/phases/approval"
)

// A ticket is signed with a step that denies: it lets the account of a group's
// owner put that group alone back to alert, so often and for so long after the
// confirm. It is no right to anything else, and it ends with the step.

// Bounds of a ticket.
const (
	longestTicket = 30 * 24 * time.Hour
	mostUses      = 10
	mostTickets   = 100
)

// TicketNow is a ticket of what is in force or on trial.
type TicketNow struct {
	approval.Ticket
	Left  int       `json:"left"`           // uses
	Until time.Time `json:"until,omitzero"` // zero: the step is on trial, and the time has not begun

	digest string
}

var accountForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$`)

// tickets checks those that a request asks for.
func tickets(step Step, asked []approval.Ticket) ([]approval.Ticket, error) {
	if len(asked) > mostTickets {
		return nil, fmt.Errorf("%w: %d of them, more than %d", ErrTicket, len(asked), mostTickets)
	}
	var out []approval.Ticket
	for _, t := range asked {
		target, ok := step.Target(t.Group)
		switch {
		case !ok || !target.Treatment.Denies():
			return nil, fmt.Errorf("%w: %s denies nothing to group %q", ErrTicket, step.Name, t.Group)
		case !accountForm.MatchString(t.Account) || t.Account == "root":
			return nil, fmt.Errorf("%w: %q is no account that needs one", ErrTicket, t.Account)
		case t.Times < 1 || t.Times > mostUses:
			return nil, fmt.Errorf("%w: it is for 1 to %d uses, not %d", ErrTicket, mostUses, t.Times)
		case t.For < time.Second || t.For > longestTicket || t.For%time.Second != 0:
			return nil, fmt.Errorf("%w: it is for whole seconds and %s at most, not %s", ErrTicket, text(longestTicket), t.For)
		case slices.ContainsFunc(out, func(o approval.Ticket) bool { return o.Group == t.Group && o.Account == t.Account }):
			return nil, fmt.Errorf("%w: %s has two for group %s", ErrTicket, t.Account, t.Group)
		}
		out = append(out, t)
	}
	return out, nil
}

// Tickets lists those that can be used now.
func (m *Machine) Tickets(now time.Time) []TicketNow {
	s := m.state
	digest := s.Stable
	var at time.Time
	if s.Trial != nil {
		digest = s.Trial.Digest
	} else if n := len(s.Stack); n > 0 {
		at = s.Stack[n-1].At
	}
	ask := s.Heads[digest].Ask
	if ask == nil || s.Gone {
		return nil
	}
	var out []TicketNow
	for _, t := range ask.Tickets {
		n := TicketNow{Ticket: t, Left: t.Times - s.Tickets[ticketKey(digest, t)], digest: digest}
		if !at.IsZero() {
			n.Until = at.Add(t.For)
		}
		if n.Left > 0 && (n.Until.IsZero() || now.Before(n.Until)) {
			out = append(out, n)
		}
	}
	return out
}

func ticketKey(digest string, t approval.Ticket) string {
	return digest + " " + t.Group + " " + t.Account
}

// UseTicket puts a group back to alert for the account that a ticket names.
func (m *Machine) UseTicket(ctx context.Context, now time.Time, by Actor, group, reason string) error {
	_, looked := m.Recover(ctx, now) // not fatal: the way back does not wait for the journal
	for _, t := range m.Tickets(now) {
		if t.Group != group || t.Account != by.Name || by.Person() == "" {
			continue
		}
		if m.state.Back[group] {
			return fmt.Errorf("cannot put group %s back to alert: %w: it is in alert already", group, ErrNothing)
		}
		return m.backToAlert(ctx, now, by, group, "by a ticket: "+reason, ticketKey(t.digest, t.Ticket), looked)
	}
	return errors.Join(fmt.Errorf("%w: %s for group %q", ErrNoTicket, by.Name, group), looked)
}
