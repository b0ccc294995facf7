// Package enforce turns evidence into a policy: what was active and answered,
// what is declared, and what a person said is needed, at the granularity that
// each group chooses. What it does not allow it lists with the reason: rare,
// guessed, one-way, many ports, undeclared, unassigned, never, refused. It also
// reads what the rules of a step would have denied, from the kernel's log and
// from a census of the live connections, as questions to a person.
//
// It never drops anything silently, does no I/O and reads no clock.
package enforce
