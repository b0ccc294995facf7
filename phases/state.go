package phases

import (
	"maps"
	"slices"
	"time"

	"weir/phases/approval"
	"weir/phases/compile"
)

// State is the fold over the journal's records.
type State struct {
	Plan     string // hash of the registered plan, "" none
	PlanText []byte
	Carried  []Target // the place that each group keeps under the registered plan; filled by Machine.State
	PlanAt   time.Time

	Trust     string // hash of the trust file in force, "" none ever was
	TrustText []byte
	Nonces    map[string]bool      // that are spent
	Tickets   map[string]int       // how often each was used
	Alone     map[string]time.Time // signer → when he last acted without the quorum; emptied when a quorum signs

	Heads     map[string]Head // every frozen step, by digest
	Request   *Pending        // what waits for approval or arming
	Void      map[string]Void // why a digest cannot be used (any more)
	Stable    string          // digest of the confirmed step that is in force; "" none or off
	StableID  string          // revision that should be stable in the kernel
	StableAt  time.Time       // since when it is in force, by a confirm or a way back
	Trial     *Trial
	LastLapse bool                 // the newest trial ended by itself
	Unwell    string               // why the newest trial was ended: the harm that it did; "" it was not
	Stack     []Confirmed          // confirmed steps that one can go back to, oldest first; the last is Stable
	Confirms  []Confirmed          // every confirm ever, oldest first
	Back      map[string]bool      // groups put back to alert
	Since     map[string]time.Time // group → since when its present treatment is in force
	Listed    map[string]time.Time // group → since when what no rule allows has been listed without a break
	Pause     *Pause
	Drill     time.Time // last exercised, zero never
	DrillFor  time.Duration
	Brown     []Brown // brownouts that ran
	Intent    *Record // an intent without an outcome
	Tx        map[string]bool
	LastTx    string
	Boot      string
	WasBack   []string            // groups that were back in alert when the table went
	Unread    string              // revision that was put in force and not read back since; "" none
	Gone      bool                // what was confirmed is not in force: the table is gone from the kernel, or a boot restored an older step
	Copy      string              // the transaction by which somebody went back in a saved copy of the table; "" none
	Out       bool                // everything was taken out of the kernel on purpose
	Drift     string              // words; "" none
	Accepted  map[string]Accepted // surroundings that people know of, by name
	Foreign   *Foreign            // what somebody else changed in the table; nil: nothing
	Openings  []Opening
}

// Pending is a frozen step that waits.
type Pending struct {
	Digest    string
	Seq       uint64
	By        Actor
	At        time.Time
	Approvals []Approval
	Taken     bool // another machine of the set froze it
}

// Approval is a person's yes to exactly one frozen step.
type Approval struct {
	Seq     uint64
	By      Actor
	At      time.Time
	Expires time.Time // zero: never

	Signature []byte // armoured; nil without a trust file
}

// Void says why a frozen step cannot be used.
type Void struct {
	Why error
	At  time.Time
}

// Trial is an armed step that is not confirmed yet.
type Trial struct {
	Digest   string
	Tx       string
	At       time.Time
	Lease    time.Duration
	Brownout bool
	By       Actor

	Emergency string // the reason; "" none
}

// Confirmed is a confirm in the past.
type Confirmed struct {
	Digest string
	Step   string
	Plan   string
	At     time.Time
}

// Pause says that and why the rollout waits for a person.
type Pause struct {
	By    Actor     `json:"by"`
	At    time.Time `json:"at"`
	Words string    `json:"words"`
}

// Brown is a brownout that ran.
type Brown struct {
	Step  string
	Plan  string
	At    time.Time
	Lease time.Duration
}

// Fold computes the state from all records, oldest first.
func Fold(records []Record) State {
	s := State{}
	s.init()
	for _, r := range records {
		s.apply(r)
	}
	return s
}

// Replay is Fold with a look at the state after each record. each neither keeps
// nor changes the state.
func Replay(records []Record, each func(s *State, r Record)) {
	s := State{}
	s.init()
	for _, r := range records {
		s.apply(r)
		each(&s, r)
	}
}

func (s *State) init() {
	s.Heads, s.Void, s.Back = map[string]Head{}, map[string]Void{}, map[string]bool{}
	s.Listed = map[string]time.Time{}
	s.Since, s.Tx = map[string]time.Time{}, map[string]bool{}
	s.Tickets = map[string]int{}
	s.Nonces, s.Alone = map[string]bool{}, map[string]time.Time{}
	s.Accepted = map[string]Accepted{}
}

