// Package boot brings the confirmed step back when the machine was started
// again, before its network comes up: from the boot snapshot, with no daemon and
// no database. It never guesses: what cannot be verified is not loaded, and then
// everything passes and it says so, on stderr, in the kernel's log, by its exit
// code, and in a report that the daemon reads.
//
// It knows the two ways to switch weir off, and holds the units that start it.
package boot
