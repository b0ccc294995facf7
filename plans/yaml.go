package plans

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxSize is how many bytes a plan file may have.
const MaxSize = 1 << 20

// Further limits of a plan file. A file beyond them is refused, not cut: the
// YAML library takes quadratic time on some inputs and recurses with their
// depth.
const (
	maxDepth = 24
	maxKeys  = 50_000
	maxLine  = 64 << 10
)

// read turns the file into a node, or notes why not and returns nil.
func (r *reader) read() (root *node) {
	defer func() {
		if p := recover(); p != nil {
			r.addAt(0, 0, "the file cannot be read as YAML", "look for an unclosed quote or bracket")
			root = nil
		}
	}()
	if !r.bounded() {
		return nil
	}
	f, err := parser.ParseBytes([]byte(r.text), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	var bodies []ast.Node
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		if d.Body.Type() == ast.DirectiveType {
			line, col := position(d.Body, 1, 1)
			r.addAt(line, col, "a YAML directive", "remove the line")
			continue
		}
		bodies = append(bodies, d.Body)
	}
	if len(bodies) == 0 {
		r.addAt(0, 0, "the file holds no plan", "weir init writes one to start from")
		return nil
	}
	if len(bodies) > 1 {
		line, col := position(bodies[1], 1, 1)
		r.addAt(line, col, "a second document in the same file", "one plan per file: remove the --- line and what follows it")
	}
	return r.convert(bodies[0], 1, 1)
}

var indicators = regexp.MustCompile(`^(?:[-?:!&*]\S*\s+)+`)

// bounded refuses what the library is too slow or too deep for.
func (r *reader) bounded() bool {
	if len(r.text) > MaxSize {
		r.addAt(0, 0, fmt.Sprintf("the file has %d bytes, more than 1 MiB", len(r.text)), "name networks by prefix, not address by address")
		return false
	}
	keys, depth := 0, 0
	for i, line := range r.lines {
		if len(line) > maxLine {
			r.addAt(i+1, 1, fmt.Sprintf("a line of %d characters, more than %d", len(line), maxLine), "break the line")
			return false
		}
		bare := strings.TrimLeft(line, " ")
		if len(strings.Fields(indicators.FindString(bare))) > maxDepth || len(line)-len(bare) > 8*maxDepth {
			r.addAt(i+1, 1, "nested too deep for a plan", "see weir check --schema for the shape of a plan")
			return false
		}
		var quote byte
		for j := 0; j < len(line); j++ {
			c := line[j]
			switch {
			case quote != 0:
				if c == quote {
					quote = 0
				}
			case c == '#' && (j == 0 || line[j-1] == ' '):
				j = len(line)
			case c == '"' || c == '\'':
				quote = c
			case c == '[' || c == '{':
				if depth++; depth > maxDepth {
					r.addAt(i+1, j+1, "nested too deep for a plan", "look for an unclosed bracket above")
					return false
				}
			case c == ']' || c == '}':
				depth = max(0, depth-1)
			case c == ':':
				keys++
			}
		}
	}
	if keys > maxKeys {
		r.addAt(0, 0, fmt.Sprintf("the file has %d keys, more than %d", keys, maxKeys), "name networks by prefix, not address by address")
		return false
	}
	return true
}

// syntax notes what the YAML library did not understand; it stops at the first.
func (r *reader) syntax(err error) {
	var se *yaml.SyntaxError
	if !errors.As(err, &se) || se.Token == nil || se.Token.Position == nil {
		r.addAt(0, 0, "the file cannot be read as YAML: "+firstLine(err.Error()), "look for an unclosed quote or bracket")
		return
	}
	hint := ""
	p := se.Token.Position
	if p.Line >= 1 && p.Line <= len(r.lines) {
		src := r.lines[p.Line-1]
		switch {
		case strings.Contains(src, "\t"):
			hint = "indent with spaces, not with tabs"
		case bareStar.MatchString(src):
			hint = `quote a value that begins with *, as in cron: "* * * * *"`
		case strings.Count(src, `"`)%2 == 1:
			hint = "a quote is not closed"
		case strings.Contains(src, "::"):
			hint = "quote IPv6 addresses"
		default:
			hint = "look at the indentation, and for a missing quote, comma or bracket here or in the line above"
		}
	}
	r.addAt(p.Line, p.Column, "not YAML: "+firstLine(se.Message), hint)
}

var bareStar = regexp.MustCompile(`[:\[,-] *\*`)

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.ToValidUTF8(s, "?")
}

