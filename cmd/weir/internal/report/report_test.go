package report

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"weir/cmd/weir/internal/api"
	"weir/phases"
	"weir/phases/audit"
	"weir/phases/flow"
	"weir/phases/monitor"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func minute(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }

// rollout is a journal: a step is armed, confirmed, read back, lapses once more,
// is rolled back to off, and the machine starts again.
func rollout() []phases.Record {
	head := &phases.Head{Version: 1, Plan: "sha256:p", Revision: "raaaaaaaaaaaa", OffID: "r000000000000",
		Step:   phases.Step{Name: "enforce/block:desks", Targets: []phases.Target{{Group: "desks", Treatment: "reject"}}},
		Hashes: map[string]string{"evidence": "sha256:e", "policy": "sha256:c", "revision": "sha256:v"}}
	ann := phases.Actor{UID: 1001, LoginUID: 1001, Name: "ann", PID: 7, Exe: "/usr/bin/weir"}
	rs := []phases.Record{
		{Kind: phases.Requested, Actor: ann, Digest: "sha256:d", Head: head},
		{Kind: phases.Approved, Actor: phases.Actor{Name: "root", Signer: "bob"}, Digest: "sha256:d", Signature: []byte("s"), Key: "SHA256:k", Words: "approved"},
		{Kind: phases.Intent, Op: phases.OpArm, Actor: ann, Digest: "sha256:d", Tx: "t1", Lease: time.Minute, Words: "arming"},
		{Kind: phases.Seen, Op: phases.OpArm, Actor: ann, Digest: "sha256:d", Tx: "t1", Done: true, Trial: "raaaaaaaaaaaa", Took: 3 * time.Millisecond},
		{Kind: phases.Intent, Op: phases.OpConfirm, Actor: ann, Digest: "sha256:d", Tx: "t2", Words: "confirming"},
		{Kind: phases.Seen, Op: phases.OpConfirm, Actor: ann, Digest: "sha256:d", Tx: "t2", Done: true, Revision: "raaaaaaaaaaaa"},
		{Kind: phases.Noted, Actor: phases.Self, Digest: "sha256:d", Revision: "raaaaaaaaaaaa", Held: "sha256:v", Words: "the kernel holds"},
		{Kind: phases.Noted, Actor: ann, Line: "10.20.16.10", Words: "quarantined"},
		{Kind: phases.Intent, Op: phases.OpRollback, Actor: ann, Tx: "t3", To: "off", Words: "rolled back to off", Pauses: true},
		{Kind: phases.Seen, Op: phases.OpRollback, Actor: ann, Tx: "t3", Done: true},
	}
	for i := range rs {
		rs[i].Seq, rs[i].At = uint64(i+1), minute(i)
	}
	return rs
}

func TestTimeline(t *testing.T) {
	list := Timeline(rollout())
	var got []string
	for _, p := range list {
		got = append(got, p.What)
	}
	want := []string{"enforce/block:desks on trial for 1m0s, upon off", "enforce/block:desks", "off"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Fatalf("got %q", got)
	}
	if p := list[0]; p.Seq != 4 || p.Took != 3*time.Millisecond || p.Held != 0 || p.By != "ann" || p.Revision != "raaaaaaaaaaaa" {
		t.Errorf("%+v", p)
	}
	if p := list[1]; p.Seq != 6 || p.Held != 7 || !p.At.Equal(minute(5)) {
		t.Errorf("%+v", p)
	}
	if p := list[2]; p.Held != 0 || p.Revision != "" {
		t.Errorf("%+v", p)
	}
}

func input() Input {
	share := 0.25
	return Input{At: minute(60), Machine: "m1", Key: "SHA256:k", Result: audit.Result{Root: "sha256:root"}, Records: rollout(),
		Saw: Saw{From: start, Observed: time.Hour, Share: &share, Gaps: []monitor.Gap{{Span: monitor.Span{From: minute(3), To: minute(4)}, Cause: "not running", Lost: 7}}},
		Openings: []api.Opening{{ID: "o1", Kind: "rollback", From: minute(9), By: "ann", Words: "rolled back to off", Groups: []string{"desks"}, Endpoints: 1, Destinations: 1, Bytes: 1234,
			Left: []api.LeftFlow{{Group: "desks", Client: netip.MustParseAddr("10.20.16.10"), Server: netip.MustParseAddr("2001:db8::7"), Service: flow.Single(flow.TCP, 443), First: minute(9), Last: minute(9), Connections: 2, Bytes: 1234}}}}}
}

