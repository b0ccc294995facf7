package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/lifeline"
	"weir/nft/host"
	"weir/phases"
	"weir/phases/compile"
	"weir/phases/enforce"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/phases/refactor"
	"weir/plans"
)

// material gathers what a step is frozen from.
func (d *Daemon) material(now time.Time) (phases.Material, error) {
	facts, err := d.facts(now, 0)
	if err != nil {
		return phases.Material{}, err
	}
	p := d.machine.Plan()
	m := phases.Material{UpTo: d.upTo(now), Facts: facts}
	rows := d.rows(now, 0)
	m.Rows = rows
	m.Policy, _ = enforce.Build(&p, rows, d.answers, m.UpTo)
	m.Policy = withoutWindows(p, m.Policy).At(now)
	data, err := json.Marshal(rows)
	if err != nil {
		return m, err
	}
	sum := sha256.Sum256(data)
	m.Evidence = "sha256:" + hex.EncodeToString(sum[:])
	machine, err := host.Look("/")
	if err != nil {
		return m, err
	}
	for _, i := range machine.Interfaces {
		for _, x := range i.Prefixes {
			m.Self = append(m.Self, netip.PrefixFrom(x.Addr(), x.Addr().BitLen()))
		}
	}
	m.Links = linksOf(p, machine)
	if m.Lifelines, err = d.lifelines(p, machine); err != nil {
		return m, err
	}
	m.Floor = lifeline.Floor(p, machine)
	m.InboundAllow = d.inboundAllow(p)
	m.Seen = func() []refactor.Seen { return d.seen(rows) }
	m.Never = enforce.Nevers(d.answers, p.Enforce.Deny, now)
	return m, nil
}

// linksOf lists the prefixes of the inside links: only there is a MAC address an
// endpoint's own.
func linksOf(p plans.Plan, machine host.Machine) []netip.Prefix {
	var out []netip.Prefix
	for _, i := range machine.Interfaces {
		inside := slices.ContainsFunc(i.Prefixes, func(x netip.Prefix) bool { return insidePrefix(p.Scope, x) }) || slices.Contains(p.Scope.InsideIfaces, i.Name)
		for _, x := range i.Prefixes {
			if inside && !x.Addr().IsLinkLocalUnicast() && !i.Loopback {
				out = append(out, x.Masked())
			}
		}
	}
	return out
}

func (d *Daemon) links(p plans.Plan) []netip.Prefix {
	machine, err := host.Look("/")
	if err != nil {
		d.log.Error("cannot read the interfaces", "error", err)
		return nil
	}
	return linksOf(p, machine)
}

// lifelines lists what this machine itself depends on.
func (d *Daemon) lifelines(p plans.Plan, machine host.Machine) ([]compile.Lifeline, error) {
	lines, err := lifeline.Of(p, machine)
	if err != nil {
		d.log.Warn("a lifeline has no address", "error", err)
	}
	return lines, nil
}

func insidePrefix(s plans.Scope, x netip.Prefix) bool {
	return slices.ContainsFunc(s.Inside, func(i netip.Prefix) bool { return i.Contains(x.Addr()) })
}

// inboundAllow lists what outside hosts may open with "inbound: refuse": the
// declared flows from outside.
func (d *Daemon) inboundAllow(p plans.Plan) []compile.InboundRule {
	var out []compile.InboundRule
	for _, decl := range p.Declared {
		if !decl.From.Outside && !decl.From.Any {
			continue
		}
		r := compile.InboundRule{Services: decl.Services, To: slices.Clone(decl.To.Prefixes)}
		for _, name := range decl.To.Groups {
			for _, g := range p.Groups {
				if g.Name == name {
					r.To = append(r.To, g.Members...)
				}
			}
		}
		out = append(out, r)
	}
	return out
}

