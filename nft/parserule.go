package nft

import (
	"strings"
)

// fieldWords lists the words of every field; longer ones first where one
// begins another.
var fieldWords = func() [][]string {
	var out [][]string
	for _, f := range []Field{L4Proto, NFProtoF, IIFName, OIFName, IIFType, IPSaddr, IPDaddr, IP6Saddr,
		IP6Daddr, EtherSaddr, ThSport, ThDport, TCPFlags, ICMPTypeF, ICMP6TypeF, CTState, CTDirection,
		CTStatus, FibDaddr, FibOIFName, SkUID} {
		out = append(out, strings.Fields(string(f)))
	}
	return out
}()

func (p *parser) rule() (r Rule, err error) {
	for p.tok.kind == tokWord && !p.is("comment") {
		s, err := p.stmt()
		if err != nil {
			return r, err
		}
		r.Stmts = append(r.Stmts, s)
	}
	if len(r.Stmts) == 0 {
		return r, p.want("a statement")
	}
	if p.accept("comment") {
		if r.Comment, err = p.quoted("the comment"); err != nil {
			return r, err
		}
	}
	return r, p.endLine()
}

func (p *parser) stmt() (Stmt, error) {
	switch {
	case p.accept("counter"):
		if !p.accept("name") {
			return Count{}, nil
		}
		name, err := p.name("the counter's name")
		return Count{name}, err
	case p.accept("jhash"):
		return p.jhash()
	case p.accept("log"):
		return p.log()
	case p.is("limit"):
		l, err := p.limit()
		return l, err
	case p.is("add"), p.is("update"):
		return p.setOp()
	case p.accept("reject"):
		return p.reject()
	case p.accept("redirect"):
		return p.redirect()
	}
	if v, ok, err := p.verdict(); ok || err != nil {
		return v, err
	}
	return p.match()
}

// verdict reads a verdict if there is one.
func (p *parser) verdict() (v Verdict, ok bool, err error) {
	if p.tok.kind != tokWord {
		return v, false, nil
	}
	switch p.tok.text {
	case "accept", "drop", "return", "continue":
		v.Kind = p.tok.text
		p.scan()
		return v, true, nil
	case "jump", "goto":
		v.Kind = p.tok.text
		p.scan()
		v.Chain, err = p.name("a chain's name")
		return v, true, err
	}
	return v, false, nil
}

// fields reads "ip saddr . meta l4proto . th dport".
func (p *parser) fields() (out []Field, err error) {
	for {
		f, err := p.fieldName()
		if err != nil {
			return nil, err
		}
		out = append(out, f)
		if !p.accept(".") {
			return out, nil
		}
	}
}

func (p *parser) fieldName() (Field, error) {
	start := p.lexer
next:
	for _, words := range fieldWords {
		p.lexer = start
		for _, w := range words {
			if !p.accept(w) {
				continue next
			}
		}
		return Field(strings.Join(words, " ")), nil
	}
	p.lexer = start
	return "", p.want("a statement or a field that is known")
}

func (p *parser) match() (Stmt, error) {
	fields, err := p.fields()
	if err != nil {
		return nil, err
	}
	if p.accept("vmap") {
		name, err := p.ref("map")
		return Vmap{fields, name}, err
	}
	types := typesOf(fields)
	for _, t := range types {
		if t.bitMask() && len(types) > 1 {
			return nil, p.errorf("a bit mask (%s) cannot be part of a concatenation", t)
		}
	}
	if types[0].bitMask() {
		return p.maskMatch(fields[0], types[0])
	}
	m := Match{Fields: fields, Not: p.accept("!=")}
	switch {
	case strings.HasPrefix(p.tok.text, "@") && p.tok.kind == tokWord:
		m.Set, err = p.ref("set")
		return m, err
	case p.accept("{"):
		m.Values, err = p.values(types)
		return m, err
	case len(types) > 1:
		return nil, p.want("@set or { values }")
	}
	lo, hi, err := p.key(types)
	m.Values = []Value{{lo, hi}}
	return m, err
}

func (p *parser) values(types []Type) (out []Value, err error) {
	for {
		lo, hi, err := p.key(types)
		if err != nil {
			return nil, err
		}
		out = append(out, Value{lo, hi})
		if p.accept("}") {
			return out, nil
		}
		if err := p.expect(","); err != nil {
			return nil, err
		}
	}
}

func (p *parser) maskMatch(f Field, t Type) (Stmt, error) {
	m := Match{Fields: []Field{f}}
	if t == tcpFlag {
		return p.flagMatch(m)
	}
	m.Not = p.accept("!")
	// The lexer cuts at commas, so the mask's words come one by one.
	start := p.tok
	if start.kind != tokWord {
		return nil, p.want("a mask of " + string(f))
	}
	end := start
	for {
		end = p.tok
		if end.kind != tokWord {
			return nil, p.want("a word of " + string(f))
		}
		p.scan()
		if !p.accept(",") {
			break
		}
	}
	text := strings.ReplaceAll(p.src[start.at:end.at+len(end.text)], " ", "")
	n, ok := parseMask(t.bits(), text, ",")
	if !ok {
		return nil, p.errorAt(start.at, "%q is no mask of %s", text, f)
	}
	m.Values = []Value{{Lo: encode(t, n)}}
	return m, nil
}

