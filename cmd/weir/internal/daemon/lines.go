package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/nft/capture"
	"weir/phases"
	"weir/phases/enforce"
	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/phases/watch"
)

// census is what the last look at the live connections found.
type census struct {
	at    time.Time
	lines []enforce.Line
}

// censusEvery is how often the live connections are judged while a step lists
// or denies.
const censusEvery = 24 * time.Hour

// judging returns the policy that lists or denies now: the trial's, else the
// confirmed step's; false where nothing is judged.
func (d *Daemon) judging() (phases.Frozen, policy.Policy, bool) {
	s := d.machine.State()
	digest := s.Stable
	if s.Trial != nil {
		digest = s.Trial.Digest
	}
	if digest == "" {
		return phases.Frozen{}, policy.Policy{}, false
	}
	if name := s.Heads[digest].Step.Name; phases.PhaseOf(name) == phases.StepMonitor || name == phases.StepOff {
		return phases.Frozen{}, policy.Policy{}, false // seen without the file, which may be large
	}
	f, err := d.frozenStep(digest)
	if err != nil {
		return phases.Frozen{}, policy.Policy{}, false
	}
	return f, f.Input.Policy, true
}

// takeCensus judges the connections that are open now: behind a step they
// would break at their next reconnect, and no packet says so before.
func (d *Daemon) takeCensus(ctx context.Context, now time.Time) error {
	_, pol, ok := d.judging()
	if !ok {
		return nil
	}
	p := d.machine.Plan()
	var open []flow.Record
	err := capture.Dump(ctx, capture.Options{Now: d.cfg.Now}, func(r flow.Record) error {
		if !d.answering(r) {
			open = append(open, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	groupOf := func(r flow.Record) string { return d.evidence.GroupOf(d.classes, r) }
	d.census = census{at: now, lines: enforce.Census(&p, pol, open, groupOf, d.answers, now)}
	return nil
}

func (d *Daemon) dailyCensus(ctx context.Context, now time.Time) error {
	if now.Sub(d.census.at) < censusEvery {
		return nil
	}
	return d.takeCensus(ctx, now)
}

// openLines lists what would have been denied, or was, with the census.
func (d *Daemon) openLines(now time.Time) []enforce.Line {
	p := d.machine.Plan()
	if p.Hash == "" {
		return nil
	}
	return enforce.Join(enforce.Lines(&p, d.evidence.Judged(), d.answers, now), d.census.lines)
}

func (d *Daemon) lines(ctx context.Context, c caller, in api.LinesArgs) ([]enforce.Line, error) {
	if d.machine.Plan().Hash == "" {
		return nil, exit.From(phases.ErrNoPlan)
	}
	var out []enforce.Line
	open := append(d.openLines(c.now), d.shadowLines(c.now)...)
	for _, l := range append(slices.Clone(open), d.heldLines(c.now)...) {
		// A flow that was held back before alert and would be denied in it is one question.
		again := func(o enforce.Line) bool { return o.ID == l.ID && o.Kind != l.Kind }
		if l.Kind != finding.WouldDeny && l.Kind != finding.Denied && l.Kind != finding.Narrows && slices.ContainsFunc(open, again) {
			continue
		}
		if in.All || l.Answer == nil {
			out = append(out, l)
		}
	}
	return out, nil
}

// heldLines lists the flows that wait for a person before any step.
func (d *Daemon) heldLines(now time.Time) []enforce.Line {
	return d.held(now, 0).Lines
}

func (d *Daemon) answer(ctx context.Context, c caller, in api.AnswerArgs) (enforce.Line, error) {
	v, err := finding.ParseVerdict(string(in.Verdict))
	if err != nil {
		return enforce.Line{}, exit.Errorf(exit.Usage, "%w", err)
	}
	for _, l := range slices.Concat(d.openLines(c.now), d.shadowLines(c.now), d.heldLines(c.now)) {
		if l.ID != in.ID {
			continue
		}
		a := enforce.Answer{Group: l.Group, Service: l.Service, Destination: l.Destination, Verdict: v, Who: c.Name, Reason: in.Reason, At: c.now}
		if err := d.machine.Note(ctx, c.now, c.Actor, phases.Answered, phases.Record{Line: l.ID, Answer: string(v),
			Words: "answered " + string(v) + ": " + l.Finding().Flow}); err != nil {
			return l, err
		}
		if err := d.store.AddAnswer(a); err != nil {
			return l, err
		}
		d.answers = append(d.answers, a)
		l.Answer = &a
		return l, nil
	}
	return enforce.Line{}, exit.Errorf(exit.Invalid, "no question has the id %q", in.ID).WithHint("weir findings lists them")
}

// findings lists what is no question: devices that moved, inbound connections,
// losses, and once something is judged what the policy has never seen and which
// rules nobody used.
func (d *Daemon) findings(ctx context.Context, c caller, in None) ([]finding.Finding, error) {
	p, err := d.needPlan()
	if err != nil {
		return nil, err
	}
	if err := d.refresh(ctx, c.now, freshFor); err != nil {
		return nil, err
	}
	drift, err := d.driftFindings(c.now)
	if err != nil {
		return nil, err
	}
	out := slices.Concat(monitor.Findings(&p, d.evidence, d.classes), d.visitors(), d.bootFindings(), d.shadowFindings(c.now), drift, d.addedFindings(c.now), d.hidingFindings(ctx, c.now))
	if f, pol, ok := d.judging(); ok && f.Step.Denies() {
		rows := d.rows(c.now, statusAge)
		out = append(out, watch.Deviations(pol, rows, f.UpTo)...)
		out = append(out, watch.Unused(pol, rows, c.now.Add(-90*24*time.Hour))...)
	}
	if f, _, ok := d.judging(); ok {
		for _, r := range phases.Expired(f, c.now) {
			out = append(out, finding.Finding{Fingerprint: finding.Fingerprint("expired", r.Group, r.Name), Kind: finding.Overdue,
				Severity: finding.Warning, Group: r.Group, First: r.Expires, Last: c.now, Count: 1, State: finding.New,
				Words: fmt.Sprintf("the declared flow %s of %s expired on %s and is still allowed; freeze the step again without it: weir request --step %s",
					r.Name, r.Group, r.Expires.In(p.Timezone).Format("2006-01-02"), f.Step.Name)})
		}
	}
	finding.Sort(out)
	return out, nil
}

// watchCounters notes when a group's would-be-denied counter last moved: silence
// is read from the kernel's counters, never from log lines alone.
func (d *Daemon) watchCounters(ctx context.Context, now time.Time) error {
	if !d.machine.Look().Present {
		d.moved, d.would = nil, nil
		return nil
	}
	counts, err := d.groupCounters(ctx)
	if err != nil {
		return err
	}
	if d.moved == nil {
		d.moved, d.would = map[string]time.Time{}, map[string]uint64{}
	}
	for g, c := range counts {
		last, known := d.would[g]
		if _, seen := d.moved[g]; !seen {
			d.moved[g] = time.Time{}
		}
		if c.Would.Packets != last && (known || c.Would.Packets > 0) {
			d.moved[g] = now
		}
		d.would[g] = c.Would.Packets
	}
	return d.listen(now)
}
