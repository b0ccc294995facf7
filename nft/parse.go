package nft

import (
	"strconv"
	"strings"
	"time"
)

// Parse reads one table in the dialect that Ruleset.String writes; comments
// and blank lines are allowed. It does not read everything that nft does. A
// mistake is a *ParseError. The empty text is the zero Ruleset.
func Parse(text string) (Ruleset, error) {
	p := parser{lexer: lexer{src: text}}
	p.scan()
	p.lines()
	if p.tok.kind == tokEnd {
		return Ruleset{}, nil
	}
	var r Ruleset
	if err := p.table(&r); err != nil {
		return Ruleset{}, err
	}
	return r, nil
}

type parser struct {
	lexer
	room []byte // from which keys are cut
	end  []byte // the end of the range that is being read
}

func (p *parser) table(r *Ruleset) (err error) {
	if err = p.expect("table"); err != nil {
		return err
	}
	if r.Family, err = p.word("the table's family"); err != nil {
		return err
	}
	if r.Family != "inet" {
		return p.errorf("the family is %q: only inet is known", r.Family)
	}
	if r.Table, err = p.name("the table's name"); err != nil {
		return err
	}
	if err = p.expect("{"); err != nil {
		return err
	}
	for p.lines(); !p.accept("}"); p.lines() {
		if err = p.object(r); err != nil {
			return err
		}
	}
	p.lines()
	if p.tok.kind != tokEnd {
		return p.want("the end of the text")
	}
	return nil
}

func (p *parser) object(r *Ruleset) error {
	kind := p.tok.text
	switch {
	case p.accept("counter"):
		name, err := p.name("the counter's name")
		if err != nil {
			return err
		}
		if err := p.expect("{"); err != nil {
			return err
		}
		p.lines()
		r.Counters = append(r.Counters, name)
		return p.expect("}")
	case p.accept("set"), p.accept("map"):
		s, err := p.set(kind == "map")
		r.Sets = append(r.Sets, s)
		return err
	case p.accept("chain"):
		c, err := p.chain()
		r.Chains = append(r.Chains, c)
		return err
	}
	return p.want("counter, set, map, chain or }")
}

