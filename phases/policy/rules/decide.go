package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/phases/flow"
)

// Packet is what a rule looks at. Tests are the answers to the questions that
// the header does not answer, by Test.Key; those not named are no.
type Packet struct {
	Src, Dst netip.Addr
	Service  Service
	SrcPort  uint16
	In, Out  string
	State    States // one bit
	Tests    map[string]bool
}

func (p Packet) String() string {
	s := fmt.Sprintf("%s -> %s %s", p.Src, p.Dst, p.Service)
	if p.SrcPort != 0 {
		s += fmt.Sprintf(" from port %d", p.SrcPort)
	}
	if p.In != "" {
		s += " in " + p.In
	}
	if p.Out != "" {
		s += " out " + p.Out
	}
	return s + " " + p.State.String()
}

// Verdict is what happens to a packet, and the rule that says so. Rule is the
// zero value where the chain's default decided.
type Verdict struct {
	Action Action // Accept, Drop or Reject
	Rule   Rule
}

// Decide walks a hooked chain with one packet. It returns an error for a chain
// that is missing or a loop of jumps.
func Decide(rs Ruleset, chain string, p Packet) (Verdict, error) {
	c := rs.Chain(chain)
	if c == nil || !c.Default.Final() {
		return Verdict{}, fmt.Errorf("cannot decide in chain %q: no such hooked chain; there are %v", chain, Hooked(rs))
	}
	v, _, err := walk(rs, c, p, 0)
	if err == nil && v.Action == "" {
		v.Action = c.Default
	}
	return v, err
}

// Hooked returns the names of the hooked chains.
func Hooked(rs Ruleset) (names []string) {
	for _, c := range rs.Chains {
		if c.Hook != "" {
			names = append(names, c.Name)
		}
	}
	return names
}

// walk returns a verdict without action where the chain ends or returns.
func walk(rs Ruleset, c *Chain, p Packet, depth int) (Verdict, bool, error) {
	if depth > len(rs.Chains) {
		return Verdict{}, false, fmt.Errorf("cannot decide: chain %s jumps to itself", c.Name)
	}
	for _, r := range c.Rules {
		if !r.Match.Matches(p) {
			continue
		}
		switch r.Action {
		case Accept, Drop, Reject:
			return Verdict{r.Action, r}, true, nil
		case Return:
			return Verdict{}, false, nil
		case Jump, Goto:
			to := rs.Chain(r.Target)
			if to == nil {
				return Verdict{}, false, fmt.Errorf("cannot decide: %s jumps to %q, which does not exist", r.Where(), r.Target)
			}
			v, done, err := walk(rs, to, p, depth+1)
			if done || err != nil || r.Action == Goto {
				return v, done, err
			}
		case Continue:
		default:
			return Verdict{}, false, fmt.Errorf("cannot decide: %s has the action %q", r.Where(), r.Action)
		}
	}
	return Verdict{}, false, nil
}

// Matches says whether a packet has all that the match asks for.
func (m Match) Matches(p Packet) bool {
	if m.Family != "" && m.Family != flow.FamilyOf(p.Src) {
		return false
	}
	for _, a := range m.Src {
		if a.has(p.Src) == a.Not {
			return false
		}
	}
	for _, a := range m.Dst {
		if a.has(p.Dst) == a.Not {
			return false
		}
	}
	for _, s := range m.Services {
		if slices.ContainsFunc(s.Ranges, func(r ServiceRange) bool { return r.Lo <= p.Service && p.Service <= r.Hi }) == s.Not {
			return false
		}
	}
	for _, s := range m.SrcPorts {
		if slices.ContainsFunc(s.Ranges, func(r PortRange) bool { return r.Lo <= p.SrcPort && p.SrcPort <= r.Hi }) == s.Not {
			return false
		}
	}
	for _, i := range m.In {
		if !i.Has(p.In) {
			return false
		}
	}
	for _, i := range m.Out {
		if !i.Has(p.Out) {
			return false
		}
	}
	if m.States != 0 && m.States&p.State == 0 {
		return false
	}
	for _, t := range m.Tests {
		if p.Tests[t.Key()] == t.Not {
			return false
		}
	}
	return true
}

func (a Addrs) has(x netip.Addr) bool {
	return slices.ContainsFunc(a.Ranges, func(r AddrRange) bool { return r.Contains(x) })
}
