package capture

import (
	"context"
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/nft/netns"
	"weir/phases/flow"
)

// logRules are the capture of a gateway, in short: first sight of what is new.
const logRules = `
table inet t {
  chain f { type filter hook forward priority 10; policy accept;
    ct direction reply accept
    ct state new log prefix "weir n " group 100 snaplen 96 queue-threshold 64
  }
  chain o { type filter hook output priority 10; policy accept;
    ct state new log prefix "weir n " group 100 snaplen 96
  }
}`

func newLab(t *testing.T) *netns.Lab {
	t.Helper()
	lab, err := netns.NewLab()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	return lab
}

func nft(t testing.TB, ns *netns.NS, rules string) {
	t.Helper()
	err := ns.Apart(func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// heard collects what a reader gives.
type heard struct {
	mu      sync.Mutex
	records []flow.Record
	gaps    []Gap
	changed chan struct{}
}

func newHeard() *heard { return &heard{changed: make(chan struct{}, 1)} }

func (h *heard) sink() Sink {
	note := func() {
		select {
		case h.changed <- struct{}{}:
		default:
		}
	}
	return Sink{
		Record: func(r flow.Record) { h.mu.Lock(); h.records = append(h.records, r); h.mu.Unlock(); note() },
		Gap:    func(g Gap) { h.mu.Lock(); h.gaps = append(h.gaps, g); h.mu.Unlock(); note() },
	}
}

// wait returns the first record that fits, and fails after five seconds.
func (h *heard) wait(t *testing.T, what string, fits func(flow.Record) bool) flow.Record {
	t.Helper()
	late := time.After(5 * time.Second)
	for {
		h.mu.Lock()
		for _, r := range h.records {
			if fits(r) {
				h.mu.Unlock()
				return r
			}
		}
		h.mu.Unlock()
		select {
		case <-h.changed:
		case <-late:
			h.mu.Lock()
			defer h.mu.Unlock()
			t.Fatalf("no record of %s among %d:\n%+v", what, len(h.records), h.records)
		}
	}
}

func (h *heard) none(t *testing.T, what string, fits func(flow.Record) bool) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.records {
		if fits(r) {
			t.Errorf("a record of %s: %s", what, show(r))
		}
	}
}

// start runs a reader until the test ends.
func start(t *testing.T, run func(context.Context, Sink) error, h *heard, close func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, h.sink()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the reader ended with %v", err)
		}
		if err := close(); err != nil {
			t.Error(err)
		}
	})
}

func startLog(t *testing.T, opt Options, groups ...uint16) (*PacketLog, *heard) {
	t.Helper()
	l, err := OpenPacketLog(opt, groups...)
	if err != nil {
		t.Fatal(err)
	}
	h := newHeard()
	start(t, l.Run, h, l.Close)
	return l, h
}

func startConnections(t *testing.T, opt Options) (*Connections, *heard) {
	t.Helper()
	c, err := OpenConnections(opt)
	if err != nil {
		t.Fatal(err)
	}
	h := newHeard()
	start(t, c.Run, h, c.Close)
	return c, h
}

func prepare(t *testing.T, ns *netns.NS) Options {
	t.Helper()
	opt := Options{NetNS: ns.FD()}
	if _, err := Prepare(context.Background(), opt); err != nil {
		t.Fatal(err)
	}
	return opt
}

func is(client, server, service string) func(flow.Record) bool {
	return func(r flow.Record) bool {
		return r.Client.String() == client && r.Server.String() == server && r.Service().String() == service
	}
}

func closed(f func(flow.Record) bool) func(flow.Record) bool {
	return func(r flow.Record) bool { return r.Closed && f(r) }
}

// bytesRules count what an address sends and gets, as the judge of the bytes.
const bytesRules = `
table inet j {
  counter o4 {}
  counter i4 {}
  counter o6 {}
  counter i6 {}
  chain f { type filter hook forward priority 20; policy accept;
    meta l4proto tcp ip saddr 10.20.16.10 counter name o4
    meta l4proto tcp ip daddr 10.20.16.10 counter name i4
    meta l4proto tcp ip6 saddr fd20:0:0:16::10 counter name o6
    meta l4proto tcp ip6 daddr fd20:0:0:16::10 counter name i6
  }
}`

// counted reads the judge's counters of a client.
func counted(t *testing.T, ns *netns.NS, client string) (out, in uint64) {
	t.Helper()
	fam := "4"
	if strings.Contains(client, ":") {
		fam = "6"
	}
	read := func(name string) (n uint64) {
		err := ns.Apart(func() error {
			b, err := exec.Command("nft", "list", "counter", "inet", "j", name).Output()
			f := strings.Fields(string(b))
			for i, w := range f {
				if w == "bytes" {
					n, err = strconv.ParseUint(f[i+1], 10, 64)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return read("o" + fam), read("i" + fam)
}

func deleteAll(t *testing.T, opt Options) {
	t.Helper()
	if _, err := DeleteConnections(context.Background(), opt, func(flow.Record) bool { return true }); err != nil {
		t.Fatal(err)
	}
}

func itoa(n uint16) string { return strconv.Itoa(int(n)) }

// show prints every field; a Record by itself prints as its flow.
func show(r flow.Record) string {
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
