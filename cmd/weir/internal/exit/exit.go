// Package exit is the one table from an error to what a person and a program
// see of it: exit code, HTTP status, and a hint of what to do next. The
// reference page is written from it.
package exit

import (
	"errors"
	"fmt"
)

// Code is weir's exit code.
type Code int

// The exit codes; a released meaning never changes.
const (
	OK          Code = 0
	Failed      Code = 1
	Difference  Code = 2
	Invalid     Code = 3
	Refused     Code = 4
	Approval    Code = 5
	NotInForce  Code = 6
	Unknown     Code = 7
	NoDaemon    Code = 8
	Usage       Code = 64
	NoPerm      Code = 77
	Interrupted Code = 130
)

// Meaning is one row of the reference page.
type Meaning struct {
	Code   Code
	Status int // of the HTTP answer on the socket
	Words  string
}

// Meanings lists every code.
var Meanings = []Meaning{
	{OK, 200, "done, and seen in the kernel; or no difference"},
	{Failed, 500, "failed; the last line says what the kernel holds"},
	{Difference, 200, "there is a difference"},
	{Invalid, 400, "the input is invalid"},
	{Refused, 409, "refused: a gate, drift, a lifeline, a pending trial, or the rollout is paused"},
	{Approval, 403, "an approval is missing, stale, used or denied"},
	{NotInForce, 410, "not in force: lapsed, too late to confirm, rolled back"},
	{Unknown, 502, "unknown: sent, but the kernel could not be read back"},
	{NoDaemon, 503, "no daemon; the kernel is unchanged"},
	{Usage, 400, "wrong usage"},
	{NoPerm, 403, "not permitted"},
	{Interrupted, 499, "interrupted; the last line says what was done"},
}

// Error is an error with its code and a hint. It travels over the socket.
type Error struct {
	Code Code   `json:"code"`
	Text string `json:"error"`
	Hint string `json:"hint,omitempty"`
	err  error
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.err }

// Errorf makes an Error; %w works as in fmt.Errorf.
func Errorf(c Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: c, Text: err.Error(), err: errors.Unwrap(err)}
}

// WithHint returns e with the hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Status returns the HTTP status of a code.
func (c Code) Status() int {
	for _, m := range Meanings {
		if m.Code == c {
			return m.Status
		}
	}
	return 500
}

// From gives any error its code and hint; nil gives nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		if e.Text != err.Error() {
			return &Error{Code: e.Code, Text: err.Error(), Hint: e.Hint, err: err}
		}
		return e
	}
	for _, r := range rows {
		if errors.Is(err, r.err) {
			return &Error{Code: r.code, Text: err.Error(), Hint: r.hint, err: err}
		}
	}
	return &Error{Code: Failed, Text: err.Error(), err: err}
}
