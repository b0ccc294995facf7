package phases

import (
	"fmt"
	"slices"
	"time"

	"weir/phases/compile"
	"weir/phases/enforce"
	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/phases/refactor"
	"weir/plans"
)

// Shadow is what is known of the refactoring that runs beside the rules in
// force. The kernel's counters speak; the log lines and the two censuses say of
// which flows.
type Shadow struct {
	Digest  string               `json:"digest"`          // of the frozen step that it is of
	Since   time.Time            `json:"since"`           // the counters are read since then; later by what trials took of the time
	Broken  time.Time            `json:"broken,omitzero"` // last time that they were not the same counters, or were not evaluated; zero: never
	Why     string               `json:"why,omitempty"`   // of that
	Packets map[string]Disagreed `json:"packets"`         // by group, since Since
	Lines   []enforce.Line       `json:"lines,omitempty"` // where the two differ, as it was logged
	Odd     []enforce.Line       `json:"odd,omitempty"`   // logged as a difference that the proof does not have
	Begin   time.Time            `json:"begin,omitzero"`  // census at the beginning; zero: none
	Now     time.Time            `json:"now,omitzero"`    // latest census
	Open    []enforce.Line       `json:"open,omitempty"`  // connections of both that the refactoring would cut
}

// Disagreed counts a group's packets by which the two differ.
type Disagreed struct {
	Widens  uint64         `json:"widens"`
	Narrows uint64         `json:"narrows"`
	Moved   []monitor.Span `json:"moved,omitempty"` // when the second one moved
}

// refactorOf finds a refactoring by name.
func refactorOf(plan plans.Plan, name string) (plans.Refactor, bool) {
	i := slices.IndexFunc(plan.Refactor, func(r plans.Refactor) bool { return r.Name == name })
	if i < 0 || name == "" {
		return plans.Refactor{}, false
	}
	return plan.Refactor[i], true
}

// candidate is what a refactoring would put in the place of the rules in force:
// its own, what is declared, and what was answered "never" since its groups
// were narrowed last.
func candidate(plan plans.Plan, r plans.Refactor, in compile.Input, who resolver, answers []plans.Never) (*compile.Shadow, error) {
	after, err := refactor.Apply(in.Policy, plan, r)
	if err != nil {
		return nil, err
	}
	said, err := nevers(answers, who)
	if err != nil {
		return nil, err
	}
	c := &compile.Shadow{Name: r.Name, Groups: r.Groups}
	for _, rule := range after.Rules {
		if slices.Contains(r.Groups, rule.Group) {
			c.Policy.Rules = append(c.Policy.Rules, rule)
		}
	}
	for _, n := range said {
		if slices.Contains(r.Groups, n.Group) && !slices.ContainsFunc(in.Never, func(o compile.Never) bool { return sameNever(n, o) }) {
			c.Never = append(c.Never, n)
		}
	}
	return c, nil
}

func sameNever(a, b compile.Never) bool {
	return a.Group == b.Group && slices.Equal(a.From, b.From) && slices.Equal(a.To, b.To) && slices.Equal(a.Services, b.Services)
}

// evaluated returns the candidate that ran in the shadow upon which a swap is
// frozen; nil where there was none.
func evaluated(plan plans.Plan, step Step, over *Frozen) *compile.Shadow {
	if over == nil || over.Input.Shadow == nil || over.Plan != plan.Hash || step.Name != swapPrefix+over.Input.Shadow.Name {
		return nil
	}
	return over.Input.Shadow
}

// sides are the two policies that a step's refactoring is about: what its
// groups may do without it and with it. What has expired is in neither.
func sides(in compile.Input, over *Frozen, groups []string, at time.Time) (before, after policy.Policy) {
	if s := in.Shadow; s != nil {
		return reach(in.Policy, groups, in.Never), reach(s.Policy, groups, in.Never, s.Never)
	}
	if over != nil {
		before = reach(over.Input.Policy.At(at), groups, over.Input.Never)
	}
	return before, reach(in.Policy, groups, in.Never)
}

// reach is what rules and nevers together let groups do.
func reach(p policy.Policy, groups []string, denied ...[]compile.Never) policy.Policy {
	var own policy.Policy
	var services []flow.Service
	for _, r := range p.Rules {
		if slices.Contains(groups, r.Group) {
			own.Rules = append(own.Rules, r)
			services = append(services, r.Services...)
		}
	}
	var never []policy.Rule
	for _, n := range slices.Concat(denied...) {
		of := n.Services
		if len(of) == 0 {
			of = flow.MergeServices(services)
		}
		for _, g := range groups {
			if n.Group == "" || n.Group == g {
				never = append(never, policy.Rule{Group: g, Endpoints: n.From, To: n.To, Services: of})
			}
		}
	}
	never = slices.DeleteFunc(never, func(r policy.Rule) bool {
		return !slices.ContainsFunc(r.Services, func(s flow.Service) bool { return slices.ContainsFunc(services, s.Overlaps) })
	})
	return refactor.Without(own, never, groups...)
}