func (p *parser) set(isMap bool) (s Set, err error) {
	if s.Name, err = p.name("the set's name"); err != nil {
		return s, err
	}
	if err = p.expect("{"); err != nil {
		return s, err
	}
	p.lines()
	if err = p.setTypes(&s, isMap); err != nil {
		return s, err
	}
	for p.lines(); !p.accept("}"); p.lines() {
		if err = p.setLine(&s); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (p *parser) setTypes(s *Set, isMap bool) error {
	if err := p.expect("type"); err != nil {
		return err
	}
	for {
		t, err := p.setType()
		if err != nil {
			return err
		}
		s.Key = append(s.Key, t)
		if !p.accept(".") {
			break
		}
	}
	if !isMap {
		return p.endLine()
	}
	if err := p.expect(":"); err != nil {
		return err
	}
	switch {
	case p.accept(string(VerdictType)):
		s.Data = VerdictType
	case p.accept(string(Mark)):
		s.Data = Mark
	default:
		return p.want("verdict or mark")
	}
	return p.endLine()
}

func (p *parser) setType() (Type, error) {
	t := Type(p.tok.text)
	if p.tok.kind != tokWord || !t.isKey() {
		return "", p.want("a type of keys")
	}
	p.scan()
	return t, nil
}

func (p *parser) setLine(s *Set) error {
	at := p.tok.at
	again := func(set bool) error {
		if set {
			return p.errorAt(at, "this is written twice")
		}
		return nil
	}
	switch {
	case p.accept("size"):
		if err := again(s.Size != 0); err != nil {
			return err
		}
		n, err := p.number("the size", 1, 1<<32-1)
		if err != nil {
			return err
		}
		s.Size = uint32(n)
	case p.accept("flags"):
		if err := again(s.Interval || s.HasTimeout || s.Dynamic); err != nil {
			return err
		}
		if err := p.flags(s); err != nil {
			return err
		}
	case p.accept("timeout"):
		if err := again(s.DefaultTimeout != 0); err != nil {
			return err
		}
		d, err := p.duration()
		if err != nil {
			return err
		}
		s.DefaultTimeout = d
	case p.accept("counter"):
		if err := again(s.Counter); err != nil {
			return err
		}
		s.Counter = true
	case p.accept("elements"):
		if err := again(s.Elements != nil); err != nil {
			return err
		}
		return p.elements(s)
	default:
		return p.want("size, flags, timeout, counter, elements or }")
	}
	return p.endLine()
}

func (p *parser) flags(s *Set) error {
	for {
		on := &s.Interval
		switch {
		case p.is("interval"):
		case p.is("timeout"):
			on = &s.HasTimeout
		case p.is("dynamic"):
			on = &s.Dynamic
		default:
			return p.want("interval, timeout or dynamic")
		}
		if *on {
			return p.errorf("the flag %s is written twice", p.tok.text)
		}
		*on = true
		p.scan()
		if !p.accept(",") {
			return nil
		}
	}
}

func (p *parser) elements(s *Set) error {
	if err := p.expect("=", "{"); err != nil {
		return err
	}
	if n := strings.IndexByte(p.src[p.at:], '}'); n > 0 {
		s.Elements = make([]Element, 0, 1+strings.Count(p.src[p.at:p.at+n], ","))
	}
	for {
		p.lines()
		e, err := p.element(s)
		if err != nil {
			return err
		}
		s.Elements = append(s.Elements, e)
		p.lines()
		if p.accept("}") {
			return p.endLine()
		}
		if err := p.expect(","); err != nil {
			return err
		}
	}
}

func (p *parser) element(s *Set) (e Element, err error) {
	at := p.tok.at
	if e.Key, e.KeyEnd, err = p.key(s.Key); err != nil {
		return e, err
	}
	if e.KeyEnd != nil && !s.Interval {
		return e, p.errorAt(at, "a range in a set without the flag interval")
	}
	if p.accept("timeout") {
		if e.Timeout, err = p.duration(); err != nil {
			return e, err
		}
	}
	if p.accept("comment") {
		if e.Comment, err = p.quoted("the comment"); err != nil {
			return e, err
		}
	}
	if s.Data == "" {
		return e, nil
	}
	if err = p.expect(":"); err != nil {
		return e, err
	}
	if s.Data == Mark {
		var n uint64
		n, err = p.number("a mark", 0, 1<<32-1)
		e.Mark = uint32(n)
		return e, err
	}
	v, ok, err := p.verdict()
	if err == nil && !ok {
		err = p.want("a verdict")
	}
	e.Verdict = &v
	return e, err
}

func (p *parser) chain() (c Chain, err error) {
	if c.Name, err = p.name("the chain's name"); err != nil {
		return c, err
	}
	if err = p.expect("{"); err != nil {
		return c, err
	}
	p.lines()
	if p.accept("type") {
		if err = p.base(&c); err != nil {
			return c, err
		}
	}
	for p.lines(); !p.accept("}"); p.lines() {
		r, err := p.rule()
		if err != nil {
			return c, err
		}
		c.Rules = append(c.Rules, r)
	}
	return c, nil
}

// base reads "type filter hook forward priority 10; policy accept;".
func (p *parser) base(c *Chain) (err error) {
	if !p.is("filter") && !p.is("nat") {
		return p.want("filter or nat")
	}
	if c.Type, err = p.word("the chain's type"); err != nil {
		return err
	}
	if err = p.expect("hook"); err != nil {
		return err
	}
	switch p.tok.text {
	case "forward", "output", "input", "prerouting", "postrouting":
	default:
		return p.want("forward, output, input, prerouting or postrouting")
	}
	if c.Hook, err = p.word("the hook"); err != nil {
		return err
	}
	if err = p.expect("priority"); err != nil {
		return err
	}
	n, err := strconv.ParseInt(p.tok.text, 10, 32)
	if err != nil || p.tok.kind != tokWord || strings.HasPrefix(p.tok.text, "+") {
		return p.want("the priority as a number")
	}
	c.Priority = int32(n)
	p.scan()
	if err = p.expect(";", "policy", "accept"); err != nil {
		return err
	}
	return p.endLine()
}

// number reads a decimal or 0x number within bounds.
func (p *parser) number(what string, low, high uint64) (uint64, error) {
	n, ok := parseNumber(p.tok.text, high)
	if p.tok.kind != tokWord || !ok || n < low {
		return 0, p.want(what + " as a number from " + strconv.FormatUint(low, 10) + " to " + strconv.FormatUint(high, 10))
	}
	p.scan()
	return n, nil
}

// duration reads nft's "1d2h3m4s5ms", more than nothing.
func (p *parser) duration() (time.Duration, error) {
	d, ok := parseTime(p.tok.text)
	if p.tok.kind != tokWord || !ok || d == 0 {
		return 0, p.want("a time as 1d2h3m4s5ms")
	}
	p.scan()
	return d, nil
}

func parseTime(s string) (total time.Duration, ok bool) {
	for _, u := range timeUnits {
		digits := 0
		for digits < len(s) && '0' <= s[digits] && s[digits] <= '9' {
			digits++
		}
		if rest := s[digits:]; digits == 0 || !strings.HasPrefix(rest, u.word) || (u.word == "m" && strings.HasPrefix(rest, "ms")) {
			continue
		}
		n, err := strconv.ParseInt(s[:digits], 10, 64)
		if err != nil || n > int64(1<<62/u.d) || total > 1<<62-time.Duration(n)*u.d {
			return 0, false
		}
		total += time.Duration(n) * u.d
		s = s[digits+len(u.word):]
	}
	return total, s == ""
}
