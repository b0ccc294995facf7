package watch

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
)

// Deviations reports what was first seen at or after a moment: destinations and
// services that no rule allows, each by itself; services that are new for their
// group; and, summed by service, destinations that are new for their group
// although a rule allows them. Attempts that nobody answered count where no
// rule allows them: a blocked flow has no answer. Only normal rows count, and
// those with an uncertain direction only where no rule allows them.
func Deviations(pol policy.Policy, rows []monitor.Row, since time.Time) []finding.Finding {
	type serviceKey struct {
		group   string
		service flow.Service
	}
	type destKey struct {
		serviceKey
		dest netip.Addr
	}
	index := policy.NewIndex(pol)
	services, dests := map[serviceKey]span{}, map[destKey]span{}
	allowed := map[destKey]bool{}
	for _, r := range rows {
		if !r.Normal() {
			continue
		}
		s := serviceKey{r.Group, r.Service}
		d := destKey{s, r.Server}
		_, ok := index.Allows(r.Group, r.Flow())
		if ok && !r.Answered && !r.OneWay || ok && r.Guessed {
			continue
		}
		services[s] = services[s].with(r)
		dests[d] = dests[d].with(r)
		if have, known := allowed[d]; !known || have {
			allowed[d] = ok
		}
	}
	var out []finding.Finding
	sums := map[serviceKey]finding.Finding{}
	for d, w := range dests {
		if w.first.Before(since) {
			continue
		}
		f := finding.Finding{Kind: finding.NewFlow, Group: d.group, Service: d.service.String(),
			First: w.first, Last: w.last, Count: w.count, State: finding.New}
		if !allowed[d] {
			f.Fingerprint = finding.Question(d.group, f.Service, d.dest.String())
			f.Destination, f.Severity = d.dest.String(), finding.Warning
			f.Flow = d.group + " -> " + f.Destination + " " + f.Service
			f.Words = "no rule allows it, first seen now: " + f.Flow
			out = append(out, f)
			continue
		}
		have, known := sums[d.serviceKey]
		if known {
			f = finding.Merge(have, f)
			f.Count = have.Count
		} else {
			f.Count = 0
		}
		f.Count++ // new destinations, not connections
		sums[d.serviceKey] = f
	}
	for s, f := range sums {
		f.Fingerprint = finding.Fingerprint("new-destinations", s.group, f.Service)
		f.Severity, f.Flow = finding.Info, s.group+" -> outside "+f.Service
		f.Words = fmt.Sprintf("%d destinations that the group had never used: %s", f.Count, f.Flow)
		if !services[s].first.Before(since) {
			f.Severity = finding.Notice
			f.Words = "a service that the group had never used: " + f.Flow
		}
		out = append(out, f)
	}
	finding.Sort(out)
	return out
}

type span struct {
	first, last time.Time
	count       uint64
}

func (s span) with(r monitor.Row) span {
	if s.first.IsZero() || r.First.Before(s.first) {
		s.first = r.First
	}
	if r.Last.After(s.last) {
		s.last = r.Last
	}
	s.count += r.Connections
	return s
}

// Unused reports the rules that no row used at or after a moment. A connection
// that goes on uses its rule: the dumps of the connection table keep its row's
// last moment current, however old it is. Rules of declared flows are meant to
// wait, and are said to.
func Unused(pol policy.Policy, rows []monitor.Row, since time.Time) []finding.Finding {
	last := make([]time.Time, len(pol.Rules))
	byGroup := map[string][]int{}
	for i, r := range pol.Rules {
		byGroup[r.Group] = append(byGroup[r.Group], i)
	}
	for _, r := range rows {
		if r.Inbound {
			continue
		}
		f := r.Flow()
		for _, i := range byGroup[r.Group] {
			if r.Last.After(last[i]) && pol.Rules[i].Matches(f) {
				last[i] = r.Last
			}
		}
	}
	byPrint := map[string]finding.Finding{}
	for i, r := range pol.Rules {
		if !last[i].Before(since) {
			continue
		}
		words := ruleText(r)
		f := finding.Finding{Fingerprint: finding.Fingerprint("unused-rule", words), Kind: finding.UnusedRule,
			Severity: finding.Info, Group: r.Group, Flow: words, First: last[i], Last: last[i], State: finding.New,
			Words: "never used: " + words}
		if !last[i].IsZero() {
			f.Words = "not used since " + last[i].UTC().Format("2006-01-02") + ": " + words
		}
		if r.Reason == policy.DeclaredBy {
			f.Words += " (declared: it may be waiting for its day)"
		}
		byPrint[f.Fingerprint] = f
	}
	out := slices.SortedFunc(maps.Values(byPrint), func(a, b finding.Finding) int { return cmp.Compare(a.Flow, b.Flow) })
	finding.Sort(out)
	return out
}

// ruleText writes a rule in one line, in an order that depends on nothing but
// the rule.
func ruleText(r policy.Rule) string {
	list := func(ps []netip.Prefix, none string) string {
		if len(ps) == 0 {
			return none
		}
		texts := make([]string, len(ps))
		for i, p := range ps {
			texts[i] = p.String()
			if p.IsSingleIP() {
				texts[i] = p.Addr().String()
			}
		}
		slices.Sort(texts)
		return strings.Join(texts, ", ")
	}
	var services []string
	for _, s := range r.Services {
		services = append(services, s.String())
	}
	slices.Sort(services)
	text := r.Group
	if len(r.Endpoints) > 0 {
		text += " (" + list(r.Endpoints, "") + ")"
	}
	text += " -> " + list(r.To, "outside") + " " + strings.Join(services, ", ")
	if r.Name != "" {
		text += ", " + r.Name
	}
	return text
}
