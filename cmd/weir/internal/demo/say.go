package demo

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// teller prints the story. Colours only stress what the words say already.
type teller struct {
	out    io.Writer
	colour bool
	width  int // columns; longer lines of an answer end in "…"
}

const (
	bold  = "1"
	dim   = "2"
	green = "32"
	cyan  = "36"
)

func (t *teller) paint(code, s string) string {
	if !t.colour || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *teller) line(s string) { fmt.Fprintln(t.out, s) }

// scene begins a scene.
func (t *teller) scene(n int, title, words string) {
	fmt.Fprintf(t.out, "\n%s  %s\n\n", t.paint(bold, fmt.Sprintf("%2d  %s", n, title)), t.paint(dim, words))
}

// note says what to see.
func (t *teller) note(format string, args ...any) {
	t.line("    " + fmt.Sprintf(format, args...))
}

// typed prints a command line as a user types it.
func (t *teller) typed(args []string) {
	t.line("    " + t.paint(cyan, "$ "+quoteAll(args)))
}

// answer prints lines of a command's answer.
func (t *teller) answer(lines []string) {
	for _, l := range lines {
		l = strings.TrimRight(l, " ")
		if room := max(t.width, 60) - 6; utf8.RuneCountInString(l) > room {
			l = string([]rune(l)[:room-1]) + "…"
		}
		t.line("      " + t.paint(dim, l))
	}
}

// packet prints what became of packets: the words after the mark are those of
// "weir demo probe".
func (t *teller) packet(k talk, verdict string) {
	code := green
	if verdict != passes {
		code = bold
	}
	t.line(fmt.Sprintf("    %s %-8s  %-8s  %-32s  %s", t.paint(green, "✓"), k.from, k.service, strings.Join(k.to.all(), " "), t.paint(code, verdict)))
}

// What becomes of packets.
const (
	passes = "passes"
	denied = "denied"
)

var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// quoteAll writes a command line for a shell.
func quoteAll(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		if out[i] = a; a != "&" && a != "$!" {
			out[i] = quote(a)
		}
	}
	return strings.Join(out, " ")
}

func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// pick chooses what of an answer is shown.
type pick func(lines []string) []string

func everything(l []string) []string { return l }
func first(n int) pick               { return func(l []string) []string { return l[:min(n, len(l))] } }
func matching(expressions string) pick {
	re := regexp.MustCompile(expressions)
	return func(l []string) []string {
		var out []string
		for _, x := range l {
			if re.MatchString(x) {
				out = append(out, x)
			}
		}
		return out
	}
}

// before leaves out the columns of a table from the named one on.
func before(column string, p pick) pick {
	return func(l []string) []string {
		l = slices.Clone(p(l))
		if len(l) == 0 {
			return l
		}
		at := strings.Index(l[0], column)
		for i, x := range l {
			if r := []rune(x); at > 0 && len(r) > at {
				l[i] = string(r[:at])
			}
		}
		return l
	}
}
