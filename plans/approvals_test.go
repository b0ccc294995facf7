package plans

import (
	"path"
	"strings"
	"testing"
	"time"

	"weir/phases/flow"

	"pgregory.net/rapid"
)

func TestApprovalFor(t *testing.T) {
	p := parseText(t, string(Example()))
	for step, quorum := range map[string]int{"enforce/block:cameras": 2, "enforce/alert": 1, "monitor": 1, "refactor/swap:desks": 1} {
		if got := p.ApprovalFor(step); got.Quorum != quorum || got.SelfApproval != (quorum == 1) {
			t.Errorf("%s: %+v", step, got)
		}
	}
	p.Approvals = p.Approvals[:1]
	if got := p.ApprovalFor("watch"); got.Quorum != 1 || !got.SelfApproval || got.ExpireAfter != 24*time.Hour {
		t.Errorf("a step that nothing matches: %+v", got)
	}
}

// TestGlob compares with path.Match, for which a separator is not matched by *,
// on text without separators.
func TestGlob(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab:")), 0, 8, -1)
	pattern := rapid.StringOfN(rapid.RuneFrom([]rune("ab:*")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		p, s := pattern.Draw(t, "pattern"), text.Draw(t, "text")
		want, err := path.Match(p, s)
		if err != nil {
			t.Fatal(err)
		}
		if Glob(p, s) != want {
			t.Fatalf("Glob(%q, %q) = %t", p, s, !want)
		}
	})
	if !Glob("*", "enforce/block:desks") || !Glob("enforce/*:desks", "enforce/block:desks") {
		t.Error("* must match / and :")
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{"0s": 0, "72h": 72 * time.Hour, "90d": 90 * 24 * time.Hour, "1h30m": 90 * time.Minute,
		"2w": 14 * 24 * time.Hour, "1w2d3h4m5s": (9*24+3)*time.Hour + 4*time.Minute + 5*time.Second, "120s": 2 * time.Minute} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "1", "h", "1h1d", "1h1h", "-1h", "+1h", "1.5h", "1ms", "1 h", "1H", "1mo", "9999999999d", "99999999999999999999s", "11w999w", "٣h"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v", s, got)
		} else if !strings.HasPrefix(err.Error(), "cannot read duration") {
			t.Errorf("ParseDuration(%q): %v", s, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(longestDuration/time.Second)).Draw(t, "s")) * time.Second
		if got, err := ParseDuration(FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%s → %v, %v", FormatDuration(d), got, err)
		}
	})
}

func TestServiceName(t *testing.T) {
	p := parseText(t, strings.Replace(short, "groups:", "services: {web: [tcp/80, tcp/443], tls: [tcp/443], high: [tcp/8000-8100]}\ngroups:", 1))
	for s, want := range map[string]string{"tcp/443": "tls", "tcp/80": "web", "tcp/8000-8100": "high", "tcp/8000": "", "udp/443": ""} {
		v, err := flow.ParseService(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.ServiceName(v); got != want {
			t.Errorf("ServiceName(%s) = %q, want %q", s, got, want)
		}
	}
}
