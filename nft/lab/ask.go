package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
)

// answer is what goes over the socket: a result, and why there is no more of it.
type answer struct {
	Result     Result `json:"result"`
	Error      string `json:"error,omitempty"`
	NotAllowed bool   `json:"notAllowed,omitempty"`
}

// Ask is Run by another process, which has no right of its own: whoever listens
// on the socket calls Answer for each connection. It is for a daemon that may not
// make namespaces itself.
func Ask(ctx context.Context, socket string, s Script) (Result, error) {
	fail := func(err error) (Result, error) {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return Result{}, fmt.Errorf("cannot rehearse over %s: %w", socket, err)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if err := json.NewEncoder(c).Encode(s); err != nil {
		return fail(err)
	}
	var a answer
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		return fail(fmt.Errorf("no answer: %w", err))
	}
	switch {
	case a.NotAllowed:
		return a.Result, fmt.Errorf("%w: %s", ErrNotAllowed, a.Error)
	case a.Error != "":
		return a.Result, errors.New(a.Error)
	}
	return a.Result, nil
}

// Answer is the other end of Ask.
func Answer(ctx context.Context, in io.Reader, out io.Writer) error {
	var s Script
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return fmt.Errorf("cannot read the script: %w", err)
	}
	r, err := Run(ctx, s)
	a := answer{Result: r}
	if err != nil {
		a.Error, a.NotAllowed = err.Error(), errors.Is(err, ErrNotAllowed)
	}
	return json.NewEncoder(out).Encode(a)
}
