// Package phases is the machine that takes a network through a rollout plan:
// it expands the plan into steps, asks the gates, freezes what is approved,
// keeps the journal, and recovers by looking.
//
// It does no I/O and owns no clock: the kernel, the journal and the files are
// three small interfaces declared here, and each method is given the time. It
// never computes a frozen step again, never arms anything that was not frozen
// and approved, and never believes a reply: after each call it looks, and what
// it saw is what it records.
//
// The order is always decide, append the intent, act, look, append what was
// seen. A crash between any two of these leaves at most one intent without an
// outcome; Recover looks at the kernel and writes the outcome, and doing so
// twice writes nothing more.
package phases
