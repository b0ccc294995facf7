package phases

import (
	"errors"
	"slices"
	"time"

	"weir/plans"
)

// Status is everything that a status page says. It is a value: nothing in it
// is read later.
type Status struct {
	Plan      string     `json:"plan"` // hash, "" none
	PlanName  string     `json:"planName,omitempty"`
	Step      string     `json:"step"` // confirmed and in force; "off" without one
	StepPlan  string     `json:"stepPlan,omitempty"`
	Since     time.Time  `json:"since,omitzero"` // of its confirm
	Revision  string     `json:"revision,omitempty"`
	Targets   []Target   `json:"targets,omitempty"` // a group that was put back is in alert
	Back      []string   `json:"back,omitempty"`
	Trial     *TrialNow  `json:"trial,omitempty"`
	Lapsed    bool       `json:"lapsed,omitempty"`  // the newest trial ended by itself
	Request   *Waiting   `json:"request,omitempty"` // what waits for approval or arming
	Void      string     `json:"void,omitempty"`    // nothing waits: why the newest request, whose step did not come into force, cannot be used
	Next      string     `json:"next,omitempty"`    // the step after this one
	Gates     []GateNow  `json:"gates,omitempty"`   // of Next or, where one waits, of the request
	Expected  []Expected `json:"expected,omitempty"`
	Paused    *Pause     `json:"paused,omitempty"`
	Gone      bool       `json:"gone,omitempty"`    // the kernel is empty though something was confirmed
	Unknown   bool       `json:"unknown,omitempty"` // an intent has no outcome yet
	Drift     string     `json:"drift,omitempty"`
	Foreign   *Foreign   `json:"foreign,omitempty"`  // what somebody else changed in the table
	Ways      string     `json:"ways,omitempty"`     // what is missing of the ways back
	Openings  []Opening  `json:"openings,omitempty"` // that go on and that nobody approved since
	Overdue   []Overdue  `json:"overdue,omitempty"`
	Drill     time.Time  `json:"drill,omitzero"`
	DrillTook string     `json:"drillTook,omitempty"`
	BootID    string     `json:"bootId,omitempty"`
	Off       string     `json:"off,omitempty"`   // by what weir is switched off: nothing is armed or restored
	Trust     *TrustNow  `json:"trust,omitempty"` // nil: there is no trust file

	Tickets []TicketNow `json:"tickets,omitempty"` // that can be used now
}

// TrustNow is the trust file in force.
type TrustNow struct {
	Hash    string `json:"hash"`
	Office  bool   `json:"office,omitempty"` // one person may approve their own steps
	Refused string `json:"refused,omitempty"`
}

// GateNow is a gate's answer.
type GateNow = GateResult

// TrialNow is the running trial.
type TrialNow struct {
	Step     string        `json:"step"`
	Digest   string        `json:"digest"`
	Revision string        `json:"revision"`
	Left     time.Duration `json:"left"` // nanoseconds, as the kernel said
	Brownout bool          `json:"brownout,omitempty"`
	Observes bool          `json:"observes,omitempty"` // it may confirm itself
	By       string        `json:"by,omitempty"`

	Emergency string `json:"emergency,omitempty"` // the signed reason: armed by one signer, void unless the quorum signs
}

