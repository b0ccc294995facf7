// Package daemon owns a rollout while it runs: the journal, the frozen steps,
// the evidence, and the readers of the kernel's flows. Commands reach it over
// the socket (package api).
//
// One goroutine owns all state; verbs and records come to it over channels.
// What is in force is in the kernel, not here: a daemon that is killed at any
// moment leaves the kernel as it is, an armed trial falls back by itself, and
// the next start finds out by looking.
package daemon
