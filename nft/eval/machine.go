package eval

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"weir/nft"
)

// maxJumps is the depth of jumps that the kernel allows; maxPath ends loops of
// goto.
const (
	maxJumps = 16
	maxPath  = 10000
)

// ErrTooDeep is returned where a packet runs through more than 16 jumps, or in
// a loop; the kernel refuses such a ruleset.
var ErrTooDeep = errors.New("more than 16 jumps, or a loop")

// Machine holds rulesets of one table. It is not safe for concurrent use.
type Machine struct {
	chains map[string]*nft.Chain
	base   map[string]*nft.Chain // hook letter and type → chain
	tables map[string]*table
	key    []byte
	// Remember makes set operations add to their sets, so that a second packet
	// finds what the first left. Off, no packet changes anything.
	Remember bool
	// Strict makes it an error that a rule reads the ports of a protocol that
	// has none, where the kernel reads random bytes. Off, they are 0.
	Strict bool
}

// NewMachine takes rulesets of one table: the skeleton and the revisions.
// A later object of a name replaces an earlier one.
func NewMachine(rulesets ...nft.Ruleset) *Machine {
	m := &Machine{chains: map[string]*nft.Chain{}, base: map[string]*nft.Chain{}, tables: map[string]*table{}}
	for _, r := range rulesets {
		for i := range r.Sets {
			m.tables[r.Sets[i].Name] = newTable(r.Sets[i])
		}
		for i := range r.Chains {
			c := &r.Chains[i]
			m.chains[c.Name] = c
			switch {
			case c.Type == "nat":
				m.base[nft.HookNAT] = c
			case c.Hook != "":
				m.base[c.Hook[:1]] = c
			}
		}
	}
	return m
}

// Fill replaces the elements of a set or map of the machine.
func (m *Machine) Fill(set string, elements ...nft.Element) error {
	t, ok := m.tables[set]
	if !ok {
		return fmt.Errorf("cannot fill %s: there is no such set", set)
	}
	s := t.set
	s.Elements = elements
	m.tables[set] = newTable(s)
	return nil
}

// Point makes a verdict map of families lead to a chain, in both families: what
// arming does to trial and confirming to stable. An empty chain empties it.
func (m *Machine) Point(verdictMap, chain string) error {
	if chain == "" {
		return m.Fill(verdictMap)
	}
	v := &nft.Verdict{Kind: "goto", Chain: chain}
	return m.Fill(verdictMap, nft.Element{Key: []byte{2}, Verdict: v}, nft.Element{Key: []byte{10}, Verdict: v})
}

// Stable makes a revision the confirmed one.
func (m *Machine) Stable(r nft.Revision) error {
	for hook, chain := range r.Entry {
		if err := m.Point(nft.StableMap(hook), chain); err != nil {
			return err
		}
	}
	return nil
}

// Trace is what became of a packet.
type Trace struct {
	Verdict  string       // "accept", "drop", "reject with …", "redirect to :…"
	Path     []string     // chains in the order in which they were entered
	Chain    string       // where it was decided
	Rule     nft.Rule     // the deciding rule; no statements where the base chain's policy decided
	Set      string       // the set or map that the deciding rule found the packet in, "" where none
	Element  *nft.Element // the element there
	Counters []string     // named counters, in order
	Logs     []nft.Log
	Added    []string // sets that a set operation wrote to
}

// Passes says whether the packet goes on.
func (t Trace) Passes() bool { return t.Verdict == "accept" }

// Eval runs a packet through the base chain of its hook. Without one it passes.
func (m *Machine) Eval(p Packet) (Trace, error) {
	base := m.base[p.Hook]
	if base == nil {
		return Trace{Verdict: "accept"}, nil
	}
	return m.Run(base.Name, p)
}

// Run runs a packet through one chain; at its end the packet passes.
func (m *Machine) Run(chain string, p Packet) (Trace, error) {
	r := run{m: m, p: &p}
	decided, err := r.chain(chain, 0)
	if err == nil && !decided {
		r.t.Verdict, r.t.Chain, r.t.Rule = "accept", chain, nft.Rule{}
		r.t.Set, r.t.Element = "", nil
	}
	return r.t, err
}

type run struct {
	m *Machine
	p *Packet
	t Trace
}

// chain evaluates a chain and says whether a verdict ended the packet.
func (r *run) chain(name string, depth int) (bool, error) {
	for {
		if depth > maxJumps || len(r.t.Path) > maxPath {
			return false, ErrTooDeep
		}
		c := r.m.chains[name]
		if c == nil {
			return false, fmt.Errorf("cannot enter chain %q: there is none", name)
		}
		r.t.Path = append(r.t.Path, name)
		next := ""
	rules:
		for i := range c.Rules {
			rule := &c.Rules[i]
			r.t.Set, r.t.Element = "", nil
			v, err := r.rule(rule)
			if err != nil {
				return false, fmt.Errorf("chain %s: %q: %w", name, rule, err)
			}
			switch v.Kind {
			case "", "continue":
			case "return":
				return false, nil
			case "jump":
				if decided, err := r.chain(v.Chain, depth+1); decided || err != nil {
					return decided, err
				}
			case "goto":
				next = v.Chain
				break rules
			default:
				r.t.Verdict, r.t.Chain, r.t.Rule = v.Kind, name, *rule
				return true, nil
			}
		}
		if next == "" {
			return false, nil
		}
		name = next
	}
}

