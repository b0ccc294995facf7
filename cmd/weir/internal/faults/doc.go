// Package faults breaks things on purpose: the machine is killed at each call of
// kernel, journal and files, the daemon by signals, disks fill up, databases
// rot, other people change the ruleset. A model says what must hold afterwards.
// It holds tests only; docs/reliability.md lists them.
package faults
