package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Commands of honeypot.txtar.
//
//	lured   PORT [v4|v6]         the client's TCP connection is taken, and nobody answers
//	refused PORT [v4|v6]         it is refused at once
//	lure NAME PORT v4|v6         a taken connection that stays open; "cut NAME": it was reset
//
// "until" repeats the first two and "cut".

func lured(ts *testscript.TestScript, args []string) error {
	from, args := fromWhere(ts, args)
	for _, a := range addresses(append([]string{"tcp"}, args...)) {
		c, err := from.Dial("tcp", a, 700*time.Millisecond)
		if err != nil {
			return err
		}
		err = silent(c)
		c.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
	}
	return nil
}

// silent says something and wants no answer.
func silent(c net.Conn) error {
	if _, err := c.Write([]byte("GET / HTTP/1.0\r\n\x1b[2J")); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return err
	}
	n, err := c.Read(make([]byte, 64))
	var timeout net.Error
	if n > 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		return fmt.Errorf("want silence, got %d bytes and %v", n, err)
	}
	return nil
}

func refused(ts *testscript.TestScript, args []string) error {
	from, args := fromWhere(ts, args)
	for _, a := range addresses(append([]string{"tcp"}, args...)) {
		c, err := from.Dial("tcp", a, 700*time.Millisecond)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("%s is not refused: %v", a, err)
		}
	}
	return nil
}

func cmdLured(ts *testscript.TestScript, neg bool, args []string) {
	err := lured(ts, args)
	if neg && err == nil {
		ts.Fatalf("%v is taken", args)
	}
	if !neg {
		ts.Check(err)
	}
}

func cmdRefused(ts *testscript.TestScript, neg bool, args []string) { ts.Check(refused(ts, args)) }

func cmdLure(ts *testscript.TestScript, neg bool, args []string) {
	w := stageOf(ts)
	from, args := fromWhere(ts, args)
	c, err := from.Dial("tcp", addresses(append([]string{"tcp"}, args[1:]...))[0], time.Second)
	ts.Check(err)
	ts.Check(silent(c))
	w.mu.Lock()
	w.conns[args[0]] = c
	w.mu.Unlock()
}

// cut sends on a taken connection and wants it to be reset, not closed.
func cut(ts *testscript.TestScript, args []string) error {
	w := stageOf(ts)
	w.mu.Lock()
	c := w.conns[args[0]]
	w.mu.Unlock()
	if c == nil {
		ts.Fatalf("no open connection %s", args[0])
	}
	if err := c.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return err
	}
	_, err := c.Write([]byte("more"))
	if err == nil {
		_, err = c.Read(make([]byte, 64))
	}
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("connection %s was not reset: %v", args[0], err)
}

func cmdCut(ts *testscript.TestScript, neg bool, args []string) { ts.Check(cut(ts, args)) }
