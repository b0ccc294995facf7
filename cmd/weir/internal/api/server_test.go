package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"weir/cmd/weir/internal/exit"
)

// A caller that goes away in mid-answer leaves no complaint, and an answer that
// cannot be written is an error, not half an answer.
func TestCallerGoesAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	old := log.Writer()
	log.SetOutput(&said)
	defer log.SetOutput(old)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	srv := &Server{Verbs: map[string]Handler{
		"large": func(context.Context, Peer, json.RawMessage) (any, error) { return strings.Repeat("x", 8<<20), nil },
		"never": func(context.Context, Peer, json.RawMessage) (any, error) {
			return map[string]any{"a": make(chan int)}, nil
		},
	}}
	all.Go(func() {
		if err := srv.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	for range 5 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("POST /v1/large HTTP/1.1\r\nHost: weir\r\nContent-Length: 2\r\n\r\n{}")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 100)); err != nil { // it has begun to answer
			t.Fatal(err)
		}
		c.Close()
	}
	var e *exit.Error
	if err := NewClient(path).Call(ctx, "never", struct{}{}, nil); !errors.As(err, &e) || e.Code != exit.Failed || !strings.Contains(e.Text, "cannot write the answer") {
		t.Errorf("an answer that cannot be written: %v", err)
	}
	var out string
	if err := NewClient(path).Call(ctx, "large", struct{}{}, &out); err != nil || len(out) != 8<<20 {
		t.Errorf("the next caller: %d bytes, %v", len(out), err)
	}
	cancel()
	all.Wait()
	log.SetOutput(old)
	if said.Len() > 0 {
		t.Errorf("it said %q", said.String())
	}
}