// proof says what a step's refactoring changes; nil where it has none.
func (m *Machine) proof(step Step, mat Material) (*refactor.Proof, error) {
	if step.Phase() != "refactor" {
		return nil, nil
	}
	var over *Frozen
	if m.state.Stable != "" {
		f, err := m.frozen(m.state.Stable)
		if err != nil {
			return nil, err
		}
		over = &f
	}
	in, err := input(m.plan, step, over, mat)
	if err != nil {
		return nil, err
	}
	return proof(m.plan, step, in, over, mat), nil
}

func proof(plan plans.Plan, step Step, in compile.Input, over *Frozen, mat Material) *refactor.Proof {
	r, ok := refactorOf(plan, step.Wave())
	if !ok || step.Phase() != "refactor" {
		return nil
	}
	before, after := sides(in, over, r.Groups, mat.UpTo)
	var seen []refactor.Seen
	if mat.Seen != nil {
		seen = mat.Seen()
	}
	p, _, _ := refactor.Prove(r.Name, before, after, r.Groups, seen, plan)
	return &p
}

// Compared returns the two policies that a frozen step's refactoring is about,
// rule by rule, and its groups; over is the step that it was frozen upon.
func Compared(f Frozen, over *Frozen) (before, after policy.Policy, groups []string) {
	if s := f.Input.Shadow; s != nil {
		return f.Input.Policy, s.Policy, s.Groups
	}
	if over != nil {
		before = over.Input.Policy.At(f.UpTo)
	}
	return before, f.Input.Policy, f.Step.Narrows
}

// Differences lists exactly what a frozen step's refactoring allows beyond what
// was allowed before, and no longer; over is the step that it was frozen upon.
// Nil, nil where it has none.
func Differences(f Frozen, over *Frozen) (widens, narrows []policy.Box) {
	if f.Proof == nil {
		return nil, nil
	}
	groups := f.Step.Narrows
	if s := f.Input.Shadow; s != nil {
		groups = s.Groups
	}
	before, after := sides(f.Input, over, groups, f.UpTo)
	narrows, widens = policy.Diff(before, after, groups...)
	return widens, narrows
}

// Beside says for a flow of a group what the shadow of a frozen step makes of
// it: flow.Widens, flow.Narrows, or "" where the two agree.
func Beside(f Frozen) func(group string, of flow.Flow) flow.Verdict {
	s := f.Input.Shadow
	if s == nil {
		return func(string, flow.Flow) flow.Verdict { return "" }
	}
	before, after := sides(f.Input, nil, s.Groups, f.UpTo)
	was, is := policy.NewIndex(before), policy.NewIndex(after)
	return func(group string, of flow.Flow) flow.Verdict {
		_, old := was.Allows(group, of)
		_, now := is.Allows(group, of)
		switch {
		case !slices.Contains(s.Groups, group), old == now:
			return ""
		case now:
			return flow.Widens
		}
		return flow.Narrows
	}
}

// gateProof: within the budget, and where a shadow ran, exactly what it had.
func gateProof(a asking) GateResult {
	p := a.Proof
	r, ok := refactorOf(a.plan, a.step.Wave())
	switch {
	case p == nil || !ok:
		return cannotTell("what it changes is computed when it is requested: weir request")
	case p.Exceeds(r.Budget) != "":
		return refuse(time.Time{}, "%s", p.Exceeds(r.Budget))
	}
	if a.step.Shadow == "" && slices.Contains(a.step.Gates, GateShadow) {
		h := a.Heads[a.Stable]
		switch {
		case h.Step.Shadow != r.Name || h.Proof == nil:
			return cannotTell("%s%s is not in force", shadowPrefix, r.Name)
		case h.Proof.Digest != p.Digest:
			return refuse(time.Time{}, "what it changes is not what was approved with %s, now for example %s; run the shadow again: weir request --step %s",
				h.Step.Name, example(*p), h.Step.Name)
		}
	}
	return pass("widens %s; narrows %s", p.Widens.Total(), p.Narrows.Total())
}

func example(p refactor.Proof) string {
	if p.Narrows.Example != "" {
		return p.Narrows.Example
	}
	return p.Widens.Example
}

