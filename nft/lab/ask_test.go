package lab

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAskWithoutAnAnswer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "lab.sock")
	if _, err := Ask(t.Context(), socket, Script{}); err == nil || !strings.Contains(err.Error(), "cannot rehearse over "+socket) {
		t.Errorf("nobody listens: %v", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	say := make(chan string, 1)
	var held []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var script Script
			if json.NewDecoder(c).Decode(&script) != nil {
				continue
			}
			text := <-say
			if text == "" {
				held = append(held, c) // never answers
				continue
			}
			_, _ = c.Write([]byte(text)) // the other end may be gone, which is what is asked
			c.Close()
		}
	}()
	for text, want := range map[string]string{
		"nonsense":                          "no answer",
		`{"result":{},"error":"act 3: no"}`: "act 3: no",
		`{"result":{"took":5}}`:             "",
	} {
		say <- text
		r, err := Ask(t.Context(), socket, Script{})
		if want == "" && (err != nil || r.Took != 5) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %+v, %v", text, r, err)
		}
	}
	say <- `{"result":{},"error":"sysctl says so","notAllowed":true}`
	if _, err := Ask(t.Context(), socket, Script{}); !errors.Is(err, ErrNotAllowed) {
		t.Error(err)
	}
	say <- ""
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Ask(ctx, socket, Script{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that hangs: %v", err)
	}
}

func TestAnswerRefusesNonsense(t *testing.T) {
	var out strings.Builder
	if err := Answer(t.Context(), strings.NewReader("nonsense"), &out); err == nil || out.Len() > 0 {
		t.Error(err, out.String())
	}
}
