package plans

import (
	"fmt"
	"slices"
	"strings"
)

// Entry is one entry to put at the end of a list or map of a plan. It is
// written in one flow, as "name: {members: [10.0.0.1]}" for a map and
// "{name: …}" for a list; lines of Comment stand above it where there is room.
type Entry struct {
	Path    []string // where to, as enforce, waves; the last names a list or a map
	List    bool
	Text    string
	Comment []string
}

// Insert puts entries into the text of a plan and changes nothing else of it:
// comments and order stay as they are. A list or map that is not there is made,
// if it is at the top or in a map at the top that is not there either. The
// result is not checked: Parse it.
func Insert(data []byte, entries []Entry) ([]byte, error) {
	text := string(data)
	done := make([]bool, len(entries))
	for i, e := range entries {
		if done[i] {
			continue
		}
		var same entriesOf
		for j := i; j < len(entries); j++ {
			if !done[j] && slices.Equal(entries[j].Path, e.Path) {
				same, done[j] = append(same, entries[j]), true
			}
		}
		out, err := insert(text, same)
		if err != nil {
			return nil, fmt.Errorf("cannot put an entry under %s: %w", strings.Join(e.Path, "."), err)
		}
		text = out
	}
	return []byte(text), nil
}

// entriesOf are entries for one list or map.
type entriesOf []Entry

func insert(text string, all entriesOf) (string, error) {
	e := all[0]
	r := newReader("plan", []byte(text))
	root := r.read()
	if err := r.err(); err != nil {
		return "", err
	}
	if root.kind != mapping {
		return "", fmt.Errorf("the plan is %s", root.kind)
	}
	n, depth := root, 0
	for ; depth < len(e.Path); depth++ {
		next := n.get(e.Path[depth])
		if next == nil {
			break
		}
		n = next
	}
	if depth < len(e.Path) {
		if depth > 0 {
			return "", fmt.Errorf("it has no %s", e.Path[depth])
		}
		out := strings.TrimRight(r.text, "\n") + "\n"
		for i, p := range e.Path {
			out += strings.Repeat("  ", i) + p + ":\n"
		}
		return out + all.block(strings.Repeat("  ", len(e.Path))), nil
	}
	lines := r.lines
	at := n.line - 1
	if at < 0 || at >= len(lines) || n.kind != list && n.kind != mapping {
		return "", fmt.Errorf("it is %s", n.kind)
	}
	row := []rune(lines[at])
	if c := n.col - 1; c >= 0 && c < len(row) && (row[c] == '[' || row[c] == '{') {
		return r.inFlow(at, c, len(n.vals) > 0, all)
	}
	first := n
	if n.kind == mapping && len(n.keys) > 0 {
		first = n.keys[0]
	} else if n.kind == list && len(n.vals) > 0 {
		first = n.vals[0]
	}
	row = []rune(lines[first.line-1])
	indent := len(row) - len([]rune(strings.TrimLeft(string(row), " ")))
	end := first.line // one behind the last line of the block
	for i := first.line; i < len(lines); i++ {
		bare := strings.TrimLeft(lines[i], " ")
		if bare == "" || bare[0] == '#' {
			continue
		}
		in := len(lines[i]) - len(bare)
		if in < indent || in == indent && e.List && bare[0] != '-' {
			break
		}
		end = i + 1
	}
	block := strings.TrimSuffix(all.block(strings.Repeat(" ", indent)), "\n")
	out := append(append(append([]string{}, lines[:end]...), strings.Split(block, "\n")...), lines[end:]...)
	return strings.Join(out, "\n"), nil
}

func (all entriesOf) block(indent string) string {
	var b strings.Builder
	for _, e := range all {
		b.WriteString(e.block(indent))
	}
	return b.String()
}

// block writes an entry in a block of its own lines.
func (e Entry) block(indent string) string {
	var b strings.Builder
	for _, c := range e.Comment {
		b.WriteString(indent + "# " + c + "\n")
	}
	dash := ""
	if e.List {
		dash = "- "
	}
	b.WriteString(indent + dash + wrapped(e.Text, indent+"    ") + "\n")
	return b.String()
}

// wrapped breaks a flow into lines that people can read, never within quotes.
func wrapped(text, indent string) string {
	const width = 110
	var b strings.Builder
	column, from, quoted := len(indent), 0, false
	write := func(to int) {
		if from > 0 && column+to-from > width {
			b.WriteString("\n" + indent)
			column = len(indent)
		}
		b.WriteString(text[from:to])
		column, from = column+to-from, to
	}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"' && text[i-1] != '\\':
			quoted = !quoted
		case text[i] == ' ' && text[i-1] == ',' && !quoted:
			write(i + 1)
		}
	}
	write(len(text))
	return strings.ReplaceAll(b.String(), " \n", "\n")
}

// inFlow puts an entry before the bracket that closes the flow which is opened
// at a line and column.
func (r *reader) inFlow(line, col int, more bool, all entriesOf) (string, error) {
	depth := 0
	var quote rune
	lastLine, lastCol := line, col // the last character that is neither space nor comment
	for i := line; i < len(r.lines); i++ {
		row := []rune(r.lines[i])
		j := 0
		if i == line {
			j = col
		}
		for ; j < len(row); j++ {
			c := row[j]
			switch {
			case quote != 0:
				if c == '\\' && quote == '"' {
					j++
				} else if c == quote {
					quote = 0
				}
			case c == '#' && (j == 0 || row[j-1] == ' '):
				j = len(row)
				continue
			case (c == '"' || c == '\'') && (j == 0 || strings.ContainsRune(" ,[{:", row[j-1])):
				quote = c
			case c == '[' || c == '{':
				depth++
			case c == ']' || c == '}':
				if depth--; depth == 0 {
					return r.put(line, lastLine, lastCol, more, all), nil
				}
			}
			if c != ' ' {
				lastLine, lastCol = i, min(j, len(row)-1)
			}
		}
	}
	return "", fmt.Errorf("line %d: a bracket is not closed", line+1)
}

// put writes entries behind a character.
func (r *reader) put(opened, line, col int, more bool, all entriesOf) string {
	row := []rune(r.lines[line])
	margin := strings.Repeat(" ", len(r.lines[opened])-len(strings.TrimLeft(r.lines[opened], " "))+4)
	before, after := string(row[:col+1]), string(row[col+1:])
	if more {
		if row[col] != ',' {
			before += ","
		}
		before += "\n" + margin
	}
	out := append([]string{}, r.lines[:line]...)
	var texts []string
	for _, e := range all {
		texts = append(texts, wrapped(e.Text, margin+"  "))
	}
	out = append(out, before+strings.Join(texts, ",\n"+margin)+after)
	return strings.Join(append(out, r.lines[line+1:]...), "\n")
}

// Fragment writes entries by themselves, as Insert would put them into a plan
// that has none of their lists and maps.
func Fragment(entries []Entry) string {
	var b strings.Builder
	var open []string
	done := make([]bool, len(entries))
	for i, e := range entries {
		if done[i] {
			continue
		}
		same := 0
		for same < len(open) && same < len(e.Path) && open[same] == e.Path[same] {
			same++
		}
		for d := same; d < len(e.Path); d++ {
			b.WriteString(strings.Repeat("  ", d) + e.Path[d] + ":\n")
		}
		open = e.Path
		for j := i; j < len(entries); j++ {
			if !done[j] && strings.Join(entries[j].Path, "\n") == strings.Join(e.Path, "\n") {
				done[j] = true
				b.WriteString(entries[j].block(strings.Repeat("  ", len(e.Path))))
			}
		}
	}
	return b.String()
}