// rule evaluates statements until one does not match; its verdict, if any.
func (r *run) rule(rule *nft.Rule) (nft.Verdict, error) {
	for _, s := range rule.Stmts {
		switch s := s.(type) {
		case nft.Match:
			ok, err := r.match(s)
			if !ok || err != nil {
				return nft.Verdict{}, err
			}
		case nft.Jhash:
			k, ok, err := r.key([]nft.Field{s.Field}, nil)
			if !ok || err != nil {
				return nft.Verdict{}, err
			}
			if scaled(jhash(k, s.Seed), s.Mod) >= s.Below {
				return nft.Verdict{}, nil
			}
		case nft.Vmap:
			t := r.m.tables[s.Map]
			if t == nil {
				return nft.Verdict{}, fmt.Errorf("cannot look into %s: there is no such map", s.Map)
			}
			k, ok, err := r.key(s.Fields, t)
			if !ok || err != nil {
				return nft.Verdict{}, err
			}
			e, ok := t.find(k)
			if !ok {
				return nft.Verdict{}, nil
			}
			r.t.Set, r.t.Element = s.Map, e
			if e.Verdict.Kind != "continue" {
				return *e.Verdict, nil
			}
		case nft.Count:
			if s.Name != "" {
				r.t.Counters = append(r.t.Counters, s.Name)
			}
		case nft.Log:
			r.t.Logs = append(r.t.Logs, s)
		case nft.Limit:
			if s.Over {
				return nft.Verdict{}, nil
			}
		case nft.SetOp:
			t := r.m.tables[s.Set]
			if t == nil {
				return nft.Verdict{}, fmt.Errorf("cannot add to %s: there is no such set", s.Set)
			}
			k, ok, err := r.key(s.Fields, t)
			if !ok || err != nil {
				return nft.Verdict{}, err
			}
			r.t.Added = append(r.t.Added, s.Set)
			if _, known := t.find(k); r.m.Remember && !known {
				e := nft.Element{Key: bytes.Clone(k)}
				t.set.Elements = append(t.set.Elements, e)
				t.index(len(t.set.Elements)-1, e)
			}
			if s.Limit != nil && s.Limit.Over {
				return nft.Verdict{}, nil
			}
		case nft.Verdict:
			return s, nil
		case nft.Reject:
			return nft.Verdict{Kind: "reject with " + s.With}, nil
		case nft.Redirect:
			return nft.Verdict{Kind: fmt.Sprintf("redirect to :%d", s.Port)}, nil
		default:
			return nft.Verdict{}, fmt.Errorf("cannot evaluate statement %T", s)
		}
	}
	return nft.Verdict{}, nil
}

// key gathers fields as a lookup in t sees them; padded in a concatenation.
func (r *run) key(fields []nft.Field, t *table) ([]byte, bool, error) {
	b := r.m.key[:0]
	for _, f := range fields {
		var ok bool
		var err error
		b, ok, err = r.p.field(b, f)
		if errors.Is(err, errNoPorts) && !r.m.Strict {
			err = nil
		}
		if !ok || err != nil {
			return nil, false, err
		}
		for len(fields) > 1 && len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	r.m.key = b
	if t != nil && len(b) != nft.KeyLen(t.set.Key) {
		return nil, false, fmt.Errorf("cannot look into %s: its key has %d bytes, the fields have %d", t.set.Name, nft.KeyLen(t.set.Key), len(b))
	}
	return b, true, nil
}

func (r *run) match(s nft.Match) (bool, error) {
	if s.Set != "" {
		t := r.m.tables[s.Set]
		if t == nil {
			return false, fmt.Errorf("cannot look into %s: there is no such set", s.Set)
		}
		k, ok, err := r.key(s.Fields, t)
		if !ok || err != nil {
			return false, err
		}
		e, found := t.find(k)
		if found && !s.Not {
			r.t.Set, r.t.Element = s.Set, e
		}
		return found != s.Not, nil
	}
	k, ok, err := r.key(s.Fields, nil)
	if !ok || err != nil {
		return false, err
	}
	found := false
	for _, v := range s.Values {
		if len(v.Lo) != len(k) {
			return false, fmt.Errorf("cannot compare %v: it has %d bytes, the value has %d", s.Fields, len(k), len(v.Lo))
		}
		switch {
		case s.Fields[0] == nft.CTState || s.Fields[0] == nft.CTStatus:
			found = found || binary.NativeEndian.Uint32(k)&binary.NativeEndian.Uint32(v.Lo) != 0
		case s.Mask != nil:
			found = found || k[0]&s.Mask[0] == v.Lo[0]
		case v.Hi != nil:
			found = found || bytes.Compare(v.Lo, k) <= 0 && bytes.Compare(k, v.Hi) <= 0
		default:
			found = found || bytes.Equal(v.Lo, k)
		}
	}
	return found != s.Not, nil
}
