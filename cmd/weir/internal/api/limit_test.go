package api

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"weir/cmd/weir/internal/exit"
)

func TestLimit(t *testing.T) {
	var l limiter
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	count := func(uid uint32) (n int) {
		for range 1000 {
			if l.take(uid, now) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		after time.Duration
		uid   uint32
		want  int
	}{{0, 7, callsAtOnce}, {0, 8, callsAtOnce}, {0, 7, 0}, {time.Second, 7, callsPerSecond}, {-time.Hour, 7, 0}, {time.Hour, 7, callsAtOnce}, {0, 0, 1000}} {
		now = now.Add(c.after)
		if got := count(c.uid); got != c.want {
			t.Errorf("uid %d at %s: %d calls, want %d", c.uid, now, got, c.want)
		}
	}
	// Many users do not fill the memory, and a quiet one loses nothing.
	for uid := range uint32(3 * usersKnown) {
		now = now.Add(10 * time.Millisecond)
		l.take(uid+10, now)
	}
	if len(l.users) > usersKnown+1 {
		t.Errorf("%d users are kept", len(l.users))
	}
}

// A caller without the right is told so before anything is read of what it
// sends, and the groups are those that the kernel tells.
func TestAllow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan Peer, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	srv := &Server{Verbs: map[string]Handler{"open": func(context.Context, Peer, json.RawMessage) (any, error) { return "yes", nil },
		"shut": func(context.Context, Peer, json.RawMessage) (any, error) { t.Error("answered"); return nil, nil }},
		Allow: func(p Peer, verb string) error {
			select {
			case asked <- p:
			default:
			}
			if verb == "shut" {
				return exit.Errorf(exit.NoPerm, "no")
			}
			return nil
		}}
	go func() { done <- srv.Serve(ctx, l) }()
	defer func() { cancel(); <-done }()
	c := NewClient(path)
	var out string
	if err := c.Call(ctx, "open", struct{}{}, &out); err != nil || out != "yes" {
		t.Errorf("open: %q, %v", out, err)
	}
	var e *exit.Error
	if err := c.Call(ctx, "shut", struct{}{}, nil); !errors.As(err, &e) || e.Code != exit.NoPerm {
		t.Errorf("shut: %v", err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The head alone: nothing of the body is sent, and the refusal comes.
	if _, err := conn.Write([]byte("POST /v1/shut HTTP/1.1\r\nHost: weir\r\nContent-Length: 1000000\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 12)
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(buf); err != nil || string(buf) != "HTTP/1.1 403" {
		t.Errorf("the answer is %q, %v", buf, err)
	}
	if p := <-asked; p.Groups == nil {
		t.Error("the groups are not known")
	}
}
