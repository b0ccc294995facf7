package enforce

import (
	"net/netip"
	"slices"
	"time"

	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/plans"
)

// MaxPortsPerPeer is how many different ports above 1023 two addresses may use
// between them before the flows wait for a person: more than that is a wrong
// direction, or data connections of a protocol that negotiates them.
const MaxPortsPerPeer = 8

// MaxPortsPerClient is the same for one client and one protocol towards
// everybody, in groups whose rules do not name the destination.
const MaxPortsPerClient = 64

// Held is what Build did not allow by itself, and what it allowed with a
// question: nothing of the evidence is in neither place.
type Held struct {
	Lines     []Line         `json:"lines"`     // sorted; one-way ones are allowed all the same
	Attempts  map[string]int `json:"attempts"`  // by group: flows that were never answered; no question
	Openings  map[string]int `json:"openings"`  // by group: flows seen only while a gate stood open
	Excluded  map[string]int `json:"excluded"`  // by group: flows that an excision took out
	Untraced  map[string]int `json:"untraced"`  // by group: flows of which only the first packet was seen so far
	Inbound   map[string]int `json:"inbound"`   // by group: flows that outside hosts opened
	Lifeline  map[string]int `json:"lifeline"`  // by group: flows that a lifeline lets pass
	Windowed  []string       `json:"windowed"`  // declared flows whose window is shut now
	Expired   []string       `json:"expired"`   // declared flows that have expired
	NoMembers []string       `json:"noMembers"` // declared flows whose source is in no group
}

// Open returns the lines that nobody answered.
func (h Held) Open() []Line {
	var out []Line
	for _, l := range h.Lines {
		if l.Answer == nil {
			out = append(out, l)
		}
	}
	return out
}

// Origin says what a rule of a policy comes from.
type Origin struct {
	Flows    []flow.Flow `json:"flows,omitempty"` // observed flows that it was made of or covers by its own scope
	Declared string      `json:"declared,omitempty"`
	Answer   *Answer     `json:"answer,omitempty"`
}

// Build makes the policy of a plan from evidence rows (monitor.Evidence.Rows)
// and answers. Rows first seen after upTo do not count. The same input gives
// the same policy, rule by rule.
func Build(p *plans.Plan, rows []monitor.Row, answers Answers, upTo time.Time) (policy.Policy, Held) {
	pol, held, _ := BuildWithOrigins(p, rows, answers, upTo)
	return pol, held
}

// cell is what becomes allowed as one: a group's service, with the destination
// and the endpoint where the group's rules name them.
type cell struct {
	group    string
	endpoint netip.Addr // zero: every endpoint of the group
	dest     netip.Addr // zero: everywhere outside
	service  flow.Service
	reason   policy.Reason
}

type builder struct {
	plan     *plans.Plan
	answers  Answers
	upTo     time.Time
	held     Held
	lines    lines
	declared []matcher // of the declared flows that are in force
	never    nevers
	neverBy  map[lineKey]*plans.Never // which entry of the plan answers a line
	life     lifelines
	cells    map[cell][]*monitor.Row
	answered map[string][]flow.Flow // by the answer's id
	many     map[peer]flow.Service  // peers with too many ports: the range that they span
}

type peer struct {
	group          string
	client, server netip.Addr // server zero: towards everybody
	proto          flow.Proto
}

// BuildWithOrigins is Build, with the origin of each rule at its index.
func BuildWithOrigins(p *plans.Plan, rows []monitor.Row, answers Answers, upTo time.Time) (policy.Policy, Held, []Origin) {
	b := &builder{plan: p, answers: answers, upTo: upTo, lines: lines{}, never: neversOf(p), neverBy: map[lineKey]*plans.Never{}, life: lifelinesOf(p), cells: map[cell][]*monitor.Row{},
		answered: map[string][]flow.Flow{},
		held: Held{Attempts: map[string]int{}, Openings: map[string]int{}, Excluded: map[string]int{},
			Untraced: map[string]int{}, Inbound: map[string]int{}, Lifeline: map[string]int{}}}
	var out ruleList
	b.declare(&out)
	var kept []*monitor.Row
	for i := range rows {
		r := &rows[i]
		if !r.First.After(upTo) && b.normal(r) {
			kept = append(kept, r)
		}
	}
	b.many = manyPorts(p, kept)
	for _, r := range kept {
		b.judge(r)
	}
	b.allowObserved(&out)
	b.allowAnswered(&out)
	b.held.Lines = b.lines.list(answers, upTo)
	b.noteEvents()
	b.answerNevers()
	pol, origins := out.sorted()
	return pol, b.held, origins
}

// normal sorts out what is not evidence of normal traffic.
func (b *builder) normal(r *monitor.Row) bool {
	switch {
	case r.Inbound:
		b.held.Inbound[r.Group]++
	case r.Opening != "":
		b.held.Openings[r.Group]++
	case r.Excluded != "":
		b.held.Excluded[r.Group]++
	default:
		return true
	}
	return false
}

