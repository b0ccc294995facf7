package nft

import (
	"fmt"
	"strings"
)

// ParseError is a mistake in nft text. Line and Col begin at 1; Col counts
// bytes.
type ParseError struct {
	Line, Col int
	Msg       string
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("cannot read nft text: %d:%d: %s", e.Line, e.Col, e.Msg)
}

type tokenKind uint8

const (
	tokEnd    tokenKind = iota
	tokLine             // one or more line ends
	tokWord             // anything between spaces, punctuation and quotes
	tokString           // text without its quotes
	tokPunct            // one of { } ( ) , ;
)

type token struct {
	kind tokenKind
	text string
	at   int // offset of its first byte
}

// lexer cuts text into tokens; it never copies.
type lexer struct {
	src string
	at  int
	tok token // the current one
}

// scan reads the next token into tok.
func (l *lexer) scan() {
	lines := false
	start := l.at
	for l.at < len(l.src) {
		switch c := l.src[l.at]; {
		case c == '\n':
			if !lines {
				start, lines = l.at, true
			}
			l.at++
			continue
		case c == ' ' || c == '\t' || c == '\r':
			l.at++
			continue
		case c == '#':
			if n := strings.IndexByte(l.src[l.at:], '\n'); n >= 0 {
				l.at += n
			} else {
				l.at = len(l.src)
			}
			continue
		}
		break
	}
	switch {
	case lines:
		l.tok = token{tokLine, "end of line", start}
		return
	case l.at >= len(l.src):
		l.tok = token{tokEnd, "end of text", l.at}
		return
	}
	start = l.at
	switch c := l.src[l.at]; {
	case isPunct(c):
		l.at++
		l.tok = token{tokPunct, l.src[start:l.at], start}
	case c == '"':
		n := strings.IndexAny(l.src[start+1:], "\"\n")
		if n < 0 || l.src[start+1+n] == '\n' {
			// An open quote: a word that nothing accepts.
			l.at = len(l.src)
			if n >= 0 {
				l.at = start + 1 + n
			}
			l.tok = token{tokPunct, l.src[start:l.at], start}
			return
		}
		l.at = start + n + 2
		l.tok = token{tokString, l.src[start+1 : l.at-1], start}
	default:
		for l.at < len(l.src) && !endsWord[l.src[l.at]] {
			l.at++
		}
		l.tok = token{tokWord, l.src[start:l.at], start}
	}
}

// endsWord lists the bytes that end a word.
var endsWord = func() (ends [256]bool) {
	for _, c := range " \t\r\n\"#{}(),;" {
		ends[c] = true
	}
	return ends
}()

func isPunct(c byte) bool {
	switch c {
	case '{', '}', '(', ')', ',', ';':
		return true
	}
	return false
}

func (l *lexer) errorAt(at int, format string, args ...any) error {
	line := 1 + strings.Count(l.src[:at], "\n")
	col := at - strings.LastIndexByte(l.src[:at], '\n')
	return &ParseError{line, col, fmt.Sprintf(format, args...)}
}

// errorf reports a mistake at the current token.
func (l *lexer) errorf(format string, args ...any) error {
	return l.errorAt(l.tok.at, format, args...)
}

// want reports that something else was expected at the current token.
func (l *lexer) want(what string) error {
	switch l.tok.kind {
	case tokEnd, tokLine:
		return l.errorf("want %s, found the %s", what, l.tok.text)
	}
	return l.errorf("want %s, found %q", what, l.tok.text)
}

// is says whether the current token is the word or punctuation s.
func (l *lexer) is(s string) bool {
	return (l.tok.kind == tokWord || l.tok.kind == tokPunct) && l.tok.text == s
}

// accept reads over s.
func (l *lexer) accept(s string) bool {
	if !l.is(s) {
		return false
	}
	l.scan()
	return true
}

func (l *lexer) expect(words ...string) error {
	for _, s := range words {
		if !l.accept(s) {
			return l.want(fmt.Sprintf("%q", s))
		}
	}
	return nil
}

// lines reads over line ends and semicolons.
func (l *lexer) lines() {
	for l.tok.kind == tokLine || l.is(";") {
		l.scan()
	}
}

// endLine wants the end of a line, a semicolon, or a closing brace that
// follows.
func (l *lexer) endLine() error {
	if l.tok.kind != tokLine && !l.is(";") && !l.is("}") {
		return l.want("the end of the line")
	}
	l.lines()
	return nil
}

// word reads a word.
func (l *lexer) word(what string) (string, error) {
	if l.tok.kind != tokWord {
		return "", l.want(what)
	}
	s := l.tok.text
	l.scan()
	return s, nil
}

// quoted reads a string in quotes.
func (l *lexer) quoted(what string) (string, error) {
	if l.tok.kind != tokString {
		return "", l.want(what + " in double quotes")
	}
	s := l.tok.text
	l.scan()
	return s, nil
}

// name reads the name of an object.
func (l *lexer) name(what string) (string, error) {
	if l.tok.kind == tokWord && !IsName(l.tok.text) {
		return "", l.errorf("%q is no name: want a letter, then letters, digits, _ - . or /", l.tok.text)
	}
	return l.word(what)
}

// MaxName is the most bytes of a name; the kernel takes 255.
const MaxName = 128

// IsName says whether s may name a table, chain, set or counter in nft text.
// Keywords of nft load over netlink but not as text: names that hold an
// underscore or a digit never are one.
func IsName(s string) bool {
	if len(s) == 0 || len(s) > MaxName {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '_' || c == '-' || c == '.' || c == '/'):
		default:
			return false
		}
	}
	return true
}
