package enforce

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
)

// Line is one question: a group, a service and a destination, from however many
// endpoints.
type Line struct {
	ID          string       `json:"id"` // finding.Question of group, service and destination
	Kind        finding.Kind `json:"kind"`
	Group       string       `json:"group"`
	Service     flow.Service `json:"service"`
	Destination netip.Prefix `json:"destination"` // zero: anywhere outside
	First       time.Time    `json:"first"`
	Last        time.Time    `json:"last"`
	Days        int          `json:"days,omitempty"`
	Count       uint64       `json:"count"`             // connections, or log entries for what was judged
	Endpoints   int          `json:"endpoints"`         // how many clients
	Examples    []netip.Addr `json:"examples"`          // the first of them, at most maxExamples
	Open        int          `json:"open,omitempty"`    // connections that are open now (census)
	Events      []string     `json:"events,omitempty"`  // calendar events that it fell into
	Answer      *Answer      `json:"answer,omitempty"`  // nil: nobody answered
	Opening     string       `json:"opening,omitempty"` // evidence of this opening alone
}

const maxExamples = 5

// Answer is what a person said of a question.
type Answer struct {
	Group       string          `json:"group"`
	Service     flow.Service    `json:"service"`
	Destination netip.Prefix    `json:"destination"` // zero: anywhere outside
	Verdict     finding.Verdict `json:"verdict"`
	Who         string          `json:"who"`
	Reason      string          `json:"reason,omitempty"`
	At          time.Time       `json:"at"`
	Expires     time.Time       `json:"expires,omitzero"` // zero: never
}

// ID is the fingerprint of the question that was answered.
func (a Answer) ID() string {
	return finding.Question(a.Group, a.Service.String(), destinationText(a.Destination))
}

// Covers says whether the answer speaks of a flow of a group.
func (a Answer) Covers(group string, server netip.Addr, s flow.Service) bool {
	return a.Group == group && a.Service.Contains(s) && (!a.Destination.IsValid() || a.Destination.Contains(server))
}

func (a Answer) live(at time.Time) bool { return a.Expires.IsZero() || at.Before(a.Expires) }

func destinationText(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return ""
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}

// Answers is a set of answers. For a flow that several cover, the latest
// counts; of two at one moment the stricter.
type Answers []Answer

// For returns the answer that holds for a flow at a moment, or nil.
func (as Answers) For(group string, server netip.Addr, s flow.Service, at time.Time) *Answer {
	var best *Answer
	for i := range as {
		a := &as[i]
		if !a.live(at) || !a.Covers(group, server, s) {
			continue
		}
		if best == nil || cmp.Or(a.At.Compare(best.At), cmp.Compare(strictness(a.Verdict), strictness(best.Verdict))) > 0 {
			best = a
		}
	}
	return best
}

// forLine is For over a whole line: an answer must cover all of it.
func (as Answers) forLine(l Line, at time.Time) *Answer {
	if l.Destination.IsValid() && l.Destination.IsSingleIP() {
		return as.For(l.Group, l.Destination.Addr(), l.Service, at)
	}
	var best *Answer
	for i := range as {
		a := &as[i]
		whole := !a.Destination.IsValid() ||
			l.Destination.IsValid() && a.Destination.Overlaps(l.Destination) && a.Destination.Bits() <= l.Destination.Bits()
		if !a.live(at) || a.Group != l.Group || !a.Service.Contains(l.Service) || !whole {
			continue
		}
		if best == nil || cmp.Or(a.At.Compare(best.At), cmp.Compare(strictness(a.Verdict), strictness(best.Verdict))) > 0 {
			best = a
		}
	}
	return best
}

func strictness(v finding.Verdict) int {
	return slices.Index([]finding.Verdict{finding.Needed, finding.NotNeeded, finding.Never}, v)
}

// lines sums sightings into lines.
type lines map[lineKey]*sum

