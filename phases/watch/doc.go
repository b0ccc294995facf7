// Package watch compares what goes on with what is allowed: flows that the
// policy has never seen, and rules that nobody uses. Everything it says is a
// finding for a person; it changes nothing, does no I/O and reads no clock.
package watch