// judge puts a row where it belongs: a cell to allow, or a line to ask about.
func (b *builder) judge(r *monitor.Row) {
	g := b.plan.Group(r.Group)
	if b.life.passes(r.Group, r.Flow()) {
		b.held.Lifeline[r.Group]++
		return
	}
	if n := b.never.find(r.Group, r.Client, r.Server, r.Service); n != nil {
		b.hold(finding.NeverSeen, r)
		b.neverBy[lineKey{finding.NeverSeen, r.Group, r.Service, single(r.Server)}] = n
		return
	}
	if a := b.answers.For(r.Group, r.Server, r.Service, b.upTo); a != nil {
		switch a.Verdict {
		case finding.Needed:
			b.answered[a.ID()] = append(b.answered[a.ID()], r.Flow())
		case finding.Never:
			b.hold(finding.NeverSeen, r)
		default:
			b.hold(finding.Refused, r)
		}
		return
	}
	if slices.ContainsFunc(b.declared, func(m matcher) bool { return m.covers(r.Group, r.Client, r.Server, r.Service) }) {
		return
	}
	switch {
	case g == nil || r.Group == plans.Unassigned && g.Allow != "observed":
		b.hold(finding.NotAssigned, r)
	case !r.Answered && !r.Traced:
		b.held.Untraced[r.Group]++
	case !r.Answered && !r.OneWay:
		b.held.Attempts[r.Group]++
	case g.Allow != "observed":
		b.hold(finding.Undeclared, r)
	case r.Guessed:
		b.hold(finding.Guessed, r)
	case b.holdMany(r):
	default:
		c := b.cellOf(g, r)
		b.cells[c] = append(b.cells[c], r)
	}
}

func (b *builder) cellOf(g *plans.Group, r *monitor.Row) cell {
	c := cell{group: r.Group, service: r.Service, reason: policy.Observed}
	by := rulesBy(b.plan, g)
	if slices.Contains(by, "endpoint") {
		c.endpoint = r.Client
	}
	if r.OneWay {
		c.reason = policy.OneWay
	}
	if r.OneWay || slices.Contains(by, "destination") {
		c.dest = r.Server
	}
	return c
}

func rulesBy(p *plans.Plan, g *plans.Group) []string {
	if len(g.RulesBy) > 0 {
		return g.RulesBy
	}
	return p.Enforce.RulesBy
}

func (b *builder) hold(k finding.Kind, r *monitor.Row) {
	b.lines.add(lineKey{k, r.Group, r.Service, single(r.Server)}, sightingOf(r))
}

func sightingOf(r *monitor.Row) sighting {
	return sighting{client: r.Client, first: r.First, last: r.Last, count: r.Connections, days: r.Days}
}

// allowObserved makes rules of the cells that were seen on enough days.
func (b *builder) allowObserved(out *ruleList) {
	need := max(1, b.plan.Monitor.MinDays)
	ready := map[cell][]*monitor.Row{}
	for c, rows := range b.cells {
		var days monitor.Days
		for _, r := range rows {
			days.Union(r.Days)
		}
		if days.Len() < need {
			for _, r := range rows {
				dest := netip.Prefix{}
				if c.dest.IsValid() {
					dest = single(c.dest)
				}
				b.lines.add(lineKey{finding.Rare, c.group, c.service, dest}, sightingOf(r))
			}
			continue
		}
		if c.reason == policy.OneWay {
			for _, r := range rows {
				b.hold(finding.OneWay, r)
			}
		}
		ready[c] = rows
	}
	for _, f := range pack(ready) {
		g := b.plan.Group(f.rule.Group)
		f.rule.Families, f.rule.Owner = narrowed(g.Families), g.Owner
		out.add(f.rule, Origin{Flows: f.flows})
	}
}

// noteEvents says of each rare flow into which calendar events its days fell.
func (b *builder) noteEvents() {
	zone := b.plan.Timezone
	if zone == nil {
		zone = time.UTC
	}
	for i, l := range b.held.Lines {
		if l.Kind != finding.Rare {
			continue
		}
		for _, e := range b.plan.Calendar {
			for _, d := range b.lines[lineKey{l.Kind, l.Group, l.Service, l.Destination}].days.List() {
				from, to := monitor.DayBounds(d, zone)
				if len(plans.Spans(e.Window, zone, from, to)) > 0 {
					b.held.Lines[i].Events = append(b.held.Lines[i].Events, e.Name)
					break
				}
			}
		}
	}
}

// answerNevers gives the lines that the plan itself answers its answer: they are
// no questions.
func (b *builder) answerNevers() {
	for i, l := range b.held.Lines {
		if n := b.neverBy[lineKey{l.Kind, l.Group, l.Service, l.Destination}]; n != nil {
			b.held.Lines[i].Answer = planAnswer(l, n)
		}
	}
}

// allowAnswered makes a rule of each answer "needed".
func (b *builder) allowAnswered(out *ruleList) {
	for _, a := range b.answers {
		g := b.plan.Group(a.Group)
		if a.Verdict != finding.Needed || !a.live(b.upTo) || g == nil || b.overruled(a) {
			continue
		}
		r := policy.Rule{Group: a.Group, Services: []flow.Service{a.Service}, Reason: policy.Answered,
			Owner: g.Owner, Expires: a.Expires, Families: narrowed(g.Families)}
		if a.Destination.IsValid() {
			r.To = []netip.Prefix{a.Destination.Masked()}
		}
		copied := a
		out.add(r, Origin{Flows: b.answered[a.ID()], Answer: &copied})
	}
}

// overruled says whether a later answer to the same question says otherwise.
func (b *builder) overruled(a Answer) bool {
	return slices.ContainsFunc(b.answers, func(o Answer) bool {
		return o.ID() == a.ID() && o.live(b.upTo) && (o.At.After(a.At) ||
			o.At.Equal(a.At) && strictness(o.Verdict) > strictness(a.Verdict))
	})
}
