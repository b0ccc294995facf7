package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestStories: what went wrong elsewhere is told in docs/reliability.md, each
// with a test that is there and bears its number, or with what it waits for.
func TestStories(t *testing.T) {
	text, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n## What went wrong elsewhere\n")
	if !found {
		t.Fatal("docs/reliability.md does not tell them")
	}
	there := tests(t)
	row := regexp.MustCompile(`(?m)^\| (\d+) \|.*\| ([^|]*) \| *([^|]*)\|$`)
	next := 1
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil || n != next {
			t.Fatalf("row %s follows row %d", m[1], next-1)
		}
		next++
		names := regexp.MustCompile("`[^`]+`").FindAllString(m[3], -1)
		if len(names) == 0 && !strings.HasPrefix(m[2], "waits for ") {
			t.Errorf("row %d has no test and waits for nothing", n)
		}
		numbered := len(names) == 0
		for _, name := range names {
			name = strings.Trim(name, "`")
			text, ok := there[name]
			if !ok {
				t.Errorf("row %d: there is no test %s", n, name)
			}
			numbered = numbered || regexp.MustCompile(fmt.Sprintf(`^(TestStory|story)%02d`, n)).MatchString(name) ||
				regexp.MustCompile(fmt.Sprintf(`stor(y|ies)( \d+,| \d+ and)* %d\b`, n)).MatchString(text)
		}
		if !numbered {
			t.Errorf("row %d: no test bears its number", n)
		}
	}
	if next != 34 {
		t.Errorf("%d rows, want 33", next-1)
	}
}

// tests lists every test function and every script, with the text of its file.
func tests(t *testing.T) map[string]string {
	out := map[string]string{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(path, ".txtar"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			out[strings.TrimSuffix(filepath.Base(path), ".txtar")] += string(text)
		case strings.HasSuffix(path, "_test.go"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range function.FindAllStringSubmatch(string(text), -1) {
				out[m[1]] = string(text)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