type lineKey struct {
	kind    finding.Kind
	group   string
	service flow.Service
	dest    netip.Prefix
}

type sum struct {
	Line
	clients map[netip.Addr]bool
	days    monitor.Days
}

type sighting struct {
	client      netip.Addr
	first, last time.Time
	count       uint64
	days        monitor.Days
	open        int
}

func (ls lines) add(k lineKey, s sighting) {
	l := ls[k]
	if l == nil {
		l = &sum{clients: map[netip.Addr]bool{}}
		l.Kind, l.Group, l.Service, l.Destination = k.kind, k.group, k.service, k.dest
		l.ID = finding.Question(k.group, k.service.String(), destinationText(k.dest))
		ls[k] = l
	}
	if l.First.IsZero() || s.first.Before(l.First) {
		l.First = s.first
	}
	if s.last.After(l.Last) {
		l.Last = s.last
	}
	l.Count += s.count
	l.Open += s.open
	l.clients[s.client] = true
	l.days.Union(s.days)
}

// list finishes the sums: sorted, with the answers that hold at a moment.
func (ls lines) list(answers Answers, at time.Time) []Line {
	out := make([]Line, 0, len(ls))
	for _, s := range ls {
		l := s.Line
		l.Endpoints, l.Days = len(s.clients), s.days.Len()
		for a := range s.clients {
			l.Examples = append(l.Examples, a)
		}
		slices.SortFunc(l.Examples, netip.Addr.Compare)
		l.Examples = slices.Clone(l.Examples[:min(len(l.Examples), maxExamples)])
		if a := answers.forLine(l, at); a != nil {
			copied := *a
			l.Answer = &copied
		}
		out = append(out, l)
	}
	SortLines(out)
	return out
}

// SortLines orders lines by group, service, destination and kind.
func SortLines(ls []Line) {
	slices.SortFunc(ls, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), flow.CompareServices(a.Service, b.Service),
			comparePrefixes(a.Destination, b.Destination), cmp.Compare(a.Kind, b.Kind))
	})
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// Finding returns the line as a finding.
func (l Line) Finding() finding.Finding {
	dest := destinationText(l.Destination)
	f := finding.Finding{Fingerprint: l.ID, Kind: l.Kind, Severity: finding.Notice, Group: l.Group,
		Service: l.Service.String(), Destination: dest, First: l.First, Last: l.Last, Count: l.Count, State: finding.New}
	if dest == "" {
		dest = "anywhere outside"
	}
	f.Flow = l.Group + " -> " + dest + " " + f.Service
	f.Words = wordsOf(l.Kind) + ": " + f.Flow
	switch l.Kind {
	case finding.NeverSeen, finding.Captured, finding.Narrows:
		f.Severity = finding.Warning
	}
	if l.Answer != nil {
		f.State, f.Answer, f.Who, f.Reason = finding.Answered, l.Answer.Verdict, l.Answer.Who, l.Answer.Reason
	}
	return f
}

func wordsOf(k finding.Kind) string {
	switch k {
	case finding.WouldDeny:
		return "would be denied"
	case finding.Denied:
		return "was denied"
	case finding.Captured:
		return "reached the honeypot"
	case finding.Widens:
		return "is denied, and the refactoring would let it pass"
	case finding.Narrows:
		return "passes, and the refactoring would deny it"
	case finding.Rare:
		return "seen on too few days to be allowed by itself"
	case finding.Guessed:
		return "seen without its beginning, the direction may be reversed"
	case finding.OneWay:
		return "never answered by its nature, allowed until reviewed"
	case finding.HighPorts:
		return "uses many ports, the direction may be wrong"
	case finding.Undeclared:
		return "seen, but the group allows only what is declared"
	case finding.NotAssigned:
		return "seen from endpoints of no group"
	case finding.NeverSeen:
		return "seen, and the plan never allows it"
	case finding.Refused:
		return "seen, and answered as not needed"
	}
	return string(k)
}
