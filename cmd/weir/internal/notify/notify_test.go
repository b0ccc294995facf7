package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"weir/plans"
)

// receiver is a web server that notes what it is sent and answers as told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex // guards what follows
	got    []envelope
	heads  []http.Header
	bodies [][]byte
	answer func(n int) int // the status for the n-th request, from 0
}

func newReceiver(t *testing.T, answer func(n int) int) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		var e envelope
		json.Unmarshal(body, &e)
		r.mu.Lock()
		n := len(r.got)
		r.got, r.heads, r.bodies = append(r.got, e), append(r.heads, q.Header), append(r.bodies, body)
		r.mu.Unlock()
		if r.answer != nil {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(r.answer(n))
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) requests() []envelope {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]envelope(nil), r.got...)
}

// quick is a notifier that does not wait long; its log is in the buffer.
func quick(t *testing.T) (*Notifier, *syncBuffer) {
	log := &syncBuffer{}
	n := New(slog.New(slog.NewTextHandler(log, nil)), "gw1")
	n.pace = pace{try: 2 * time.Second, first: 5 * time.Millisecond, most: 20 * time.Millisecond, keep: time.Minute}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		n.Close(ctx)
	})
	return n, log
}

type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *syncBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func hookTo(url string) plans.Webhook {
	return plans.Webhook{Name: "oncall", URL: url + "/token-in-the-path", Least: plans.SeverityWarning}
}

func page(words string) Message {
	return Message{Severity: Page, Kind: Opening, Words: words, At: time.Unix(1000, 0).UTC()}
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestMessageArrivesSigned(t *testing.T) {
	r := newReceiver(t, nil)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush-hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, log := quick(t)
	w := hookTo(r.URL)
	w.SecretFile = secret
	n.Set([]plans.Webhook{w}, time.Now())
	n.Tell(Message{Severity: Info, Kind: Test, Words: "not for the webhook"})
	m := page("the gate is open")
	m.Lines, m.Command = []string{"10.0.0.1 <!channel>"}, "weir resume"
	n.Tell(m)
	wait(t, "one message", func() bool { s := n.States(); return s[0].Sent == 1 })
	got := r.requests()
	if len(got) != 1 || got[0].Words != "the gate is open" || got[0].Host != "gw1" || got[0].Severity != Page || got[0].Kind != Opening || !got[0].At.Equal(m.At) {
		t.Fatalf("got %+v", got)
	}
	if want := "[page] weir on gw1: the gate is open\n10.0.0.1 &lt;!channel&gt;\nrun: weir resume"; got[0].Text != want {
		t.Errorf("text %q, want %q", got[0].Text, want)
	}
	var unix int64
	sig := r.heads[0].Get("Weir-Signature")
	if _, err := fmt.Sscanf(sig, "t=%d,", &unix); err != nil || sig != Sign([]byte("hush-hush"), time.Unix(unix, 0), r.bodies[0]) {
		t.Errorf("signature %q", sig)
	}
	if r.heads[0].Get("Weir-Id") != got[0].ID {
		t.Errorf("id %q, want %q", r.heads[0].Get("Weir-Id"), got[0].ID)
	}
	for _, word := range []string{"not for the webhook", "the gate is open", "weir resume"} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("the journal lacks %q:\n%s", word, log)
		}
	}
}

// A receiver that is down, slow or wrong is tried again with the same id; what
// it will never take is counted and does not hold up the rest.
func TestRetries(t *testing.T) {
	r := newReceiver(t, func(n int) int {
		return []int{503, 429, 302, 404, 200, 400, 200}[min(n, 6)]
	})
	n, log := quick(t)
	n.Set([]plans.Webhook{hookTo(r.URL)}, time.Now())
	n.Tell(page("one"))
	wait(t, "one", func() bool { return n.States()[0].Sent == 1 })
	n.Tell(page("never taken"))
	n.Tell(page("three"))
	wait(t, "three", func() bool { return n.States()[0].Sent == 2 })
	got := r.requests()
	if len(got) != 7 {
		t.Fatalf("%d requests, want 7: %+v", len(got), got)
	}
	for _, e := range got[1:5] {
		if e.ID != got[0].ID {
			t.Errorf("sent again as %s, first as %s", e.ID, got[0].ID)
		}
	}
	if got[6].Words != "three" || got[6].Lost != 1 || !strings.Contains(got[6].Text, "1 messages before this one were lost") {
		t.Errorf("the last is %+v", got[6])
	}
	if s := n.States()[0]; s.Lost != 1 || s.Failing != "" || s.Waiting != 0 {
		t.Errorf("state %+v", s)
	}
	if strings.Contains(log.String(), "token-in-the-path") {
		t.Errorf("the journal holds the URL:\n%s", log)
	}
	if !strings.Contains(log.String(), "it answered 503") {
		t.Errorf("the journal does not say why:\n%s", log)
	}
}

