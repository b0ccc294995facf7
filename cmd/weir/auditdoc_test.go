package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/cmd/weir/internal/report"
	"weir/phases/audit"
)

// checker is the shell script that docs/audit.md consists of, so that the page
// says what is run.
func checker() (string, error) {
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for i, block := range strings.Split(string(page), "```sh\n") {
		if i > 0 {
			code, _, _ := strings.Cut(block, "```")
			out.WriteString(code)
		}
	}
	return out.String(), nil
}

// cmdChecker writes the script of docs/audit.md to a file.
func cmdChecker(ts *testscript.TestScript, neg bool, args []string) {
	text, err := checker()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// runChecker runs the script over a report in a folder of its own.
func runChecker(ts *testscript.TestScript, text []byte) (string, error) {
	dir, err := os.MkdirTemp(ts.Getenv("WORK"), "check")
	ts.Check(err)
	defer os.RemoveAll(dir)
	ts.Check(os.WriteFile(dir+"/report", text, 0o600))
	ts.Check(os.Mkdir(dir+"/in", 0o700))
	c := exec.Command("sh", ts.MkAbs("check"), "../report", ts.MkAbs("key"))
	c.Dir = dir + "/in"
	out, err := c.CombinedOutput()
	return string(out), err
}

// cmdTampered changes bytes all over a report, one at a time, and each line
// between its parts: the check must not come to its end.
func cmdTampered(ts *testscript.TestScript, neg bool, args []string) {
	text, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	var where []int
	for n := range 60 {
		where = append(where, n*len(text)/60+rand.Intn(len(text)/60))
	}
	for _, m := range regexp.MustCompile(`(?m)^@@ .*\n`).FindAllIndex(text, -1) {
		where = append(where, m[0], m[1]-2, m[1]-1)
	}
	tail := bytes.Index(text, []byte("@@ signature"))
	for n := range 20 {
		where = append(where, tail+n*(len(text)-tail)/20)
	}
	for i := tail; i < len(text); i++ { // ssh-keygen overlooks other blanks, and bits that the last letter does not need
		if text[i] == '\n' {
			where = append(where, i-1, i)
		}
	}
	for _, i := range where {
		for _, bit := range []byte{1, 0x20} {
			bad := bytes.Clone(text)
			bad[i] ^= bit
			if out, err := runChecker(ts, bad); err == nil || strings.Contains(out, "\nPROVEN") {
				ts.Fatalf("byte %d, %q, became %q and the report was found good: …%s", i, text[i], bad[i], text[max(0, i-40):min(i+20, len(text))])
			}
		}
	}
	for name, bad := range map[string][]byte{"cut off": text[:len(text)-1], "longer": append(bytes.Clone(text), '\n'), "empty": {}, "doubled": append(bytes.Clone(text), text...)} {
		if out, err := runChecker(ts, bad); err == nil {
			ts.Fatalf("a report that is %s was found good: %s", name, out)
		}
	}
}

// cmdForged makes a report as root could who has the machine's key: something is
// changed, and checkpoints and manifest are signed anew.
func cmdForged(ts *testscript.TestScript, neg bool, args []string) {
	text, err := os.ReadFile(ts.MkAbs("report"))
	ts.Check(err)
	file, err := os.ReadFile(ts.MkAbs("state/audit.key"))
	ts.Check(err)
	key, err := audit.ParseKey(file)
	ts.Check(err)
	parts := split(ts, text)
	lines := strings.SplitAfter(parts.get("log"), "\n")
	edit := func(n int, old, new string) {
		if !regexp.MustCompile(old).MatchString(lines[n-1]) {
			ts.Fatalf("record %d has no %s: %s", n, old, lines[n-1])
		}
		lines[n-1] = regexp.MustCompile(old).ReplaceAllString(lines[n-1], new)
	}
	step := func(f func(lines []string)) {
		for i := range parts {
			if strings.HasPrefix(parts[i].Name, "step-") {
				l := strings.SplitAfter(string(parts[i].Text), "\n")
				f(l)
				parts[i].Text = []byte(strings.Join(l, ""))
			}
		}
	}
	switch args[0] {
	case "drop":
		lines = append(lines[:1:1], lines[2:]...)
	case "signature":
		edit(5, `"signature":"[^"]*"`, `"signature":"AAAA"`)
	case "statement":
		said := regexp.MustCompile(`"statement":"([^"]*)"`).FindStringSubmatch(lines[4])[1]
		plain, err := base64.StdEncoding.DecodeString(said)
		ts.Check(err)
		edit(5, regexp.QuoteMeta(said), base64.StdEncoding.EncodeToString(bytes.Replace(plain, []byte("open"), []byte("drop"), 1)))
	case "trust":
		edit(1, `"trustText":"[^"]*"`, `"trustText":"AAAA"`)
	case "twice":
		lines = append(lines[:6:6], lines[5:]...)
	case "step":
		step(func(l []string) { l[2] = strings.Replace(l[2], "accept", "return", 1) })
	case "head":
		step(func(l []string) { l[0] = strings.Replace(l[0], `"version":1`, `"version":2`, 1) })
	case "held":
		for i := range lines {
			lines[i] = regexp.MustCompile(`"held":"sha256:...`).ReplaceAllString(lines[i], `"held":"sha256:000`)
		}
	}
	parts.set("log", strings.Join(lines, ""))
	var tree audit.Tree
	for _, l := range lines[:len(lines)-1] {
		tree.Append([]byte(strings.TrimSuffix(l, "\n")))
	}
	var points []string
	for l := range strings.Lines(parts.get("checkpoints")) {
		c, err := audit.ParseLine(strings.TrimSuffix(l, "\n"))
		ts.Check(err)
		if c.Root, err = tree.RootAt(c.Size); err != nil {
			continue
		}
		s, err := audit.Sign(c.Checkpoint, key)
		ts.Check(err)
		points = append(points, s.Line())
	}
	parts.set("checkpoints", string(report.Lines(points)))
	for i, p := range parts {
		parts[i] = report.NewPart(p.Name, p.Text)
	}
	sig, err := audit.SignText(report.Version, report.Manifest(parts), key)
	ts.Check(err)
	var out bytes.Buffer
	ts.Check(report.Write(&out, parts, sig))
	said, err := runChecker(ts, out.Bytes())
	if err == nil || !regexp.MustCompile(args[1]).MatchString(said) {
		ts.Fatalf("forged %s: want %q, got %v:\n%s", args[0], args[1], err, said)
	}
}

type reportParts []report.Part

func (ps reportParts) get(name string) string {
	for _, p := range ps {
		if p.Name == name {
			return string(p.Text)
		}
	}
	return ""
}

func (ps reportParts) set(name, text string) {
	for i := range ps {
		if ps[i].Name == name {
			ps[i].Text = []byte(text)
		}
	}
}

// split takes a report apart, without manifest and signature.
func split(ts *testscript.TestScript, text []byte) reportParts {
	var out reportParts
	for len(text) > 0 {
		head, rest, _ := bytes.Cut(text, []byte("\n"))
		f := strings.Fields(string(head))
		n, err := strconv.Atoi(f[2])
		ts.Check(err)
		var body []byte
		for range n {
			line, more, _ := bytes.Cut(rest, []byte("\n"))
			body, rest = append(append(body, line...), '\n'), more
		}
		if text = rest; f[1] != "manifest" && f[1] != "signature" {
			out = append(out, report.NewPart(f[1], body))
		}
	}
	if len(out) < 5 {
		ts.Fatalf("the report has %d parts", len(out))
	}
	return out
}

func TestCheckerIsWhole(t *testing.T) {
	text, err := checker()
	if err != nil || strings.Count(text, "\n") < 60 || !strings.HasPrefix(text, "set -eu") {
		t.Fatal(fmt.Errorf("docs/audit.md has no script any more: %w\n%s", err, text))
	}
}
