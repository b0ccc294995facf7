package notify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"slices"
	"sync"
	"time"

	"weir/plans"
)

// queued is how many messages wait for one webhook at most.
const queued = 256

// Notifier tells people. It is safe for concurrent use.
type Notifier struct {
	log   *slog.Logger
	host  string
	pace  pace
	ctx   context.Context
	end   context.CancelFunc
	wait  sync.WaitGroup
	mu    sync.Mutex // guards what follows
	hooks map[string]*hook
}

// pace is how patient a sender is, in real time.
type pace struct {
	try   time.Duration // one attempt
	first time.Duration // the pause after the first failure; it doubles
	most  time.Duration // the longest pause
	keep  time.Duration // a message that is older is given up
}

var patient = pace{try: 10 * time.Second, first: time.Second, most: time.Minute, keep: 24 * time.Hour}

// New makes a notifier without webhooks. host is the machine's name in each
// message.
func New(log *slog.Logger, host string) *Notifier {
	ctx, end := context.WithCancel(context.Background())
	return &Notifier{log: log, host: Clean(host), pace: patient, ctx: ctx, end: end, hooks: map[string]*hook{}}
}

// Set makes these the webhooks. One that stays as it was keeps its queue; one
// that is no longer there gets what waits for it, within a minute, and last the
// word that it was dropped: nobody is silenced without a word.
func (n *Notifier) Set(hooks []plans.Webhook, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return
	}
	for name, h := range n.hooks {
		if slices.ContainsFunc(hooks, func(w plans.Webhook) bool { return same(w, h.to) }) {
			continue
		}
		h.add(n.envelope(Message{Severity: Page, Kind: Sinks, At: now, Words: "the plan that was registered now does not send to the webhook " + name + " any more"}), n.log)
		h.last(time.Minute)
		delete(n.hooks, name)
	}
	for _, w := range hooks {
		if n.hooks[w.Name] != nil {
			continue
		}
		h := newHook(w, n.pace)
		n.hooks[w.Name] = h
		n.wait.Go(func() { h.run(n.ctx, n.log) })
	}
}

// same says whether two webhooks differ in nothing but their place in a file.
func same(a, b plans.Webhook) bool {
	a.Pos = b.Pos
	return a == b
}

// Tell writes a message to the journal and gives it to each webhook that wants
// it. It never waits.
func (n *Notifier) Tell(m Message) {
	e := n.envelope(m)
	level := slog.LevelInfo
	if m.Severity != Info {
		level = slog.LevelWarn
	}
	args := []any{"severity", e.Severity, "about", e.Kind}
	for k, v := range map[string]string{"group": e.Group, "step": e.Step, "run": e.Command} {
		if v != "" {
			args = append(args, k, v)
		}
	}
	if len(e.Lines) > 0 {
		args = append(args, "details", e.Lines)
	}
	n.log.Log(context.Background(), level, e.Words, args...)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.hooks {
		if e.Severity.rank() >= Severity(h.to.Least).rank() {
			h.add(e, n.log)
		}
	}
}

// envelope is what is sent: the message, with what tells it from others.
type envelope struct {
	APIVersion string `json:"apiVersion"`
	Type       string `json:"kind"`
	ID         string `json:"id"` // the same each time that it is sent again
	Host       string `json:"host"`
	Lost       uint64 `json:"lost,omitempty"` // messages before this one that the webhook never got
	Message    `json:"message"`
	Text       string `json:"text"` // the whole in one string, as chat programs want it

	since time.Time
}

func (n *Notifier) envelope(m Message) envelope {
	var id [8]byte
	rand.Read(id[:])
	return envelope{APIVersion: "weir/v1", Type: "Message", ID: hex.EncodeToString(id[:]), Host: n.host, Message: m.clean(), since: time.Now()}
}

// State is how a webhook does.
type State struct {
	Name    string    `json:"name"`
	Least   string    `json:"least"`
	Waiting int       `json:"waiting"`
	Sent    uint64    `json:"sent"`
	Lost    uint64    `json:"lost"`
	Last    time.Time `json:"last,omitzero"`     // when the last one arrived, on the machine's clock
	Failing string    `json:"failing,omitempty"` // why the last attempt failed; "" it did not
}

// States lists the webhooks by name.
func (n *Notifier) States() []State {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := []State{}
	for _, h := range n.hooks {
		out = append(out, h.state())
	}
	slices.SortFunc(out, func(a, b State) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// Close waits until everything was sent or ctx is done, and ends the senders.
func (n *Notifier) Close(ctx context.Context) {
	n.mu.Lock()
	for _, h := range n.hooks {
		h.last(0)
	}
	n.mu.Unlock()
	done := make(chan struct{})
	go func() { n.wait.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	n.end()
	<-done
}