// position is where a YAML node stands, or the given place of its parent.
func position(n ast.Node, line, col int) (int, int) {
	var t *token.Token
	switch x := n.(type) {
	case *ast.MappingNode:
		if len(x.Values) > 0 && !x.IsFlowStyle {
			return position(x.Values[0].Key, line, col)
		}
		t = x.GetToken()
	case *ast.MappingValueNode:
		return position(x.Key, line, col)
	case nil:
		return line, col
	default:
		t = n.GetToken()
	}
	if t == nil || t.Position == nil || t.Position.Line < 1 {
		return line, col
	}
	return t.Position.Line, max(1, t.Position.Column)
}

// convert makes a node of a YAML node. What a plan may not use is noted and
// becomes nothing, so that the rest is still read.
func (r *reader) convert(n ast.Node, line, col int) *node {
	line, col = position(n, line, col)
	out := &node{kind: nothing, line: line, col: col}
	switch x := n.(type) {
	case nil, *ast.NullNode:
	case *ast.StringNode:
		out.kind, out.text = text, x.Value
		t := x.GetToken()
		out.plain = t != nil && t.Type != token.DoubleQuoteType && t.Type != token.SingleQuoteType
	case *ast.LiteralNode:
		out.kind = text
		if x.Value != nil {
			out.text = x.Value.Value
		}
	case *ast.BoolNode:
		out.kind, out.truth = boolean, x.Value
	case *ast.IntegerNode:
		r.integer(out, x)
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.kind, out.text = text, tokenText(n)
		out.plain = true
	case *ast.SequenceNode:
		out.kind = list
		for _, v := range x.Values {
			out.vals = append(out.vals, r.convert(v, line, col))
		}
	case *ast.MappingNode:
		r.entries(out, x.Values)
	case *ast.MappingValueNode:
		r.entries(out, []*ast.MappingValueNode{x})
	case *ast.AnchorNode:
		r.add(out, "an anchor (&)", "write the value out each time it is used; a value that begins with & needs quotes")
		return r.convert(x.Value, line, col)
	case *ast.AliasNode:
		r.add(out, "an alias (*)", `write the value out; a value that begins with * needs quotes, as in cron: "* * * * *"`)
	case *ast.TagNode:
		r.add(out, "a tag (!)", "remove it; a value that begins with ! needs quotes")
		return r.convert(x.Value, line, col)
	default:
		r.add(out, "YAML that a plan may not use", "write plain keys, lists and values")
	}
	return out
}

var plainInteger = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

func (r *reader) integer(out *node, x *ast.IntegerNode) {
	out.kind, out.text = number, tokenText(x)
	v, err := strconv.ParseInt(out.text, 10, 64)
	out.num = v
	if !plainInteger.MatchString(out.text) || err != nil {
		r.add(out, fmt.Sprintf("the number %s", out.text), "write numbers in plain decimal, text in quotes")
	}
}

func tokenText(n ast.Node) string {
	if t := n.GetToken(); t != nil {
		return strings.TrimSpace(t.Value)
	}
	return ""
}

// entries fills a mapping; a key that is there twice is a mistake and the
// first one counts.
func (r *reader) entries(out *node, values []*ast.MappingValueNode) {
	out.kind, out.index = mapping, map[string]int{}
	for _, mv := range values {
		line, col := position(mv.Key, out.line, out.col)
		k := &node{kind: text, line: line, col: col}
		switch x := mv.Key.(type) {
		case *ast.StringNode:
			k.text = x.Value
		case *ast.MergeKeyNode:
			r.add(k, "a merge key (<<)", "write the keys out")
			continue
		case *ast.MappingKeyNode:
			r.add(k, "a key that begins with ?", "write key: value")
			continue
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
			k.text = tokenText(mv.Key)
		default:
			r.add(k, "a key that is not a plain name", "write key: value")
			continue
		}
		if i, twice := out.index[k.text]; twice {
			r.add(k, fmt.Sprintf("%q is here twice, first in line %d", clip(k.text), out.keys[i].line), "keep one of them")
			continue
		}
		out.index[k.text] = len(out.vals)
		out.keys = append(out.keys, k)
		out.vals = append(out.vals, r.convert(mv.Value, line, col))
	}
}

// clip shortens a text that is shown in a message.
func clip(s string) string {
	r := []rune(strings.ToValidUTF8(s, "?"))
	if len(r) <= 60 {
		return string(r)
	}
	return string(r[:57]) + "..."
}
