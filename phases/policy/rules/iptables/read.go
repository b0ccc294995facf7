package iptables

import (
	"fmt"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// Read reads the text that the program of one family printed. The file's name
// is what rules say where they come from.
func Read(file, text string, family flow.Family) (rules.Ruleset, error) {
	return ReadWith(file, text, family, nil)
}

// ReadWith is Read with the sets that the rules look into; see ReadSets.
func ReadWith(file, text string, family flow.Family, sets Sets) (rules.Ruleset, error) {
	p := parser{file: file, family: family, sets: sets, out: rules.Ruleset{Families: []flow.Family{family}}}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		p.line = i + 1
		p.text = strings.TrimSpace(lines[i])
		for strings.HasSuffix(p.text, "\\") && i+1 < len(lines) && !strings.HasPrefix(p.text, "#") { // the line goes on
			i++
			p.text = strings.TrimSpace(p.text[:len(p.text)-1]) + " " + strings.TrimSpace(lines[i])
		}
		if err := p.one(p.text); err != nil {
			return rules.Ruleset{}, fmt.Errorf("cannot read %s:%d: %w", file, p.line, err)
		}
	}
	if p.listed {
		p.table = ""
	}
	if p.table != "" {
		return rules.Ruleset{}, fmt.Errorf("cannot read %s: table %s has no COMMIT; the file may be cut off", file, p.table)
	}
	return p.out, p.targets()
}

type parser struct {
	file   string
	family flow.Family
	line   int
	text   string
	table  string
	listed bool // as iptables -S lists: no table, no COMMIT
	sets   Sets
	out    rules.Ruleset
}

func (p *parser) note(format string, a ...any) {
	p.out.Notes = append(p.out.Notes, rules.Note{File: p.file, Line: p.line, Text: fmt.Sprintf(format, a...)})
}

// one reads a line: a comment, a table, a chain, a rule or the end of a table.
func (p *parser) one(line string) error {
	switch {
	case line == "" || line[0] == '#':
		return nil
	case line[0] == '*':
		if p.table != "" {
			return fmt.Errorf("table %s has no COMMIT", p.table)
		}
		p.table = line[1:]
		return nil
	case line == "COMMIT":
		p.table = ""
		return nil
	case (strings.HasPrefix(line, "-P ") || strings.HasPrefix(line, "-N ")) && (p.table == "" || p.listed):
		p.table, p.listed = "filter", true
		f := strings.Fields(line)
		if f[0] == "-N" {
			f = append(f, "-")
		}
		return p.chain(strings.Join(f[1:], " "))
	case p.table == "":
		return fmt.Errorf("%q stands outside a table; want *filter first", line)
	case line[0] == ':':
		return p.chain(line[1:])
	}
	words, err := split(line)
	if err != nil {
		return err
	}
	if len(words) > 0 && strings.HasPrefix(words[0], "[") { // counters, with iptables-save -c
		words = words[1:]
	}
	if len(words) < 2 || words[0] != "-A" {
		return fmt.Errorf("%q is no rule; want -A CHAIN …", line)
	}
	c := p.out.Chain(p.qualify(words[1]))
	if c == nil {
		return fmt.Errorf("chain %s was not declared", words[1])
	}
	rs, err := p.rule(words[2:])
	c.Rules = append(c.Rules, rs...)
	return err
}

func (p *parser) qualify(chain string) string {
	if p.table == "filter" {
		return chain
	}
	return p.table + ":" + chain
}

var hooks = map[string]string{"INPUT": "input", "FORWARD": "forward", "OUTPUT": "output", "PREROUTING": "prerouting", "POSTROUTING": "postrouting"}

func (p *parser) chain(decl string) error {
	f := strings.Fields(decl)
	if len(f) < 2 {
		return fmt.Errorf("chain %q has no policy", decl)
	}
	c := &rules.Chain{Name: p.qualify(f[0])}
	switch f[1] {
	case "ACCEPT", "DROP":
		hook, ok := hooks[f[0]]
		if !ok {
			return fmt.Errorf("chain %s has a policy, but is none of iptables' own", f[0])
		}
		c.Hook, c.Default = hook, rules.Action(strings.ToLower(f[1]))
	case "-":
	default:
		return fmt.Errorf("policy %q of chain %s; want ACCEPT, DROP or -", f[1], f[0])
	}
	if p.out.Chain(c.Name) != nil {
		return fmt.Errorf("chain %s was declared before", f[0])
	}
	p.out.Chains = append(p.out.Chains, c)
	return nil
}

// split cuts a line into words; quotes and backslashes are as iptables-save
// writes them.
func split(line string) ([]string, error) {
	var out []string
	var b strings.Builder
	quoted, word := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted && i+1 < len(line):
			i++
			b.WriteByte(line[i])
		case c == '"':
			quoted, word = !quoted, true
		case (c == ' ' || c == '\t') && !quoted:
			if word {
				out = append(out, b.String())
				b.Reset()
				word = false
			}
		default:
			b.WriteByte(c)
			word = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if word {
		out = append(out, b.String())
	}
	return out, nil
}

// targets turns a target that is no chain into tests.
func (p *parser) targets() error {
	for _, c := range p.out.Chains {
		var done []rules.Rule
		for _, r := range c.Rules {
			p.line, p.file = r.Line, r.File
			if r.Action != rules.Jump && r.Action != rules.Goto || p.out.Chain(r.Target) != nil {
				done = append(done, r)
				continue
			}
			_, target, other := strings.Cut(r.Target, ":")
			if !other {
				target = r.Target
			}
			p.note("target %s is not known: what it does is undecided", target)
			for _, a := range []rules.Action{rules.Accept, rules.Drop} {
				x := r
				x.Action, x.Target = a, ""
				x.Match = r.Match.And(rules.Match{Tests: []rules.Test{{Text: "-j " + target + " " + string(a) + "s", Own: true, File: r.File, Line: r.Line}}})
				done = append(done, x)
			}
		}
		c.Rules = done
	}
	return nil
}