// watched returns what is known of the shadow in force, or why nothing is.
func (a asking) watched() (*Shadow, time.Duration, *GateResult) {
	r, _ := refactorOf(a.plan, a.step.Wave())
	if s := a.Shadow; s != nil && s.Digest == a.Stable && !s.Since.IsZero() {
		return s, r.Shadow, nil
	}
	g := cannotTell("%s%s was not watched yet", shadowPrefix, r.Name)
	return nil, 0, &g
}

// gateShadow: silence is read from the kernel's counters since the shadow
// began. What was approved is the widening as a whole, and of the narrowing each
// flow that a person answered.
func gateShadow(a asking) GateResult {
	s, long, bad := a.watched()
	if bad != nil {
		return *bad
	}
	if l := unapproved(s.Lines); len(l) > 0 {
		return refuse(time.Time{}, "%s", disputes(l, "answer them: weir findings, or change the plan"))
	}
	if len(s.Odd) > 0 {
		return cannotTell("a packet was logged that the proof knows nothing of: %s", told(s.Odd[0]))
	}
	from := a.now.Add(-long)
	for g, d := range s.Packets {
		for _, m := range d.Moved {
			if m.To.After(from) && !explained(m, g, s.Lines) {
				return cannotTell("group %s: at %s packets were counted that the refactoring would deny, and no log line says which", g, date(a.plan, m.To))
			}
		}
	}
	if s.Broken.After(from) {
		r := cannotTell("%s: %s; it can be told %s", date(a.plan, s.Broken), s.Why, date(a.plan, s.Broken.Add(long)))
		r.Earliest = s.Broken.Add(long)
		return r
	}
	if end := s.Since.Add(long); a.now.Before(end) {
		return refuse(end, "old and new rules run side by side for %s of %s", text(a.now.Sub(s.Since)), text(long))
	}
	var widened, narrowed uint64
	for _, d := range s.Packets {
		widened, narrowed = widened+d.Widens, narrowed+d.Narrows
	}
	return pass("side by side for %s; %d packets lie in the widening, %d in the narrowing, all of it approved", text(a.now.Sub(s.Since)), widened, narrowed)
}

// explained says whether a log line tells of a counter's movement: a line is
// logged once in logMemory, however often its flow comes.
func explained(m monitor.Span, group string, lines []enforce.Line) bool {
	return slices.ContainsFunc(lines, func(l enforce.Line) bool {
		return l.Group == group && l.Kind == finding.Narrows &&
			!l.First.Add(-time.Minute).After(m.From) && !l.Last.Add(logMemory+time.Minute).Before(m.To)
	})
}

// unapproved lists what the refactoring would deny and nobody has given up.
func unapproved(lines []enforce.Line) []enforce.Line {
	return slices.DeleteFunc(slices.Clone(lines), func(l enforce.Line) bool {
		return l.Kind != finding.Narrows || l.Answer != nil && l.Answer.Verdict != finding.Needed
	})
}

func disputes(lines []enforce.Line, todo string) string {
	out := told(lines[0]) + " passes, and the refactoring would deny it"
	if a := lines[0].Answer; a != nil {
		out += fmt.Sprintf(", though %s answered that it is needed", a.Who)
	}
	if n := len(lines) - 1; n > 0 {
		out += fmt.Sprintf("; and %d more", n)
	}
	return out + "; " + todo
}

// told writes a line's flow with one of its clients.
func told(l enforce.Line) string {
	from := ""
	if len(l.Examples) > 0 {
		from = l.Examples[0].String() + " "
	}
	to := "anywhere outside"
	if l.Destination.IsValid() {
		to = l.Destination.Addr().String()
	}
	return fmt.Sprintf("%s %s-> %s %s", l.Group, from, to, l.Service)
}

// gateOpen: behind the swap a connection that is open would break, and a quiet
// one sends no packet that any counter sees.
func gateOpen(a asking) GateResult {
	s, _, bad := a.watched()
	if bad != nil {
		return *bad
	}
	switch {
	case s.Begin.IsZero():
		return cannotTell("the connections that were open when the shadow began were not judged; begin it again: weir request --step %s", a.Heads[a.Stable].Step.Name)
	case s.Now.IsZero() || a.now.Sub(s.Now) > censusAge:
		return cannotTell("the last census of the live connections is of %s", date(a.plan, s.Now))
	}
	if l := unapproved(s.Open); len(l) > 0 {
		return refuse(time.Time{}, "open connections: %s", disputes(l, "answer them: weir findings, or change the plan"))
	}
	return pass("open connections judged at %s and %s", date(a.plan, s.Begin), date(a.plan, s.Now))
}
