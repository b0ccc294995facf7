package refactor

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"

	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/plans"
)

// Proof is what a refactoring changes, exactly: the digest is over the boxes of
// both differences, the rest says the same to a person. It is frozen with a
// step and approved with it.
type Proof struct {
	Name    string     `json:"name"` // of the refactoring
	Digest  string     `json:"digest"`
	Widens  Difference `json:"widens"`  // allowed after, not before
	Narrows Difference `json:"narrows"` // allowed before, not after
}

// Difference is what only one of two policies allows. The zero value is nothing.
type Difference struct {
	Boxes     int      `json:"boxes"`              // exact ones
	Lines     []string `json:"lines,omitempty"`    // the same in few lines
	Addresses uint64   `json:"addresses"`          // IPv4 destinations
	Networks  uint64   `json:"networks"`           // IPv6 destinations, by /64 network; MaxUint64: as many or more
	Services  int      `json:"services"`           // ports, ICMP types and bare protocols
	Seen      int      `json:"seen"`               // flows of the evidence that lie in it
	Reached   int      `json:"reached"`            // different destinations of these
	Example   string   `json:"example,omitempty"`  // a packet in it: one that was seen, where there is one
	Examples  []string `json:"examples,omitempty"` // of what was seen, the first ten
}

// Seen is a flow of the evidence with the group of its client: used, or denied.
type Seen struct {
	Group string
	flow.Flow
}

// SeenIn lists the flows of evidence: what was used, and what rules denied or
// would have denied.
func SeenIn(rows []monitor.Row, judged []monitor.Judged) []Seen {
	var out []Seen
	for _, r := range rows {
		if r.Normal() {
			out = append(out, Seen{Group: r.Group, Flow: r.Flow()})
		}
	}
	for _, j := range judged {
		if !j.Verdict.Disagrees() {
			out = append(out, Seen{Group: j.Group, Flow: j.Flow})
		}
	}
	slices.SortFunc(out, func(a, b Seen) int { return cmp.Or(flow.Compare(a.Flow, b.Flow), cmp.Compare(a.Group, b.Group)) })
	return slices.Compact(out)
}

// mostExamples is how many seen flows a Difference names.
const mostExamples = 10

// Prove compares what two policies allow some groups. The plan's groups lend
// examples their clients.
func Prove(name string, before, after policy.Policy, groups []string, seen []Seen, plan plans.Plan) (p Proof, widens, narrows []policy.Box) {
	narrows, widens = policy.Diff(before, after, groups...)
	p = Proof{Name: name, Digest: digest(widens, narrows)}
	was, is := policy.NewIndex(before), policy.NewIndex(after)
	p.Widens, p.Narrows = difference(widens, plan), difference(narrows, plan)
	reached := [2]map[netip.Addr]bool{{}, {}}
	for _, s := range seen {
		if !slices.Contains(groups, s.Group) {
			continue
		}
		_, old := was.Allows(s.Group, s.Flow)
		_, now := is.Allows(s.Group, s.Flow)
		d, r := &p.Widens, reached[0]
		switch {
		case old == now:
			continue
		case old:
			d, r = &p.Narrows, reached[1]
		}
		d.Seen++
		r[s.Server] = true
		d.Reached = len(r)
		if len(d.Examples) < mostExamples {
			d.Examples = append(d.Examples, s.Group+" "+s.Flow.String())
		}
		d.Example = d.Examples[0]
	}
	return p, widens, narrows
}

