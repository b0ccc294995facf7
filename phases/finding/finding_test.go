package finding

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A fingerprint is on disk and in people's tickets: it may never change.
func TestFingerprintIsStable(t *testing.T) {
	for _, c := range []struct {
		parts []string
		want  string
	}{
		{[]string{"flow", "servers", "tcp/443", "198.51.100.7"}, "10fac88997d1"},
		{[]string{"flow", "servers", "tcp/443", ""}, "b19a22ceaeb4"},
	} {
		if got := Fingerprint(c.parts...); got != c.want {
			t.Errorf("Fingerprint(%q) = %s, want %s", c.parts, got, c.want)
		}
	}
}

func TestFingerprintPartsDoNotRunTogether(t *testing.T) {
	if Fingerprint("ab", "c") == Fingerprint("a", "bc") {
		t.Error(`("ab", "c") and ("a", "bc") have one fingerprint`)
	}
	if Fingerprint("a", "") == Fingerprint("a") {
		t.Error("an empty part does not count")
	}
}

func TestMerge(t *testing.T) {
	at := func(h int) time.Time { return time.Date(2026, 11, 1, h, 0, 0, 0, time.UTC) }
	a := Finding{Fingerprint: "x", Kind: WouldDeny, Severity: Notice, State: Answered, Answer: Needed, Who: "kim", First: at(3), Last: at(4), Count: 2, Words: "old"}
	b := Finding{Fingerprint: "x", Kind: WouldDeny, Severity: Warning, State: New, First: at(1), Last: at(9), Count: 5, Words: "new"}
	for _, got := range []Finding{Merge(a, b), Merge(b, a)} {
		want := Finding{Fingerprint: "x", Kind: WouldDeny, Severity: Warning, State: Answered, Answer: Needed, Who: "kim", First: at(1), Last: at(9), Count: 7, Words: "new"}
		if got != want {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	}
}

func TestJSONBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Finding{
			Fingerprint: Fingerprint(rapid.String().Draw(t, "part")),
			Kind:        rapid.SampledFrom(kinds).Draw(t, "kind"),
			Severity:    rapid.SampledFrom([]Severity{Info, Notice, Warning, Critical}).Draw(t, "severity"),
			State:       rapid.SampledFrom([]State{New, Acknowledged, Answered, Closed}).Draw(t, "state"),
			Answer:      rapid.SampledFrom([]Verdict{Unanswered, Needed, NotNeeded, Never}).Draw(t, "answer"),
			First:       time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "first"), 0).UTC(),
			Last:        time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "last"), 0).UTC(),
			Count:       rapid.Uint64().Draw(t, "count"),
		}
		if err := f.Check(); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var back Finding
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if back != f {
			t.Fatalf("%s came back as %+v", b, back)
		}
	})
}

func TestCheckRefusesUnknownText(t *testing.T) {
	good := Finding{Fingerprint: "x", Kind: Rare, Severity: Info, State: New}
	for name, bad := range map[string]func(*Finding){
		"kind":        func(f *Finding) { f.Kind = "odd" },
		"severity":    func(f *Finding) { f.Severity = "" },
		"state":       func(f *Finding) { f.State = "" },
		"answer":      func(f *Finding) { f.Answer = "maybe" },
		"fingerprint": func(f *Finding) { f.Fingerprint = "" },
	} {
		f := good
		bad(&f)
		if f.Check() == nil {
			t.Errorf("%s: %+v passes", name, f)
		}
	}
}