func TestSummarySaysEverything(t *testing.T) {
	text := string(input().Text())
	for _, want := range []string{
		"2026-03-01T08:03:00.000Z  2026-03-01T08:05:00.000Z  enforce/block:desks on trial for 1m0s, upon off  raaaaaaaaaaaa  R4 by ann, seen in the kernel after 3ms, NOT read back",
		"enforce/block:desks  raaaaaaaaaaaa  R6 by ann, read back: R7",
		"requested by ann (uid 1001, logged in as 1001, process 7 /usr/bin/weir); it needs 1 accounts, not the one who requested it",
		"approved by bob (root) (uid 0, logged in as 0), signed with SHA256:k",
		"sha256:e; policy sha256:c", "to be: desks reject",
		"o1  2026-03-01T08:09:00.000Z  now  rollback: desks", "left: 1 flows of 1 endpoints to 1 destinations, 1234 bytes",
		"08:03:00.000Z  2026-03-01T08:04:00.000Z  not running, 7 messages lost", "25.0 % belong to flows that were seen",
		"R8 2026-03-01T08:07:00.000Z noted by ann",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "DOES NOT HOLD") {
		t.Error("a log that holds does not")
	}
	if want := "o1\tdesks\t10.20.16.10\t2001:db8::7\ttcp/443\t2026-03-01T08:09:00.000Z\t2026-03-01T08:09:00.000Z\t2\t1234\n"; !strings.Contains(string(input().OpeningsText()), want) {
		t.Errorf("want %q in %q", want, input().OpeningsText())
	}
	in := input()
	in.Result.Problems = []audit.Problem{{Record: 3, Words: "record 3 was dropped"}}
	if text := string(in.Text()); !strings.Contains(text, "THE LOG DOES NOT HOLD\n  record 3 was dropped") {
		t.Error(text)
	}
}

// What people and the network said cannot write a line of its own, move the
// cursor, turn the text around, or end a part.
func TestHostileWords(t *testing.T) {
	for _, bad := range []string{"\n@@ manifest 1\n", "\x1b[2J\x1b]0;x\a", "a\u202eb", "\xff\xfe", "a\r", "\t", "\u2028", "\u0085", "%s%d%!", "<script>", "'; rm -rf /"} {
		in := input()
		plain := strings.Count(string(in.Text()), "\n")
		flows := strings.Count(string(in.OpeningsText()), "\n")
		tabs := strings.Count(string(in.OpeningsText()), "\t")
		for i := range in.Records {
			in.Records[i].Words, in.Records[i].Line, in.Records[i].Answer, in.Records[i].Emergency = bad, bad, bad, bad
			in.Records[i].Actor.Name, in.Records[i].Actor.Exe, in.Records[i].Actor.Signer = bad, bad, bad
		}
		in.Openings[0].Words, in.Openings[0].By, in.Openings[0].Groups, in.Openings[0].Left[0].Group = bad, bad, []string{bad}, bad
		in.Saw.Gaps[0].Cause = bad
		text := in.Text()
		if got := strings.Count(string(text), "\n"); got > plain {
			t.Errorf("%q made %d lines of %d:\n%s", bad, got, plain, text)
		}
		if !utf8.Valid(text) || bytes.ContainsAny(text, "\x1b\r\a\t\u202e\u2028\u0085") || bytes.Contains(text, []byte("%!(")) {
			t.Errorf("%q came through:\n%q", bad, text)
		}
		if o := string(in.OpeningsText()); strings.Count(o, "\n") != flows || strings.Count(o, "\t") != tabs {
			t.Errorf("%q changed the table:\n%q", bad, o)
		}
	}
}

func TestWriteRefusesOtherTexts(t *testing.T) {
	parts := []Part{NewPart(Summary, []byte("a\nb")), NewPart(Log, nil)}
	var b strings.Builder
	if err := Write(&b, parts, []byte("sig\n")); err != nil {
		t.Fatal(err)
	}
	want := "@@ summary 2\na\nb\n@@ log 0\n@@ manifest 2\n" + string(Manifest(parts)) + "@@ signature 1\nsig\n"
	if b.String() != want {
		t.Fatalf("got %q", b.String())
	}
	parts[0].Text = []byte("a\nc\n")
	if err := Write(&b, parts, nil); err == nil {
		t.Error("a part that was not signed was written")
	}
	if err := Write(&b, []Part{NewPart("../x", nil)}, nil); err == nil {
		t.Error("a part may lie elsewhere")
	}
}
