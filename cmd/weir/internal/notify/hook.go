package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"weir/plans"
)

// hook is one webhook with what waits for it.
type hook struct {
	to     plans.Webhook
	pace   pace
	client *http.Client
	wake   chan struct{}

	mu      sync.Mutex // guards what follows
	queue   []envelope
	ending  bool      // nothing comes any more
	by      time.Time // and it ends then; zero: once the queue is empty
	sent    uint64
	lost    uint64
	told    uint64 // of lost, what the receiver knows
	arrived time.Time
	failing string
}

func newHook(w plans.Webhook, p pace) *hook {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableKeepAlives = true
	return &hook{to: w, pace: p, wake: make(chan struct{}, 1), client: &http.Client{
		Timeout: p.try, Transport: t,
		// A message goes to the address that the plan names and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// add puts a message into the queue. Where it is full the oldest of the least
// urgent goes.
func (h *hook) add(e envelope, log *slog.Logger) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue = append(h.queue, e)
	if len(h.queue) > queued {
		least := 0
		for i, q := range h.queue {
			if q.Severity.rank() < h.queue[least].Severity.rank() {
				least = i
			}
		}
		h.queue = append(h.queue[:least], h.queue[least+1:]...)
		if h.lost++; h.lost == h.told+1 {
			log.Error("messages are lost: a webhook does not take them", "webhook", h.to.Name)
		}
	}
	h.nudge()
}

func (h *hook) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// last lets the sender end once the queue is empty, and in any case after d, if
// that is not 0.
func (h *hook) last(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ending = true
	if d > 0 {
		h.by = time.Now().Add(d)
	}
	h.nudge()
}

func (h *hook) state() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return State{Name: h.to.Name, Least: h.to.Least, Waiting: len(h.queue), Sent: h.sent, Lost: h.lost, Last: h.arrived, Failing: h.failing}
}

// run sends until ctx is done or nothing comes any more.
func (h *hook) run(ctx context.Context, log *slog.Logger) {
	defer h.client.CloseIdleConnections()
	pause := time.Duration(0)
	for {
		h.mu.Lock()
		empty, over := len(h.queue) == 0, h.ending && (len(h.queue) == 0 || !h.by.IsZero() && time.Now().After(h.by))
		h.mu.Unlock()
		if over {
			h.leave(log)
			return
		}
		if empty {
			select {
			case <-h.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if h.next(ctx, log) {
			pause = 0
			continue
		}
		pause = min(max(2*pause, h.pace.first), h.pace.most)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			h.leave(log)
			return
		}
	}
}

// leave says what was never delivered.
func (h *hook) leave(log *slog.Logger) {
	if s := h.state(); s.Waiting > 0 {
		log.Error("messages are lost: the webhook did not take them in time", "webhook", s.Name, "messages", s.Waiting, "error", s.Failing)
	}
}

// next sends the first that waits; false where it is to be tried again.
func (h *hook) next(ctx context.Context, log *slog.Logger) bool {
	h.mu.Lock()
	e := h.queue[0]
	e.Lost = h.lost - h.told
	h.mu.Unlock()
	err := h.send(ctx, e)
	var no *refusal
	h.mu.Lock()
	defer h.mu.Unlock()
	gone := len(h.queue) == 0 || h.queue[0].ID != e.ID // the queue was full meanwhile
	drop := func() {
		if !gone {
			h.queue = h.queue[1:]
		}
	}
	switch {
	case err == nil:
		if h.failing != "" {
			log.Info("a webhook works again", "webhook", h.to.Name)
		}
		h.told += e.Lost
		h.sent++
		h.arrived, h.failing = time.Now(), ""
		drop()
		return true
	case errors.As(err, &no) && no.final() || time.Since(e.since) > h.pace.keep:
		log.Error("a message is lost: the webhook does not take it", "webhook", h.to.Name, "error", err)
		h.failing = err.Error()
		if !gone {
			h.lost++
		}
		drop()
		return true
	}
	if text := err.Error(); text != h.failing {
		log.Error("cannot send to a webhook; trying again", "webhook", h.to.Name, "error", text)
		h.failing = text
	}
	return false
}

// refusal is an answer that is not "taken".
type refusal struct{ status int }

func (r *refusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("it answered %d %s", r.status, http.StatusText(r.status)))
}

// final says that the same message would never be taken.
func (r *refusal) final() bool {
	switch r.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType:
		return true
	}
	return false
}

// send makes one attempt.
func (h *hook) send(ctx context.Context, e envelope) error {
	e.Text = e.text()
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, h.pace.try)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.to.URL, bytes.NewReader(body))
	if err != nil {
		return bare(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "weir")
	req.Header.Set("Weir-Id", e.ID)
	if h.to.SecretFile != "" {
		secret, err := os.ReadFile(h.to.SecretFile)
		if err != nil {
			return fmt.Errorf("cannot read the secret: %w", err)
		}
		if secret = bytes.TrimSpace(secret); len(secret) == 0 {
			return fmt.Errorf("cannot sign: %s is empty", h.to.SecretFile)
		}
		req.Header.Set("Weir-Signature", Sign(secret, time.Now(), body))
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return bare(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return &refusal{resp.StatusCode}
	}
	return nil
}

// bare takes the URL out of an error: its path may be a token.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Sign is the header by which a receiver knows a sender, and when it sent:
//
//	Weir-Signature: t=UNIXTIME,v1=HEX        HEX = HMAC-SHA256(secret, UNIXTIME "." body)
func Sign(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// text is the message in one string. Chat programs read <…> as a command, as in
// <!channel>.
func (e envelope) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s] weir on %s: %s", e.Severity, e.Host, e.Words)
	for _, l := range e.Lines {
		b.WriteString("\n" + l)
	}
	if e.Command != "" {
		b.WriteString("\nrun: " + e.Command)
	}
	if e.Lost > 0 {
		fmt.Fprintf(&b, "\n%d messages before this one were lost", e.Lost)
	}
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(b.String())
}
