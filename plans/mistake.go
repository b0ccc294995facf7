package plans

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Mistake is one thing that is wrong in a plan file.
type Mistake struct {
	File   string `json:"file"`
	Line   int    `json:"line"`   // from 1; 0: the whole file
	Col    int    `json:"column"` // in characters, from 1
	Text   string `json:"text"`   // what is wrong
	Hint   string `json:"hint"`   // what to write instead; may be empty
	Source string `json:"source"` // the line as it stands in the file
}

// String gives "file:line:col: text", the source line with a caret under the
// column, and the hint, without a trailing newline.
func (m Mistake) String() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", m.Line, m.Col)
	}
	b.WriteString(": " + m.Text)
	if m.Line > 0 && m.Source != "" {
		line, col := excerpt(m.Source, m.Col)
		fmt.Fprintf(&b, "\n  %4d | %s\n       | %s^", m.Line, line, padding(line, col))
	}
	if m.Hint != "" {
		b.WriteString("\n       = " + m.Hint)
	}
	return b.String()
}

// excerpt cuts a long line around the column, so that a caret stays on screen.
func excerpt(source string, col int) (line string, at int) {
	const width = 160
	r := []rune(source)
	col = min(max(col, 1), len(r)+1)
	if len(r) <= width {
		return source, col
	}
	from := max(0, min(col-width/2, len(r)-width))
	return string(r[from : from+width]), col - from
}

// padding is as wide as the first col-1 characters of line; tabs stay tabs.
func padding(line string, col int) string {
	var b strings.Builder
	n := 0
	for _, c := range line {
		if n++; n >= col {
			break
		}
		if c == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// Mistakes is the error of Parse: everything that is wrong in one file, in the
// file's order. It is never empty.
type Mistakes []Mistake

// Error lists all mistakes as Render does.
func (ms Mistakes) Error() string { return strings.TrimSuffix(ms.Render(), "\n") }

// Render lists all mistakes, each with its line, a caret and what to write
// instead, with a count at the end.
func (ms Mistakes) Render() string {
	var b strings.Builder
	for _, m := range ms {
		b.WriteString(m.String() + "\n")
	}
	if len(ms) == 1 {
		b.WriteString("1 mistake\n")
	} else {
		fmt.Fprintf(&b, "%d mistakes\n", len(ms))
	}
	return b.String()
}

// NewMistake is a mistake in a plan that Parse took: what only shows once its
// parts are put together.
func NewMistake(at Pos, data []byte, text, hint string) Mistake {
	r := newReader(at.File, data)
	r.addAt(at.Line, at.Col, text, hint)
	return r.found[0]
}

// reader collects the mistakes of one file.
type reader struct {
	file   string
	text   string // without byte order mark and with plain line ends
	lines  []string
	found  Mistakes
	atNode map[*node]bool // nodes that already have a mistake
}

func newReader(file string, data []byte) *reader {
	text := strings.TrimPrefix(string(data), "\ufeff")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	return &reader{file: file, text: text, lines: strings.Split(text, "\n"), atNode: map[*node]bool{}}
}

func (r *reader) addAt(line, col int, text, hint string) {
	if n := len(r.lines); line > n { // the library counts one more at the end of a file
		line, col = n, utf8.RuneCountInString(r.lines[n-1])+1
	}
	m := Mistake{File: r.file, Line: line, Col: col, Text: text, Hint: hint}
	if line >= 1 && line <= len(r.lines) {
		src := r.lines[line-1]
		if !utf8.ValidString(src) {
			src = strings.ToValidUTF8(src, "?")
		}
		m.Source = src
	}
	if !slices.Contains(r.found, m) {
		r.found = append(r.found, m)
	}
}

// add notes a mistake at a node; a nil node means the whole file.
func (r *reader) add(n *node, text, hint string) {
	if n == nil {
		r.addAt(1, 1, text, hint)
		return
	}
	r.atNode[n] = true
	r.addAt(n.line, n.col, text, hint)
}

// hurt says whether something in n is wrong, so that what follows from it is
// not told as well.
func (r *reader) hurt(n *node) bool {
	if n == nil {
		return false
	}
	if r.atNode[n] {
		return true
	}
	return slices.ContainsFunc(n.keys, r.hurt) || slices.ContainsFunc(n.vals, r.hurt)
}

// err returns the mistakes in the file's order, or nil.
func (r *reader) err() error {
	if len(r.found) == 0 {
		return nil
	}
	slices.SortStableFunc(r.found, func(a, b Mistake) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return r.found
}