// Current returns what is in force by confirmation: the step's name, the hash
// of its plan and each group's target, a group that was put back being in
// alert. Without a confirmed step everything is open and the name is "off".
func (s State) Current() (name, plan string, targets []Target, swapped []string) {
	h, ok := s.Heads[s.Stable]
	if !ok {
		return StepOff, s.Plan, nil, nil
	}
	targets = slices.Clone(h.Step.Targets)
	for i, t := range targets {
		if s.Back[t.Group] && t.Treatment.Denies() {
			targets[i] = Target{Group: t.Group, Treatment: compile.Alert}
		}
	}
	return h.Step.Name, h.Plan, targets, h.Step.Swapped
}

func (s *State) void(why error, at time.Time) {
	if s.Request != nil {
		s.Void[s.Request.Digest] = Void{why, at}
		s.Request = nil
	}
}

func (s *State) apply(r Record) {
	boot := s.Boot
	if r.Boot != "" {
		s.Boot = r.Boot
	}
	if r.Tx != "" {
		s.Tx[r.Tx] = true
	}
	if id, ok := r.unread(); ok {
		s.Unread = id
	}
	if r.Nonce != "" {
		s.Nonces[r.Nonce] = true
	}
	switch r.Kind {
	case Trusted:
		if s.Trust != "" {
			s.void(approval.ErrTrust, r.At)
		}
		s.Trust, s.TrustText = r.Trust, r.TrustText
	case Applied:
		s.void(ErrReplanned, r.At)
		s.Plan, s.PlanText, s.PlanAt = r.Plan, r.PlanText, r.At
	case Requested:
		if r.Head == nil {
			return
		}
		s.void(ErrReplaced, r.At)
		h := *r.Head
		h.digest = r.Digest
		s.Heads[r.Digest] = h
		delete(s.Void, r.Digest)
		s.Request = &Pending{Digest: r.Digest, Seq: r.Seq, By: r.Actor, At: r.At, Taken: r.Taken}
	case Approved:
		if s.Request != nil && s.Request.Digest == r.Digest {
			a := Approval{Seq: r.Seq, By: r.Actor, At: r.At, Signature: r.Signature}
			if d := s.Heads[r.Digest].Step.Approval.ExpireAfter; d > 0 {
				a.Expires = r.At.Add(d)
			}
			s.Request.Approvals = append(s.Request.Approvals, a)
		}
	case Denied:
		if s.Request != nil && s.Request.Digest == r.Digest {
			s.void(ErrDenied, r.At)
		}
	case Intent:
		s.Intent = &r
		if r.Op == OpArm && !r.Brownout && s.Request != nil && s.Request.Digest == r.Digest {
			s.void(ErrUsed, r.At)
		}
	case Seen:
		i := s.Intent
		s.Intent = nil
		if r.Done && i != nil {
			s.done(*i, r)
		}
	case Lapsed:
		if t := s.Trial; t != nil && !t.Brownout { // neither a brownout nor an emergency is meant to stay
			s.open(r, OpenLapse, t.Digest, s.moreOpen(t.Digest, s.effective()))
		}
		s.Trial, s.LastLapse = nil, true
	case Adopted:
		if r.Copy {
			s.Copy = r.Tx
		}
		s.adopt(r)
	case AcceptedThat:
		s.Accepted[r.Line] = Accepted{r.Actor, r.At, r.Answer}
	case Drifted:
		s.drifted(r)
	case Mended:
		s.mended(r.At)
	case Emptied:
		s.mended(r.At)
		if t := s.Trial; t != nil && !t.Brownout {
			s.open(r, OpenLapse, t.Digest, s.moreOpen(t.Digest, s.effective()))
		}
		s.Trial, s.Gone = nil, s.Stable != ""
		s.StableID = ""
		s.WasBack = slices.Sorted(maps.Keys(s.Back))
		s.Back = map[string]bool{}
		kind := OpenForeign
		if boot != "" && r.Boot != boot {
			kind = OpenReboot
		}
		s.open(r, kind, s.Stable, denying(s.targetsOf(s.Stable)))
	case Booted:
		s.booted(r)
	case TakenOut:
		s.mended(r.At)
		s.Gone, s.Drift, s.WasBack, s.Out = false, "", nil, true
		s.rolledBack("", "", nil, r, OpenRemoved)
		s.Back = map[string]bool{}
	case Paused:
		s.Pause = &Pause{r.Actor, r.At, r.Words}
	case Resumed:
		s.Pause = nil
	case Drilled:
		s.Drill, s.DrillFor = r.At, r.Took
	case Noted:
		if len(r.Signatures) > 0 {
			s.signed(r)
		}
	}
	if r.Pauses && (r.Kind != Seen || r.Done) && r.Kind != Intent {
		s.Pause = &Pause{r.Actor, r.At, r.Words}
	}
}