// A receiver that hangs holds up nobody; pages outlive what is less urgent, and
// the loss is counted.
func TestFullQueue(t *testing.T) {
	free := make(chan struct{})
	var once sync.Once
	r := newReceiver(t, func(int) int { <-free; return 200 })
	t.Cleanup(func() { once.Do(func() { close(free) }) }) // before the server's
	n, log := quick(t)
	n.Set([]plans.Webhook{hookTo(r.URL)}, time.Now())
	start := time.Now()
	n.Tell(page("first"))
	wait(t, "the first request", func() bool { return len(r.requests()) == 1 })
	for range 10 {
		n.Tell(page("the gate is open"))
	}
	for range 2 * queued {
		n.Tell(Message{Severity: Warning, Kind: Test, Words: "noise"})
	}
	if d := time.Since(start); d > time.Second+n.pace.try/2 {
		t.Errorf("telling took %s", d)
	}
	lost := uint64(11 + 2*queued - queued)
	if s := n.States()[0]; s.Waiting != queued || s.Lost != lost {
		t.Errorf("state %+v, want %d waiting and %d lost", s, queued, lost)
	}
	once.Do(func() { close(free) })
	wait(t, "the rest", func() bool { return n.States()[0].Waiting == 0 })
	pages, said := map[string]bool{}, uint64(0)
	for _, e := range r.requests() {
		if e.Severity == Page {
			pages[e.ID] = true
		}
		said = max(said, e.Lost)
	}
	if len(pages) != 11 || said != lost {
		t.Errorf("%d pages arrived and %d lost were told, want 11 and %d", len(pages), said, lost)
	}
	if c := strings.Count(log.String(), "messages are lost"); c != 1 {
		t.Errorf("the loss is in the journal %d times:\n%s", c, log)
	}
}

// Whoever takes a webhook out of the plan does not do so without a word to it.
func TestDroppedWebhookHearsOfIt(t *testing.T) {
	old, other := newReceiver(t, nil), newReceiver(t, nil)
	n, _ := quick(t)
	n.Set([]plans.Webhook{hookTo(old.URL)}, time.Now())
	moved := hookTo(old.URL)
	moved.Pos.Line = 7
	n.Set([]plans.Webhook{moved}, time.Now())
	n.Tell(page("one"))
	n.Set([]plans.Webhook{hookTo(other.URL)}, time.Now())
	n.Tell(page("two"))
	wait(t, "the last word", func() bool { return len(old.requests()) == 2 && len(other.requests()) == 1 })
	if got := old.requests(); got[0].Words != "one" || got[1].Kind != Sinks || got[1].Severity != Page {
		t.Errorf("the old one got %+v", got)
	}
	if got := other.requests(); got[0].Words != "two" {
		t.Errorf("the new one got %+v", got)
	}
}

func TestNoSecretNoMessage(t *testing.T) {
	r := newReceiver(t, nil)
	n, log := quick(t)
	w := hookTo(r.URL)
	w.SecretFile = filepath.Join(t.TempDir(), "secret")
	n.Set([]plans.Webhook{w}, time.Now())
	n.Tell(page("one"))
	wait(t, "a complaint", func() bool { return strings.Contains(log.String(), "cannot read the secret") })
	if err := os.WriteFile(w.SecretFile, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, "the message", func() bool { return n.States()[0].Sent == 1 })
	if r.requests(); r.heads[0].Get("Weir-Signature") == "" {
		t.Error("not signed")
	}
}

func TestCloseSendsWhatWaits(t *testing.T) {
	r := newReceiver(t, nil)
	n, _ := quick(t)
	n.Set([]plans.Webhook{hookTo(r.URL)}, time.Now())
	for range 20 {
		n.Tell(page("going down"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	n.Close(ctx)
	if got := r.requests(); len(got) != 20 {
		t.Errorf("%d arrived, want 20", len(got))
	}
	n.Tell(page("after the end"))
	n.Set(nil, time.Now())
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"plain", "a\nb", "\x1b[31m", "\u202e\u200b", "\xff", strings.Repeat("ü", 3000), "e\u0301"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Clean(s)
		if len(c) > longestWords+64 {
			t.Errorf("%d bytes", len(c))
		}
		for _, r := range c {
			if r != ' ' && !unicode.IsPrint(r) || unicode.IsControl(r) {
				t.Errorf("%q holds %U", c, r)
			}
		}
		if len(s) < longestWords/10 && Clean(c) != c {
			t.Errorf("%q is not clean", c)
		}
	})
}
