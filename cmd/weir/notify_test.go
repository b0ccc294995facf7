package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/cmd/weir/internal/notify"
)

// webhook FILE ADDRESS [SECRET]: a web server in the gateway that notes each
// message in a file: severity, kind and text, or "not signed" where a secret is
// given and does not fit.
func cmdWebhook(ts *testscript.TestScript, neg bool, args []string) {
	var l net.Listener
	ts.Check(stageOf(ts).lab.Gateway.Do(func() (err error) { l, err = net.Listen("tcp", args[1]); return err }))
	file, err := os.OpenFile(ts.MkAbs(args[0]), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	var mu sync.Mutex // guards the file
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var got struct {
			Message struct{ Severity, Kind string }
			Text    string
		}
		line := "not JSON"
		if json.Unmarshal(body, &got) == nil {
			line = fmt.Sprintf("%s %s %q", got.Message.Severity, got.Message.Kind, got.Text)
		}
		if len(args) > 2 && !signed(args[2], r.Header.Get("Weir-Signature"), body) {
			line = "not signed"
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(file, line)
	})}
	go srv.Serve(l)
	ts.Defer(func() { srv.Close(); file.Close() })
}

func signed(secret, header string, body []byte) bool {
	var at int64
	if _, err := fmt.Sscanf(header, "t=%d,", &at); err != nil {
		return false
	}
	return header == notify.Sign([]byte(secret), time.Unix(at, 0), body)
}