// signed notes who decided: one signer alone, or a quorum.
func (s *State) signed(r Record) {
	if r.Emergency == "" {
		clear(s.Alone)
		return
	}
	s.Alone[r.Actor.Signer] = r.At
}

// done applies the outcome of an intent that the kernel shows.
func (s *State) done(i, seen Record) {
	s.Gone, s.Out, s.LastTx, s.LastLapse = false, false, i.Tx, false
	if i.Op != OpGroup {
		s.Unwell = i.Unwell
	}
	if i.Op != OpArm && i.Op != OpGroup && i.Op != OpRepair {
		s.Drift = "" // every map was written
	}
	if i.Emergency != "" || len(i.Uses) > 0 {
		s.signed(i)
	}
	switch i.Op {
	case OpArm:
		s.Trial = &Trial{Digest: i.Digest, Tx: i.Tx, At: i.At, Lease: i.Lease, Brownout: i.Brownout, By: i.Actor, Emergency: i.Emergency}
		if i.Brownout && i.Emergency == "" {
			h := s.Heads[i.Digest]
			s.Brown = append(s.Brown, Brown{h.Step.Name, h.Plan, i.At, i.Lease})
		}
	case OpConfirm:
		h := s.Heads[i.Digest]
		s.Trial = nil
		if s.Request != nil && s.Request.Digest == i.Digest {
			s.void(ErrUsed, seen.At) // the quorum signed an emergency
		}
		c := Confirmed{i.Digest, h.Step.Name, h.Plan, seen.At}
		s.Stack = append(s.Stack, c)
		s.Confirms = append(s.Confirms, c)
		for _, g := range i.Groups {
			delete(s.Back, g)
		}
		if h.Plan != s.Heads[s.Stable].Plan {
			// A group that was sent through alert by a changed plan begins anew.
			for _, t := range s.targetsOf(s.Stable) {
				if now, ok := h.Step.Target(t.Group); ok && t.Treatment.Denies() && !now.Treatment.Denies() {
					delete(s.Listed, t.Group)
				}
			}
		}
		s.setStable(i.Digest, h.Revision, seen.At)
		s.close(seen.At)
		s.settle(seen.At)
	case OpRollback:
		i.At = seen.At
		s.rolledBack(i.Digest, i.Revision, i.Groups, i, OpenRollback)
	case OpGroup:
		if i.Ticket != "" {
			s.Tickets[i.Ticket]++
		}
		denied := denying(s.effective())
		for _, g := range i.Groups {
			s.Back[g] = true
			s.Since[g] = seen.At
		}
		i.At = seen.At
		s.open(i, OpenGroup, s.Stable, slices.DeleteFunc(slices.Clone(i.Groups), func(g string) bool { return !slices.Contains(denied, g) }))
	case OpRestore:
		s.Trial = nil
		for _, g := range i.Groups {
			s.Back[g] = true
		}
		s.setStable(i.Digest, i.Revision, seen.At)
		s.close(seen.At)
	}
	if i.Pauses {
		s.Pause = &Pause{i.Actor, i.At, i.Words}
	}
}