// digest is over the exact boxes, each with its list.
func digest(widens, narrows []policy.Box) string {
	h := sha256.New()
	for _, b := range widens {
		fmt.Fprintf(h, "widens %s %s %s %s %s\n", b.Group, b.Family, b.Client, b.Server, b.Service)
	}
	for _, b := range narrows {
		fmt.Fprintf(h, "narrows %s %s %s %s %s\n", b.Group, b.Family, b.Client, b.Server, b.Service)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func difference(boxes []policy.Box, plan plans.Plan) Difference {
	if len(boxes) == 0 {
		return Difference{}
	}
	members := map[string][]netip.Prefix{}
	for _, g := range plan.Groups {
		members[g.Name] = g.Members
	}
	d := Difference{Boxes: len(boxes), Lines: policy.Lines(boxes, members)}
	var services []flow.Service
	var servers []netip.Prefix
	for _, b := range boxes {
		services = append(services, b.Service)
		servers = append(servers, b.Server)
	}
	for _, s := range flow.MergeServices(services) {
		d.Services += int(s.Hi) - int(s.Lo) + 1
	}
	d.Addresses, d.Networks = count(servers)
	group, f := policy.Example(boxes, members)
	d.Example = group + " " + f.String()
	return d
}

// count says how many addresses of IPv4, and networks of IPv6, prefixes hold.
func count(list []netip.Prefix) (v4, v6 uint64) {
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var last netip.Prefix
	for _, p := range list {
		if p.Addr().Is6() && p.Bits() > 64 {
			p = netip.PrefixFrom(p.Addr(), 64).Masked()
		}
		if last.IsValid() && last.Bits() <= p.Bits() && last.Contains(p.Addr()) {
			continue
		}
		last = p
		if p.Addr().Is4() {
			v4 += 1 << (32 - p.Bits())
			continue
		}
		n := uint64(math.MaxUint64)
		if p.Bits() > 0 {
			n = 1 << (64 - p.Bits())
		}
		sum, over := bits.Add64(v6, n, 0)
		if v6 = sum; over != 0 {
			v6 = math.MaxUint64
		}
	}
	return v4, v6
}

// Summary is the difference in numbers, with how much of it is in use.
func (d Difference) Summary() string {
	if d.Boxes == 0 {
		return "nothing"
	}
	return "in all " + d.Total() + "; " + d.share()
}

// Total is the difference in numbers, for a person.
func (d Difference) Total() string {
	if d.Boxes == 0 {
		return "nothing"
	}
	services := "1 service"
	if d.Services != 1 {
		services = fmt.Sprintf("%d services", d.Services)
	}
	to := ""
	if d.Addresses > 0 {
		to = fmt.Sprintf("%d IPv4 addresses", d.Addresses)
	}
	if d.Networks > 0 {
		if to != "" {
			to += " and "
		}
		if d.Networks == math.MaxUint64 {
			to += "all IPv6 networks"
		} else {
			to += fmt.Sprintf("%d IPv6 networks", d.Networks)
		}
	}
	return fmt.Sprintf("%s at %s", services, to)
}

// share says how much of the difference the evidence shows in use.
func (d Difference) share() string {
	if d.Seen == 0 {
		return "none of it was ever seen"
	}
	all := float64(d.Addresses) + float64(d.Networks)
	return fmt.Sprintf("seen in the evidence: %d of its flows, to %d of its destinations (%s)", d.Seen, d.Reached, percent(float64(d.Reached)/all))
}

func percent(share float64) string {
	switch p := 100 * share; {
	case p >= 1:
		return fmt.Sprintf("%.0f%%", min(p, 100))
	case p >= 0.01:
		return fmt.Sprintf("%.2f%%", p)
	}
	return "less than 0.01%"
}

// mostLines is how many lines a person can be asked to read and approve.
const mostLines = 1000

// Exceeds says why a proof is beyond the plan's budget, or cannot be approved
// by a person; "" where it is neither.
func (p Proof) Exceeds(b plans.Budget) string {
	w := p.Widens
	to, over := bits.Add64(w.Addresses, w.Networks, 0)
	if over != 0 {
		to = math.MaxUint64
	}
	switch {
	case b.Addresses != nil && to > *b.Addresses:
		return fmt.Sprintf("it widens by %s, the budget is %d addresses; one packet of it is %s", w.Total(), *b.Addresses, w.Example)
	case b.Services != nil && uint64(w.Services) > *b.Services:
		return fmt.Sprintf("it widens by %s, the budget is %d services; one packet of it is %s", w.Total(), *b.Services, w.Example)
	case len(w.Lines)+len(p.Narrows.Lines) > mostLines:
		return fmt.Sprintf("what it changes takes %d lines to say, more than the %d that a person can be asked to approve; refactor fewer groups, or fewer services, at once",
			len(w.Lines)+len(p.Narrows.Lines), mostLines)
	}
	return ""
}

// Without returns the policy without what others deny before it: few rules
// more, the same flows fewer.
func Without(p policy.Policy, denied []policy.Rule, groups ...string) policy.Policy {
	if len(denied) == 0 {
		return p
	}
	left, _ := policy.Diff(p, policy.Policy{Rules: denied}, groups...)
	var out policy.Policy
	for _, b := range left {
		r := policy.Rule{Group: b.Group, Services: []flow.Service{b.Service}, Families: []flow.Family{b.Family}}
		if b.Client.Bits() > 0 {
			r.Endpoints = []netip.Prefix{b.Client}
		}
		if b.Server.Bits() > 0 {
			r.To = []netip.Prefix{b.Server}
		}
		out.Rules = append(out.Rules, r)
	}
	return out
}
