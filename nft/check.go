package nft

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxComment is the most bytes of a comment, MaxPrefix of a log prefix.
const (
	MaxComment = 127
	MaxPrefix  = 127
)

// Check reports everything that would make the text differ from the value, or
// that no kernel takes: names, lengths of keys, ranges that run backwards,
// times below a millisecond, quotes in comments, statements without what they
// need. It does not look at references to other objects. What Check accepts,
// Parse reads back from String to an equal value.
func (r Ruleset) Check() error {
	var errs []error
	bad := func(where, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
	}
	if r.Family != "inet" {
		bad("table", "the family is %q: only inet is known", r.Family)
	}
	names := map[string]bool{}
	name := func(what, s string) {
		if !IsName(s) {
			bad(what, "%q is no name", s)
		}
		if key := what + " " + s; names[key] {
			bad(key, "is there twice")
		} else {
			names[key] = true
		}
	}
	name("table", r.Table)
	for _, c := range r.Counters {
		name("counter", c)
	}
	for i := range r.Sets {
		s := &r.Sets[i]
		name("set", s.Name)
		if err := s.check(); err != nil {
			bad("set "+s.Name, "%v", err)
		}
	}
	for i := range r.Chains {
		c := &r.Chains[i]
		name("chain", c.Name)
		if err := c.check(); err != nil {
			bad("chain "+c.Name, "%v", err)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("cannot use the ruleset: %w", errors.Join(errs...))
	}
	return nil
}

func checkTime(what string, d time.Duration) error {
	if d < 0 || d%time.Millisecond != 0 {
		return fmt.Errorf("%s %v: want whole milliseconds, or 0 for none", what, d)
	}
	return nil
}

func (s *Set) check() error {
	if len(s.Key) == 0 {
		return errors.New("has no key type")
	}
	for _, t := range s.Key {
		if !t.isKey() {
			return fmt.Errorf("%q is no type of keys", t)
		}
	}
	if s.Data != "" && s.Data != Mark && s.Data != VerdictType {
		return fmt.Errorf("data of type %q: want verdict or mark", s.Data)
	}
	if err := checkTime("timeout", s.DefaultTimeout); err != nil {
		return err
	}
	if s.Elements != nil && len(s.Elements) == 0 {
		return errors.New("no elements, but not nil")
	}
	for i := range s.Elements {
		if err := s.checkElement(&s.Elements[i]); err != nil {
			return fmt.Errorf("element %d: %w", i+1, err)
		}
	}
	return nil
}

func (s *Set) checkElement(e *Element) error {
	if err := checkKey(s.Key, e.Key, e.KeyEnd, s.Interval); err != nil {
		return err
	}
	if err := checkTime("timeout", e.Timeout); err != nil {
		return err
	}
	if err := checkQuoted("comment", e.Comment, MaxComment); err != nil {
		return err
	}
	if (e.Verdict != nil) != (s.Data == VerdictType) {
		return errors.New("a verdict in a verdict map, and only there")
	}
	if e.Mark != 0 && s.Data != Mark {
		return errors.New("a mark outside a map of marks")
	}
	if e.Verdict != nil {
		return checkVerdict(*e.Verdict)
	}
	return nil
}

func checkKey(types []Type, lo, hi []byte, ranges bool) error {
	if n := KeyLen(types); len(lo) != n || (hi != nil && len(hi) != n) {
		return fmt.Errorf("a key of %d bytes, want %d for %v", len(lo), n, types)
	}
	if hi != nil && !ranges {
		return errors.New("a range where none may be")
	}
	if hi != nil && bytes.Equal(lo, hi) {
		return errors.New("a range of one: leave out its end")
	}
	at := 0
	for _, t := range types {
		w := t.Width()
		if hi != nil && !inOrder(t, lo[at:at+w], hi[at:at+w]) {
			return fmt.Errorf("the range of %s runs backwards", t)
		}
		if t == IfName {
			if hi != nil && !bytes.Equal(lo[at:at+w], hi[at:at+w]) {
				return errors.New("a range of interface names")
			}
			if s := string(bytes.TrimRight(lo[at:at+w], "\x00")); !isIface(s) {
				return fmt.Errorf("%q is no interface's name: want 1 to 15 bytes, no * at the end", s)
			}
		}
		for i := at + w; i < at+padded(w) && len(types) > 1; i++ {
			if lo[i] != 0 || (hi != nil && hi[i] != 0) {
				return errors.New("padding that is not zero")
			}
		}
		at += padded(w)
	}
	return nil
}

func checkQuoted(what, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("a %s of %d bytes, at most %d are kept", what, len(s), most)
	}
	if strings.ContainsAny(s, "\"\\") || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%s %q: no quotes, backslashes, or what cannot be printed", what, s)
	}
	return nil
}

func checkVerdict(v Verdict) error {
	switch v.Kind {
	case "accept", "drop", "return", "continue":
		if v.Chain != "" {
			return fmt.Errorf("%s with a chain", v.Kind)
		}
		return nil
	case "jump", "goto":
		if !IsName(v.Chain) {
			return fmt.Errorf("%s to %q, which is no name", v.Kind, v.Chain)
		}
		return nil
	}
	return fmt.Errorf("%q is no verdict", v.Kind)
}

func (c *Chain) check() error {
	switch c.Hook {
	case "":
		if c.Type != "" || c.Priority != 0 {
			return errors.New("type or priority without a hook")
		}
	case "forward", "output", "input", "prerouting", "postrouting":
		if c.Type != "filter" && c.Type != "nat" {
			return fmt.Errorf("type %q: want filter or nat", c.Type)
		}
	default:
		return fmt.Errorf("%q is no hook", c.Hook)
	}
	for i := range c.Rules {
		r := &c.Rules[i]
		if len(r.Stmts) == 0 {
			return fmt.Errorf("rule %d: no statement", i+1)
		}
		if err := checkQuoted("comment", r.Comment, MaxComment); err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
		for _, s := range r.Stmts {
			if err := checkStmt(s); err != nil {
				return fmt.Errorf("rule %d: %s: %w", i+1, StmtText(s), err)
			}
		}
	}
	return nil
}
