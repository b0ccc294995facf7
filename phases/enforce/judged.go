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

// Lines returns what the rules of a step did not allow, as the kernel logged
// it: would-be-denied, denied and captured flows as questions, with the answers
// that hold at now. What the plan itself never allows counts as answered by it.
func Lines(p *plans.Plan, judged []monitor.Judged, answers Answers, now time.Time) []Line {
	ls := lines{}
	never := byPlan{neversOf(p), map[lineKey]*plans.Never{}}
	for _, j := range judged {
		if j.Verdict.Disagrees() {
			continue // see Disagreements
		}
		k := lineKey{finding.Kind(j.Verdict), j.Group, j.Service(), single(j.Server)}
		ls.add(k, sighting{client: j.Client, first: j.First, last: j.Last, count: j.Count})
		never.note(k, j.Client)
	}
	return never.answer(ls.list(answers, now))
}

// Census judges live connections by a policy: those that no rule allows, with
// how many are open now. Records that ended, and those that outside hosts
// opened, are not judged, nor what a lifeline of the plan lets pass. groupOf is
// monitor.Evidence.GroupOf with the plan's classifier; "" for a record that is
// not to be judged, such as one that a lifeline of this machine lets pass.
func Census(p *plans.Plan, pol policy.Policy, records []flow.Record, groupOf func(flow.Record) string, answers Answers, now time.Time) []Line {
	ls := lines{}
	never := byPlan{neversOf(p), map[lineKey]*plans.Never{}}
	life := lifelinesOf(p)
	index := policy.NewIndex(pol.At(now))
	for _, r := range records {
		if r.Closed {
			continue
		}
		r, judged := monitor.InScope(p.Scope, r)
		if !judged || r.Inbound {
			continue
		}
		group := groupOf(r)
		if group == "" || life.passes(group, r.Flow) {
			continue
		}
		if _, allowed := index.Allows(group, r.Flow); allowed && never.find(group, r.Client, r.Server, r.Service()) == nil {
			continue
		}
		k := lineKey{finding.WouldDeny, group, r.Service(), single(r.Server)}
		ls.add(k, sighting{client: r.Client, first: r.First, last: r.Last, count: 1, open: 1})
		never.note(k, r.Client)
	}
	return never.answer(ls.list(answers, now))
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// byPlan remembers which entry of the plan answers a line.
type byPlan struct {
	nevers
	lines map[lineKey]*plans.Never
}

// note takes in one client of a line: one that no entry speaks of leaves the
// line unanswered (nil).
func (b byPlan) note(k lineKey, client netip.Addr) {
	if have, known := b.lines[k]; known && have == nil {
		return
	}
	b.lines[k] = b.find(k.group, client, k.dest.Addr(), k.service)
}

func (b byPlan) answer(ls []Line) []Line {
	for i, l := range ls {
		n := b.lines[lineKey{l.Kind, l.Group, l.Service, l.Destination}]
		if n == nil {
			continue
		}
		ls[i].Answer = planAnswer(l, n)
	}
	return ls
}

func planAnswer(l Line, n *plans.Never) *Answer {
	return &Answer{Group: l.Group, Service: l.Service, Destination: l.Destination,
		Verdict: finding.Never, Who: "plan", Reason: n.Name + ": " + n.Reason}
}

// NewAndUnanswered returns the lines of flows that would be denied and that
// came at or after a moment without anybody having answered. One that recurs is
// returned each time, until a person answers.
func NewAndUnanswered(ls []Line, since time.Time) []Line {
	return slices.DeleteFunc(slices.Clone(ls), func(l Line) bool {
		return l.Kind != finding.WouldDeny || l.Answer != nil || l.Last.Before(since)
	})
}

// Join makes one list of several (the log's and a census): lines of the same
// question and kind become one, with the widest span. Counts of the log and of
// a census are of different things: the larger stands.
func Join(lists ...[]Line) []Line {
	var all []Line
	for _, l := range lists {
		all = append(all, l...)
	}
	SortLines(all)
	out := all[:0:0]
	for _, l := range all {
		n := len(out) - 1
		if n < 0 || out[n].ID != l.ID || out[n].Kind != l.Kind {
			out = append(out, l)
			continue
		}
		have := &out[n]
		if l.First.Before(have.First) {
			have.First = l.First
		}
		if l.Last.After(have.Last) {
			have.Last = l.Last
		}
		have.Count, have.Endpoints = max(have.Count, l.Count), max(have.Endpoints, l.Endpoints)
		have.Open, have.Days = max(have.Open, l.Open), max(have.Days, l.Days)
		have.Examples = slices.Concat(have.Examples, l.Examples)
		slices.SortFunc(have.Examples, netip.Addr.Compare)
		have.Examples = slices.Compact(have.Examples)
		have.Examples = have.Examples[:min(len(have.Examples), maxExamples)]
		if have.Answer == nil {
			have.Answer = l.Answer
		}
	}
	return out
}

// Nevers returns the answers "never" that hold at a moment, as the plan would
// write them: they deny before any allow rule.
func Nevers(answers Answers, deny string, now time.Time) []plans.Never {
	var out []plans.Never
	for _, a := range answers {
		overruled := slices.ContainsFunc(answers, func(o Answer) bool {
			return o.ID() == a.ID() && o.live(now) && o.Verdict != finding.Never && o.At.After(a.At)
		})
		if a.Verdict != finding.Never || !a.live(now) || overruled {
			continue
		}
		n := plans.Never{Name: "answer-" + a.ID(), From: plans.Target{Groups: []string{a.Group}},
			To: plans.Target{Outside: true}, Services: []flow.Service{a.Service}, Deny: deny, Reason: a.Reason}
		if a.Destination.IsValid() {
			n.To = plans.Target{Prefixes: []netip.Prefix{a.Destination.Masked()}}
		}
		out = append(out, n)
	}
	return out
}