// upTo is the moment up to which a flow that was seen is allowed for having been
// seen: now while nothing is judged; from the first alert step on, the moment
// that it was frozen for. What comes later would have been denied, and passes a
// block step only when a person answered that it is needed.
func (d *Daemon) upTo(now time.Time) time.Time {
	s := d.machine.State()
	upTo := now
	for i := len(s.Confirms) - 1; i >= 0 && s.Confirms[i].Step != phases.StepMonitor; i-- {
		if s.Confirms[i].Step == phases.StepAlert {
			upTo = s.Heads[s.Confirms[i].Digest].UpTo
		}
	}
	return upTo
}

// facts gathers what the gates look at,
// from evidence of at most that age.
func (d *Daemon) facts(now time.Time, age time.Duration) (phases.Facts, error) {
	p := d.machine.Plan()
	if p.Hash == "" {
		return phases.Facts{}, phases.ErrNoPlan
	}
	d.heartbeat(now) // a gate that looks at the last second wants that second
	rows, held := d.rows(now, age), d.held(now, age)
	f := phases.Facts{
		Observed: d.evidence.Spans(), Lines: d.openLines(now), Moved: d.moved, Census: d.census.at, Held: &held, Shadow: d.shadowFacts(now),
		Unanswered: monitor.UnansweredShare(rows), Heartbeat: d.heard,
		Surroundings: d.surroundings(context.Background(), surroundingsAge(age)),
		Probes:       d.prober.Latest(),
	}
	if n := len(f.Observed); n > 0 {
		f.Gaps = d.evidence.Gaps(f.Observed[0].From, f.Observed[n-1].To)
	}
	if w, ok := d.evidence.Witnessed(); ok {
		f.Witnessed = &w
	}
	if p.Monitor.Unseen > 0 {
		f.Discovered = append([]monitor.Discovered{}, monitor.Discovery(rows)...)
	}
	return f, nil
}

// changes says what a frozen step changes against what is in force.
func (d *Daemon) changes(f phases.Frozen) (api.Changes, error) {
	_, _, targets, _ := d.machine.State().Current()
	out := api.Changes{Rules: len(f.Input.Policy.Rules)}
	for _, t := range f.Step.Targets {
		c := api.GroupChange{Group: t.Group, Before: compile.Open, After: t.Treatment, Share: t.Share}
		for _, b := range targets {
			if b.Group == t.Group {
				c.Before = b.Treatment
			}
		}
		for _, r := range f.Input.Policy.Rules {
			if r.Group == t.Group {
				c.Rules++
			}
		}
		out.Groups = append(out.Groups, c)
	}
	if f.OverStep != "" {
		over, err := d.frozenStep(f.OverStep)
		if err != nil {
			return out, err
		}
		out.Proof = f.Proof
		out.Widens, out.Narrows = phases.Differences(f, &over)
		for _, g := range f.Step.Targets {
			if f.Proof != nil {
				break // it says what the step changes
			}
			before, after := ofGroup(over.Input.Policy, g.Group), ofGroup(f.Input.Policy, g.Group)
			if b, ok := over.Step.Target(g.Group); !ok || !b.Treatment.Denies() {
				continue // everything passed before; what is denied now is in the lines
			}
			narrows, widens := policy.Diff(before, after)
			out.Widens = append(out.Widens, widens...)
			out.Narrows = append(out.Narrows, narrows...)
		}
	}
	p := d.machine.Plan()
	rows := d.rows(f.At, statusAge)
	_, held := enforce.Build(&p, rows, d.answers, f.UpTo)
	out.Held = held.Lines
	index := policy.NewIndex(f.Input.Policy)
	for _, r := range rows {
		if !r.Active() {
			continue
		}
		if t, ok := f.Step.Target(r.Group); ok && t.Treatment.Denies() && slices.Contains(f.Step.Narrows, r.Group) {
			if _, ok := index.Allows(r.Group, r.Flow()); !ok {
				out.Used = append(out.Used, r.Flow())
			}
		}
	}
	return out, nil
}

func ofGroup(p policy.Policy, group string) policy.Policy {
	var out policy.Policy
	for _, r := range p.Rules {
		if r.Group == group {
			out.Rules = append(out.Rules, r)
		}
	}
	return out
}
