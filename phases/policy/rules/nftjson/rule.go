package nftjson

import (
	"fmt"
	"slices"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// rule reads a rule's statements. Where one of them has several ways to match,
// the rule becomes several.
func (r *reader) rule(it item) error {
	key, fam, ok := table(it.obj)
	if it.kind != "rule" || !ok {
		return nil
	}
	c := r.chains[key+" "+str(it.obj, "chain")]
	if c == nil {
		return fmt.Errorf("chain %s %s was not declared", key, str(it.obj, "chain"))
	}
	s := statements{r: r, table: key, chain: c, ways: []rules.Match{{Family: fam}}}
	text := ""
	for _, e := range list(it.obj["expr"]) {
		text += " " + show(e)
	}
	if cm := str(it.obj, "comment"); cm != "" {
		text += fmt.Sprintf(" comment %q", cm)
	}
	s.base = rules.Rule{File: r.file, Line: it.line}
	if text != "" {
		s.base.Text = text[1:]
	}
	for _, e := range list(it.obj["expr"]) {
		m, ok := e.(map[string]any)
		if !ok || len(m) != 1 {
			return fmt.Errorf("statement %s is not one object", show(e))
		}
		for k, v := range m {
			if err := s.statement(k, v); err != nil {
				return err
			}
		}
	}
	if !s.ended {
		s.end(rules.Continue, "")
	}
	return nil
}

// statements holds what is known of a rule while its statements are read.
type statements struct {
	r     *reader
	table string
	chain *rules.Chain
	base  rules.Rule
	ways  []rules.Match // to match what was read so far: any of them
	ended bool
}

// end appends a rule for each way.
func (s *statements) end(a rules.Action, target string) {
	for _, m := range s.ways {
		x := s.base
		x.Match, x.Action, x.Target = m, a, target
		s.chain.Rules = append(s.chain.Rules, x)
	}
	s.ended = true
}

// and narrows every way to the given ones.
func (s *statements) and(ms ...rules.Match) {
	var out []rules.Match
	for _, w := range s.ways {
		for _, m := range ms {
			out = append(out, w.And(m))
		}
	}
	s.ways = out
}

func (s *statements) test(text string, not, own bool) {
	s.and(rules.Match{Tests: []rules.Test{{Text: text, Not: not, Own: own, File: s.base.File, Line: s.base.Line}}})
}

var verdicts = map[string]rules.Action{"accept": rules.Accept, "drop": rules.Drop, "reject": rules.Reject, "return": rules.Return, "continue": rules.Continue,
	"dnat": rules.Accept, "snat": rules.Accept, "masquerade": rules.Accept, "redirect": rules.Accept}

// passing are statements after which the next is tried.
var passing = []string{"counter", "log", "mangle", "notrack", "ct helper", "ct timeout", "ct expectation", "secmark", "dup", "tproxy", "flow", "set", "meter", "map", "last", "comment"}

// rating are statements that match at some times and not at others.
var rating = []string{"limit", "quota", "ct count", "connlimit"}

func (s *statements) statement(kind string, v any) error {
	if s.ended {
		s.r.note("what follows a verdict is never reached: %s", show(map[string]any{kind: v}))
		return nil
	}
	if a, ok := verdicts[kind]; ok {
		if kind == "reject" {
			s.rejects(v)
		}
		s.end(a, "")
		return nil
	}
	switch {
	case kind == "match":
		m, _ := v.(map[string]any)
		return s.match(m)
	case kind == "vmap":
		m, _ := v.(map[string]any)
		return s.vmap(m)
	case kind == "jump" || kind == "goto":
		target, err := s.target(v)
		if err == nil {
			s.end(map[string]rules.Action{"jump": rules.Jump, "goto": rules.Goto}[kind], target)
		}
		return err
	case kind == "queue":
		s.r.note("queue hands packets to a program: it counts as accept")
		s.end(rules.Accept, "")
	case slices.Contains(rating, kind):
		s.test(show(map[string]any{kind: v}), false, true)
	case (kind == "set" || kind == "meter") && rated(v):
		s.test(show(map[string]any{kind: v}), false, true)
	case kind == "log":
		s.r.note("log: the rule goes on after it")
	case slices.Contains(passing, kind):
	default:
		s.r.note("statement %s is not known: what it does is undecided", kind)
		text, ways := show(map[string]any{kind: v}), s.ways
		for _, a := range []rules.Action{rules.Accept, rules.Drop} {
			s.ways = ways
			s.test(text+" "+string(a)+"s", false, true)
			s.end(a, "")
		}
		s.ways, s.ended = ways, false
		s.test(text+" matches", false, true)
	}
	return nil
}

// rejects narrows to what the kind of a reject asks for: nft leaves out of its
// list a match of the family or of tcp before it.
func (s *statements) rejects(v any) {
	m, _ := v.(map[string]any)
	switch str(m, "type") {
	case "icmp":
		s.and(rules.Match{Family: flow.IPv4})
	case "icmpv6":
		s.and(rules.Match{Family: flow.IPv6})
	case "tcp reset":
		s.and(rules.Match{Services: []rules.Services{{Ranges: []rules.ServiceRange{rules.Protocol(flow.TCP)}}}})
	}
}

// rated says whether an update of a set carries a rate.
func rated(v any) bool {
	m, _ := v.(map[string]any)
	for _, e := range list(m["stmt"]) {
		x, _ := e.(map[string]any)
		for k := range x {
			if slices.Contains(rating, k) {
				return true
			}
		}
	}
	return false
}

func (s *statements) target(v any) (string, error) {
	m, _ := v.(map[string]any)
	c := s.r.chains[s.table+" "+str(m, "target")]
	if c == nil {
		return "", fmt.Errorf("jump to chain %q, which was not declared", str(m, "target"))
	}
	return c.Name, nil
}

// vmap reads a verdict map: each element is a way with its own verdict.
func (s *statements) vmap(m map[string]any) error {
	elems, ok := s.elements(m["data"])
	if !ok {
		return fmt.Errorf("verdict map %s is not declared", show(m["data"]))
	}
	f, known := s.fields(m["key"])
	ways := s.ways
	for _, e := range elems {
		pair := list(e)
		if len(pair) != 2 {
			return fmt.Errorf("%s is no element of a verdict map", show(e))
		}
		s.ways = ways
		if key := pair[0]; key == "*" || show(key) == "*" {
			// the catch-all is judged after the others, as it is listed last
		} else if !known {
			s.and(implied(m["key"]))
			s.test(show(m["key"])+" "+show(value(key)), false, false)
		} else if mm, err := f.element(value(key)); err != nil {
			s.r.note("%v: undecided", err)
			s.and(implied(m["key"]))
			s.test(show(m["key"])+" "+show(value(key)), false, false)
		} else {
			s.and(mm)
		}
		if err := s.verdict(pair[1]); err != nil {
			return err
		}
	}
	s.ways, s.ended = ways, false
	return nil
}

func (s *statements) verdict(v any) error {
	m, _ := v.(map[string]any)
	for k, x := range m {
		if k == "jump" || k == "goto" || verdicts[k] != "" {
			s.ended = false
			return s.statement(k, x)
		}
	}
	return fmt.Errorf("%s is no verdict", show(v))
}