// flagMatch reads "& (fin | syn) != syn".
func (p *parser) flagMatch(m Match) (Stmt, error) {
	if err := p.expect("&", "("); err != nil {
		return nil, err
	}
	mask, err := p.flagWords()
	if err == nil {
		err = p.expect(")")
	}
	if err != nil {
		return nil, err
	}
	m.Not = p.is("!=")
	if !m.Not && !p.is("==") {
		return nil, p.want("== or !=")
	}
	p.scan()
	paren := p.accept("(")
	v, err := p.flagWords()
	if err == nil && paren {
		err = p.expect(")")
	}
	m.Mask, m.Values = []byte{mask}, []Value{{Lo: []byte{v}}}
	return m, err
}

func (p *parser) flagWords() (mask byte, err error) {
	for {
		n, ok := parseMask(flagBits, p.tok.text, ",")
		if p.tok.kind != tokWord || !ok || n > 255 {
			return 0, p.want("a TCP flag")
		}
		mask |= byte(n)
		p.scan()
		if !p.accept("|") {
			return mask, nil
		}
	}
}

// ref reads "@name".
func (p *parser) ref(what string) (string, error) {
	name, ok := strings.CutPrefix(p.tok.text, "@")
	if p.tok.kind != tokWord || !ok || !IsName(name) {
		return "", p.want("@ and the name of a " + what)
	}
	p.scan()
	return name, nil
}

func (p *parser) jhash() (Stmt, error) {
	var j Jhash
	f, err := p.fieldName()
	if err != nil {
		return nil, err
	}
	j.Field = f
	for _, x := range []struct {
		word string
		to   *uint32
		low  uint64
	}{{"mod", &j.Mod, 1}, {"seed", &j.Seed, 0}, {"<", &j.Below, 0}} {
		if err := p.expect(x.word); err != nil {
			return nil, err
		}
		n, err := p.number(x.word, x.low, 1<<32-1)
		if err != nil {
			return nil, err
		}
		*x.to = uint32(n)
	}
	return j, nil
}

func (p *parser) log() (Stmt, error) {
	var l Log
	var err error
	if p.accept("prefix") {
		if l.Prefix, err = p.quoted("the prefix"); err != nil {
			return nil, err
		}
	}
	if err := p.expect("group"); err != nil {
		return nil, err
	}
	n, err := p.number("the log group", 0, 65535)
	if err != nil {
		return nil, err
	}
	l.Group = uint16(n)
	if p.accept("snaplen") {
		if n, err = p.number("snaplen", 1, 1<<32-1); err != nil {
			return nil, err
		}
		l.Snaplen = uint32(n)
	}
	if p.accept("queue-threshold") {
		if n, err = p.number("queue-threshold", 1, 65535); err != nil {
			return nil, err
		}
		l.Threshold = uint16(n)
	}
	return l, nil
}

func (p *parser) limit() (l Limit, err error) {
	if err = p.expect("limit", "rate"); err != nil {
		return l, err
	}
	l.Over = p.accept("over")
	rate, unit, ok := strings.Cut(p.tok.text, "/")
	n, isNumber := parseNumber(rate, 1<<64-1)
	if p.tok.kind != tokWord || !ok || !isNumber || n == 0 || (unit != "second" && unit != "minute" && unit != "hour") {
		return l, p.want("a rate as 50/second, per second, minute or hour")
	}
	l.Rate, l.Unit = n, unit
	p.scan()
	if p.accept("burst") {
		if n, err = p.number("burst", 1, 1<<32-1); err != nil {
			return l, err
		}
		l.Burst = uint32(n)
		err = p.expect("packets")
	}
	return l, err
}

func (p *parser) setOp() (Stmt, error) {
	op := SetOp{Op: p.tok.text}
	p.scan()
	var err error
	if op.Set, err = p.ref("set"); err != nil {
		return nil, err
	}
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	if op.Fields, err = p.fields(); err != nil {
		return nil, err
	}
	if p.is("limit") {
		l, err := p.limit()
		if err != nil {
			return nil, err
		}
		op.Limit = &l
	}
	op.Counter = p.accept("counter")
	return op, p.expect("}")
}

func (p *parser) reject() (Stmt, error) {
	if err := p.expect("with"); err != nil {
		return nil, err
	}
	for _, with := range []string{"tcp reset", "icmpx admin-prohibited", "icmpx port-unreachable"} {
		start := p.lexer
		first, second, _ := strings.Cut(with, " ")
		if p.accept(first) && p.accept(second) {
			return Reject{with}, nil
		}
		p.lexer = start
	}
	return nil, p.want("tcp reset, icmpx admin-prohibited or icmpx port-unreachable")
}

func (p *parser) redirect() (Stmt, error) {
	if err := p.expect("to"); err != nil {
		return nil, err
	}
	port, ok := strings.CutPrefix(p.tok.text, ":")
	n, isNumber := parseNumber(port, 65535)
	if p.tok.kind != tokWord || !ok || !isNumber || n == 0 {
		return nil, p.want("a port as :2323")
	}
	p.scan()
	return Redirect{uint16(n)}, nil
}
