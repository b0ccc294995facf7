package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/cmd/weir/internal/notify"
	"weir/nft/netns"
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

// http FILE ADDRESS …: a web server on the outside host, or with "-gw" first in
// the gateway, that answers each request with the status that the file holds; no
// file: it does not answer.
func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	at := stageOf(ts).lab.Outside
	if args[0] == "-gw" {
		at, args = stageOf(ts).lab.Gateway, args[1:]
	}
	file := ts.MkAbs(args[0])
	for _, a := range args[1:] {
		var l net.Listener
		ts.Check(at.Do(func() (err error) { l, err = net.Listen("tcp", a); return err }))
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, err := os.ReadFile(file)
			status, perr := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil || perr != nil {
				<-r.Context().Done()
				return
			}
			w.WriteHeader(status)
		})}
		go srv.Serve(l)
		ts.Defer(func() { srv.Close() })
	}
}

// scan N SOURCE …: from each of these addresses of the client's, one UDP packet and
// one TCP connection attempt to each of N ports of the outside host.
func cmdScan(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	client := stageOf(ts).lab.Client
	var all sync.WaitGroup
	for _, source := range args[1:] {
		to, ip := netns.OutsideIP4, net.ParseIP(source)
		if ip.To4() == nil {
			to = netns.OutsideIP6
		}
		all.Go(func() {
			for port := 20000; port < 20000+n; port++ {
				at := net.JoinHostPort(to, strconv.Itoa(port))
				client.Do(func() error {
					if c, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: ip}}).Dial("udp", at); err == nil {
						c.Write([]byte("x"))
						c.Close()
					}
					if c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}, Timeout: 20 * time.Millisecond}).Dial("tcp", at); err == nil {
						c.Close()
					}
					return nil
				})
			}
		})
	}
	all.Wait()
}

// from SOURCE PROTO PORT: one exchange from this address of the client's; "! from"
// it is not answered.
func cmdFrom(ts *testscript.TestScript, neg bool, args []string) {
	to := netns.OutsideIP4
	if net.ParseIP(args[0]).To4() == nil {
		to = netns.OutsideIP6
	}
	err := stageOf(ts).lab.Client.Do(func() error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(args[0])}, Timeout: 700 * time.Millisecond}
		c, err := d.Dial(args[1], net.JoinHostPort(to, args[2]))
		if err != nil {
			return err
		}
		defer c.Close()
		return answers(c, 700*time.Millisecond)
	})
	if neg == (err == nil) {
		ts.Fatalf("from %v: %v", args, err)
	}
}
