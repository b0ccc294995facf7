package monitor

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/phases/flow"
)

func encode(t interface{ Fatal(...any) }, e *Evidence) string {
	var b bytes.Buffer
	if err := e.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// records draws records of a few endpoints, connections and readers. Totals of
// a connection grow with time, as the kernel's do.
func records(t *rapid.T) []flow.Record {
	services := []string{"tcp/443", "udp/514", "esp", "icmp/8"}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) flow.Record {
		pick := func(name string, n int) int { return rapid.IntRange(0, n-1).Draw(t, name) }
		id := pick("id", 4)
		f := fl([]string{"10.20.16.5", "10.20.1.5", "fd20:0:0:16::5"}[id%3], "198.51.100.7", services[pick("service", 4)])
		if f.Client.Is6() {
			f = fl(f.Client.String(), "2001:db8::7", strings.Replace(f.Service().String(), "icmp/8", "icmpv6/128", 1))
		}
		r := flow.Record{Flow: f, First: t0.Add(time.Duration(id) * time.Hour), Source: "kernel"}
		step := pick("step", 50)
		r.Last = r.First.Add(time.Duration(step) * time.Hour)
		switch pick("reader", 4) {
		case 0:
			r.Verdict, r.New, r.MAC, r.In, r.First = flow.Seen, true, "02:00:00:00:00:0"+string("1234"[id]), "lan0", r.Last
		case 1:
			r.ID, r.SrcPort, r.BytesOut, r.BytesIn = uint32(id)+1, 1000, uint64(step)*10, uint64(step)*100
			r.Answered = step > 3
		case 2:
			r.Source, r.New, r.BytesOut, r.Answered = "netflow", true, 77, true
		case 3:
			r.Verdict, r.Group, r.Step = []flow.Verdict{flow.WouldDeny, flow.Widens, flow.Narrows}[step%3], "servers", "r0123456789ab"
		}
		return r
	}), 0, 40).Draw(t, "records")
}

func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := records(t)
		a, b := New(nil), New(nil)
		for _, e := range []*Evidence{a, b} {
			e.Observed(t0, t0.Add(time.Hour)) // older connections have a base: the first of their records
			e.Open(Opening{ID: "one", Kind: "lapse", From: t0.Add(2 * time.Hour), To: t0.Add(9 * time.Hour)})
		}
		for _, r := range rs {
			a.Add(r)
		}
		for _, i := range rapid.Permutation(indices(len(rs))).Draw(t, "order") {
			b.Add(rs[i])
		}
		if x, y := encode(t, a), encode(t, b); x != y {
			t.Fatalf("one order\n%s\nanother\n%s", x, y)
		}
	})
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// Taking the changes at any moments, writing, reading and merging them gives
// the same evidence as adding all at once.
func TestDeltasSumUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := records(t)
		whole, live, sum := New(nil), New(nil), bare(nil)
		for _, e := range []*Evidence{whole, live} {
			e.Observed(t0, t0.Add(time.Hour))
			e.AddSent("wan0", Sent{1000, 3})
			e.AddGap(Gap{Span{t0, t0.Add(time.Minute)}, "overrun", 3})
		}
		for _, r := range rs {
			whole.Add(r)
			live.Add(r)
			if rapid.IntRange(0, 3).Draw(t, "take") == 0 {
				sum.Merge(reread(t, live.Take()))
			}
		}
		sum.Merge(reread(t, live.Take()))
		if x, y := encode(t, whole), encode(t, sum); x != y {
			t.Fatalf("whole\n%s\nin pieces\n%s", x, y)
		}
		if !live.Take().Empty() {
			t.Fatal("something was left to take")
		}
	})
}

func reread(t interface{ Fatal(...any) }, e *Evidence) *Evidence {
	text := encode(t, e)
	back, err := Decode(strings.NewReader(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if again := encode(t, back); again != text {
		t.Fatal("wrote\n" + text + "\nread\n" + again)
	}
	return back
}

func TestDecodeRefuses(t *testing.T) {
	const head = `{"format":"weir-evidence","version":1,"timezone":"UTC"}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"nothing":         {"", "empty"},
		"something else":  {"hello\n", "no evidence of weir"},
		"newer":           {`{"format":"weir-evidence","version":2,"new":1}` + "\n", "newer weir"},
		"unknown field":   {head + `{"flow":{"client":"10.0.0.1","server":"10.0.0.2","service":"tcp/1","odd":1}}`, "line 2"},
		"unknown kind":    {head + `{"odd":{}}`, "line 2"},
		"two kinds":       {head + `{"sent":{"iface":"a","bytes":1,"packets":1},"seen":[1,2]}`, "exactly one"},
		"no server":       {head + `{"flow":{"client":"10.0.0.1","service":"tcp/1"}}`, "missing"},
		"range":           {head + `{"flow":{"client":"10.0.0.1","server":"10.0.0.2","service":"tcp/1-2"}}`, "more than one port"},
		"mapped":          {head + `{"flow":{"client":"::ffff:10.0.0.1","server":"10.0.0.2","service":"tcp/1"}}`, "plain form"},
		"bad day":         {head + `{"flow":{"client":"10.0.0.1","server":"10.0.0.2","service":"tcp/1","days":["9999-01-01"]}}`, "cannot read day"},
		"unknown verdict": {head + `{"verdict":{"client":"10.0.0.1","server":"10.0.0.2","service":"tcp/1","verdict":"odd","group":"a"}}`, "unknown verdict"},
		"cut off":         {head + `{"flow":{"client":"10.0`, "line 2"},
	} {
		_, err := Decode(strings.NewReader(c.text), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, c.want)
		}
		if (name == "newer") != errors.Is(err, ErrNewer) {
			t.Errorf("%s: ErrNewer is wrong for %v", name, err)
		}
	}
}

// Every evidence file of version 1 must be readable for ever.
func TestVersion1File(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "evidence-v1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := Decode(bytes.NewReader(b), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := encode(t, e); got != string(b) {
		t.Errorf("wrote\n%s\nwant\n%s", got, b)
	}
	if rows := e.Rows(office); len(rows) != 3 {
		t.Errorf("got %d rows", len(rows))
	}
}

func FuzzDecode(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "evidence-v1.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(bytes.NewReader(b), nil)
		if err != nil {
			return
		}
		reread(t, e)
		e.Rows(office)
	})
}
