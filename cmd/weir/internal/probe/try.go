package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weir/phases/health"
	"weir/plans"
)

// try makes one attempt and says what came of it.
func try(ctx context.Context, p plans.Probe, within time.Duration) (health.Outcome, string) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var err error
	switch p.Kind {
	case plans.ProbeTCP:
		err = connect(ctx, p)
	case plans.ProbeDNS:
		err = ask(ctx, p)
	case plans.ProbeHTTPS:
		var status int
		if status, err = get(ctx, p); err == nil && status >= 500 {
			err = fmt.Errorf("it answered %d %s", status, http.StatusText(status))
		}
	case plans.ProbeWebhook:
		status, err := get(ctx, p)
		switch {
		case err != nil:
			return health.Silent, plain(err, within)
		case status < 200 || status > 299:
			return health.Failed, fmt.Sprintf("it says that things are bad: %d %s", status, http.StatusText(status))
		}
		return health.Answered, ""
	default:
		return health.Silent, "this weir does not know probes of kind " + p.Kind
	}
	if err != nil {
		return health.Failed, plain(err, within)
	}
	return health.Answered, ""
}

// dialer makes connections from the probe's address.
func dialer(p plans.Probe, network string) *net.Dialer {
	d := &net.Dialer{}
	switch {
	case !p.From.IsValid():
	case strings.HasPrefix(network, "udp"):
		d.LocalAddr = &net.UDPAddr{IP: p.From.AsSlice()}
	default:
		d.LocalAddr = &net.TCPAddr{IP: p.From.AsSlice()}
	}
	return d
}

func connect(ctx context.Context, p plans.Probe) error {
	c, err := dialer(p, "tcp").DialContext(ctx, "tcp", p.To)
	if err != nil {
		return err
	}
	return c.Close()
}

// ask asks one resolver. That a name does not exist is an answer.
func ask(ctx context.Context, p plans.Probe) error {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer(p, network).DialContext(ctx, network, p.To)
	}}
	_, err := r.LookupHost(ctx, strings.TrimSuffix(p.Ask, ".")+".")
	var no *net.DNSError
	if errors.As(err, &no) && no.IsNotFound {
		return nil
	}
	return err
}

// padHeader makes a request large. It is sent whole before a server answers.
const padHeader = "Weir-Pad"

func get(ctx context.Context, p plans.Probe) (int, error) {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialer(p, network).DialContext(ctx, network, addr)
		},
		DisableKeepAlives: true, MaxResponseHeaderBytes: 1 << 16,
	}
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.To, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", "weir")
	if p.Size > 0 {
		req.Header.Set(padHeader, strings.Repeat("x", p.Size))
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

// plain is an error without a URL, whose path may be a token.
func plain(err error, within time.Duration) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var slow net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &slow) && slow.Timeout() {
		return fmt.Sprintf("no answer within %s", plans.FormatDuration(within))
	}
	return err.Error()
}
