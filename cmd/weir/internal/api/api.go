// Package api carries commands to the daemon and answers back: JSON over HTTP
// on a unix socket. A verb is a POST to /v1/<verb>; the answer is the verb's
// value, or an exit.Error with its HTTP status. The caller is who the kernel
// says it is (SO_PEERCRED), never what it says of itself.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"weir/cmd/weir/internal/exit"
)

// Version stands in every answer of a read as "apiVersion".
const Version = "weir/v1"

// MaxBody bounds a request; a plan is at most 1 MiB, an import is larger.
const MaxBody = 64 << 20

// Client speaks to the daemon.
type Client struct {
	Socket string
	http   *http.Client
}

// NewClient returns a client of the socket; nothing is dialled yet.
func NewClient(socket string) *Client {
	c := &Client{Socket: socket}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: time.Second}
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	return c
}

// Call sends a verb with its arguments and decodes the answer into out (nil:
// thrown away). No daemon is exit.NoDaemon.
func (c *Client) Call(ctx context.Context, verb string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://weir/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, syscall.EACCES) || errors.Is(err, os.ErrPermission) {
			return exit.Errorf(exit.NoPerm, "cannot open %s: permission denied", c.Socket).
				WithHint("be root, or a member of the group that owns the socket")
		}
		if ctx.Err() != nil {
			return exit.Errorf(exit.Unknown, "no answer from the daemon: %w", ctx.Err()).WithHint("weir status says what is in force")
		}
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return exit.Errorf(exit.NoDaemon, "no daemon answers on %s; the kernel is unchanged", c.Socket).
				WithHint("start it: weir daemon --socket %s", c.Socket)
		}
		return exit.Errorf(exit.Unknown, "the daemon went away before it answered: %w", err).WithHint("weir status says what is in force")
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return exit.Errorf(exit.Unknown, "cannot read the daemon's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var e exit.Error
		if json.Unmarshal(data, &e) != nil || e.Text == "" {
			return exit.Errorf(exit.Failed, "the daemon answered %s: %s", resp.Status, strings.TrimSpace(string(data)))
		}
		return &e
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("cannot read the daemon's answer: %w", err)
	}
	return nil
}
