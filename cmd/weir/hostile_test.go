package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/cmd/weir/internal/daemon"
	"weir/cmd/weir/internal/exit"
	"weir/phases/flow/hostile"
)

// Whatever prints is given everything hostile: nothing of it is obeyed, and one
// string stays on one line.
func TestHostilePrinters(t *testing.T) {
	for _, s := range hostile.Strings {
		var out, errs bytes.Buffer
		e := &env{out: &out, err: &errs, now: time.Now}
		for name, text := range map[string]string{
			"a line": safe(s),
			"a table": func() string {
				t := newTable(&out, "A", "B")
				t.row(s, s)
				t.flush()
				defer out.Reset()
				return strings.TrimSuffix(strings.TrimPrefix(out.String(), strings.SplitAfter(out.String(), "\n")[0]), "\n")
			}(),
			"a log": func() string {
				slog.New(slog.NewTextHandler(daemon.PlainLog(&errs), nil)).Warn(s, "reason", s, "error", errors.New(s))
				defer errs.Reset()
				return strings.TrimSuffix(errs.String(), "\n")
			}(),
		} {
			if got := hostile.Leaks(text); got != nil || strings.ContainsAny(text, "\n\t") {
				t.Errorf("%s of %q leaks %v: %q", name, s, got, text)
			}
		}
		e.report(t.Context(), exit.Errorf(exit.Failed, "cannot: %s", s).WithHint("%s", s))
		for line := range strings.Lines(errs.String()) {
			if hostile.Leaks(line) != nil {
				t.Errorf("an error with %q leaks %v", s, hostile.Leaks(line))
			}
		}
		if err := e.json("X", map[string]string{"a": s}); err != nil {
			t.Fatal(err)
		}
		if got := hostile.Leaks(out.String()); got != nil {
			t.Errorf("JSON of %q leaks %v", s, got)
		}
		var back struct{ Data map[string]string }
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Data["a"] != strings.Map(func(r rune) rune { return r }, s) {
			t.Errorf("JSON of %q is read back as %q, %v", s, back.Data["a"], err)
		}
	}
}

// hostile COMMAND …: run it in the gateway once for each hostile string in place
// of {}; neither of its streams may leak. What it comes to is its own affair.
func cmdHostile(ts *testscript.TestScript, neg bool, args []string) {
	for i, s := range hostile.Strings {
		if strings.Contains(s, "\x00") { // no argument can hold it
			continue
		}
		if hostile.Leaks(s) == nil && i%8 != 0 { // the streams are what matters here
			continue
		}
		var with []string
		for _, a := range args {
			with = append(with, strings.ReplaceAll(a, "{}", s))
		}
		if err := quietGW(ts, with); err != nil && stageOf(ts).errs == "" {
			ts.Fatalf("%q: %v without a word", with, err)
		}
		leaksNothing(ts, with)
	}
}

// harmless COMMAND …: run it in the gateway; neither of its streams leaks.
func cmdHarmless(ts *testscript.TestScript, neg bool, args []string) {
	cmdGW(ts, neg, args)
	leaksNothing(ts, args)
}

func leaksNothing(ts *testscript.TestScript, args []string) {
	s := stageOf(ts)
	if got := hostile.Leaks(s.out + s.errs); got != nil {
		ts.Fatalf("%q leaks %v: %q %q", args, got, s.out, s.errs)
	}
}