// Waiting is a frozen step that waits.
type Waiting struct {
	Step    string    `json:"step"`
	Digest  string    `json:"digest"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	UpTo    time.Time `json:"upTo,omitzero"`
	Have    []string  `json:"have,omitempty"` // who approved, and it has not expired
	Quorum  int       `json:"quorum"`
	Expires time.Time `json:"expires,omitzero"` // when the first of them does
	Refused string    `json:"refused,omitempty"`
	Signed  bool      `json:"signed,omitempty"` // it is decided by signatures

	Rehearsal *Rehearsal `json:"rehearsal,omitempty"`
}

// Status tells what is. It reads neither kernel nor journal: call Recover
// first.
func (m *Machine) Status(now time.Time, f Facts) Status {
	s := m.state
	out := Status{
		Plan: s.Plan, PlanName: m.plan.Name, Back: m.back(), Lapsed: s.LastLapse, Paused: s.Pause, Gone: s.Gone, Unknown: s.Intent != nil,
		Drift: s.Drift, Foreign: s.Foreign, Revision: s.StableID, Drill: s.Drill, BootID: s.Boot, Off: m.off,
	}
	if m.ways != nil {
		out.Ways = m.ways.Error()
	}
	if t, err := m.Trust(); t != nil || err != nil {
		out.Trust = &TrustNow{}
		if t != nil {
			out.Trust.Hash, out.Trust.Office = t.Hash, t.Profile == plans.ProfileOffice
		}
		if err != nil {
			out.Trust.Refused = err.Error()
		}
	}
	out.Step, out.StepPlan, out.Targets, _ = s.Current()
	if n := len(s.Stack); n > 0 {
		out.Since = s.Stack[n-1].At
	}
	if s.DrillFor > 0 {
		out.DrillTook = s.DrillFor.Round(time.Millisecond).String()
	}
	for _, o := range s.Openings {
		if o.Open() {
			out.Openings = append(out.Openings, o)
		}
	}
	if t := s.Trial; t != nil {
		h := s.Heads[t.Digest]
		out.Trial = &TrialNow{Step: h.Step.Name, Digest: t.Digest, Revision: h.Revision, Left: m.look.Left, Brownout: t.Brownout, Observes: h.Step.Observes, By: t.By.String(), Emergency: t.Emergency}
	}
	out.Tickets = m.Tickets(now)
	if m.state.Plan == "" {
		return out
	}
	out.Overdue = OverdueGroups(m.plan, s, now)
	out.Expected = Expect(m.plan, f, s, now)
	if next, err := Next(m.plan, m.State()); err == nil {
		out.Next = next.Name
		out.Gates = Gates(m.plan, next, f, s, now)
	}
	if t := s.Trial; t != nil && !t.Brownout {
		// What comes after the one on trial, once that is confirmed; its gates
		// begin to count then.
		out.Next, out.Gates = m.after(t.Digest), nil
	}
	if digest, why := m.newestVoid(); s.Request == nil && why != nil && digest != s.Stable && (s.Trial == nil || digest != s.Trial.Digest) {
		out.Void = why.Error()
	}
	if r := s.Request; r != nil {
		h := s.Heads[r.Digest]
		w := &Waiting{Step: h.Step.Name, Digest: r.Digest, By: r.By.Name, At: r.At, UpTo: h.UpTo, Quorum: m.rule(h.Step).Quorum, Signed: h.Ask != nil, Rehearsal: h.Rehearsal}
		for _, a := range m.valid(now) {
			w.Have = append(w.Have, a.By.String())
			if !a.Expires.IsZero() && (w.Expires.IsZero() || a.Expires.Before(w.Expires)) {
				w.Expires = a.Expires
			}
		}
		if _, err := m.waiting(r.Digest); err != nil {
			w.Refused = err.Error()
		} else if _, err := m.approved(h, now); err != nil && !errors.Is(err, ErrNotApproved) {
			w.Refused = err.Error()
		}
		out.Request = w
		f.Proof = h.Proof
		out.Gates = Gates(m.plan, h.Step, f, s, now)
	}
	return out
}

// after is the step that follows one that is on trial, "" none.
func (m *Machine) after(digest string) string {
	s := m.State()
	h := s.Heads[digest]
	s.Stable, s.StableID = digest, h.Revision
	s.Stack = append(slices.Clone(s.Stack), Confirmed{Digest: digest, Step: h.Step.Name, Plan: h.Plan})
	next, err := Next(m.plan, s)
	if err != nil {
		return ""
	}
	return next.Name
}

// Backouts lists the recorded ways back from what passes now, newest confirmed
// step first and off last; nil when everything is open.
func (m *Machine) Backouts() []Backout {
	h := m.state.Heads[m.state.Stable]
	if m.state.Trial != nil {
		h = m.state.Heads[m.state.Trial.Digest]
	}
	return slices.Clone(h.Backouts)
}

// Frozen reads a frozen step, verified against its digest.
func (m *Machine) Frozen(digest string) (Frozen, error) { return m.frozen(digest) }

// Keep lists the revisions that must stay loaded: those in force and those that
// a recorded way back from them names.
func (m *Machine) Keep() []string {
	keep := map[string]bool{}
	add := func(h Head) {
		keep[h.Revision], keep[h.OffID] = true, true
		for _, b := range h.Backouts {
			keep[b.Nft.ID] = true
		}
	}
	if h, ok := m.state.Heads[m.state.Stable]; ok {
		add(h)
	}
	if t := m.state.Trial; t != nil {
		add(m.state.Heads[t.Digest])
	}
	if m.state.StableID != "" {
		keep[m.state.StableID] = true
	}
	delete(keep, "")
	var out []string
	for id := range keep {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}