// rolledBack goes to an earlier step, or with an empty digest to off, and ends a
// trial.
func (s *State) rolledBack(digest, revision string, alert []string, r Record, kind OpenKind) {
	approved, before := s.Stable, s.effective()
	var narrowed []string // by the steps that are gone back over
	if t := s.Trial; t != nil && !t.Brownout {
		approved, before = t.Digest, s.targetsOf(t.Digest)
		narrowed = append(narrowed, s.Heads[t.Digest].Step.Narrows...)
	}
	s.Trial = nil
	for n := len(s.Stack); n > 0 && s.Stack[n-1].Digest != digest; n-- {
		narrowed = append(narrowed, s.Heads[s.Stack[n-1].Digest].Step.Narrows...)
		s.Stack = s.Stack[:n-1]
	}
	for _, g := range alert {
		s.Back[g] = true
		s.Since[g] = r.At
	}
	s.setStable(digest, revision, r.At)
	groups := opened(before, s.effective())
	for _, g := range denying(before) {
		if slices.Contains(narrowed, g) && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	s.open(r, kind, approved, groups)
}

func (s *State) adopt(r Record) {
	s.Gone = false
	s.LastTx = r.Tx
	s.Drift = ""
	kind := OpenForeign
	if r.Actor != Self {
		kind = OpenRollback // somebody said that it was him
	}
	moved := r.Revision != s.StableID || r.Digest != s.Stable
	denied := denying(s.effective())
	var back []string // groups that somebody put back
	for _, g := range r.Groups {
		if !s.Back[g] {
			s.Back[g] = true
			s.Since[g] = r.At
			if slices.Contains(denied, g) {
				back = append(back, g)
			}
		}
	}
	maps.DeleteFunc(s.Back, func(g string, _ bool) bool { return !slices.Contains(r.Groups, g) })
	goesOn := s.Trial != nil && s.Heads[s.Trial.Digest].Revision == r.Trial
	forward := moved && r.Digest != "" && !slices.ContainsFunc(s.Stack, func(c Confirmed) bool { return c.Digest == r.Digest })
	switch {
	case forward:
		h := s.Heads[r.Digest]
		s.Trial = nil
		s.Stack = append(s.Stack, Confirmed{r.Digest, h.Step.Name, h.Plan, r.At})
		s.setStable(r.Digest, r.Revision, r.At)
	case moved:
		if r.Digest == "" && r.Revision != "" && !s.isOff(r.Revision) {
			s.Drift = r.Words
		}
		trial := s.Trial
		s.rolledBack(r.Digest, r.Revision, nil, r, kind)
		if goesOn {
			s.Trial = trial
		}
	case goesOn:
		s.open(r, OpenGroup, s.Stable, back)
	case s.Trial != nil && !s.Trial.Brownout:
		s.open(r, kind, s.Trial.Digest, s.moreOpen(s.Trial.Digest, s.effective()))
		s.Trial = nil
	default:
		s.open(r, OpenGroup, s.Stable, back)
		s.Trial = nil
	}
	if r.Trial != "" && !goesOn {
		s.Drift = r.Words
	}
}

// booted takes what a boot restored, which is what is confirmed, or an older
// step. A trial is over with the boot.
func (s *State) booted(r Record) {
	t := s.Trial
	s.Trial, s.LastTx, s.Drift = nil, r.Tx, ""
	was := s.effective()
	if !r.Done && !s.Gone {
		s.WasBack = slices.Sorted(maps.Keys(s.Back))
	}
	s.Back = map[string]bool{}
	for _, g := range r.Groups {
		s.Back[g] = true
	}
	s.StableID = r.Revision
	if r.Done {
		s.Gone, s.WasBack = false, nil
		s.close(r.At)
	} else {
		s.Gone = true
		s.open(r, OpenReboot, s.Stable, opened(was, s.targetsOf(r.Digest)))
	}
	if t != nil && !t.Brownout {
		s.open(r, OpenLapse, t.Digest, s.moreOpen(t.Digest, s.effective()))
	}
}

func (s State) isOff(revision string) bool {
	for _, h := range s.Heads {
		if h.OffID == revision {
			return true
		}
	}
	return false
}

func (s *State) setStable(digest, revision string, at time.Time) {
	before := map[string]Target{}
	for _, t := range s.targetsOf(s.Stable) {
		before[t.Group] = t
	}
	s.Stable, s.StableID, s.StableAt = digest, revision, at
	now := map[string]bool{}
	for _, t := range s.targetsOf(digest) {
		now[t.Group] = true
		if old, ok := before[t.Group]; !ok || !old.Equal(t) || s.Since[t.Group].IsZero() {
			s.Since[t.Group] = at
		}
	}
	maps.DeleteFunc(s.Since, func(g string, _ time.Time) bool { return !now[g] })
	for _, t := range s.targetsOf(digest) {
		if t.Treatment == compile.Open {
			delete(s.Listed, t.Group)
		} else if s.Listed[t.Group].IsZero() {
			s.Listed[t.Group] = at
		}
	}
	maps.DeleteFunc(s.Listed, func(g string, _ time.Time) bool { return !now[g] })
}

func (s State) targetsOf(digest string) []Target { return s.Heads[digest].Step.Targets }

func (s State) effective() []Target {
	_, _, t, _ := s.Current()
	return t
}
