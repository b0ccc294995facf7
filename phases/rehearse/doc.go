// Package rehearse chooses packets by which a step is tried before it is armed,
// and judges what became of them. The judge reads what the step was compiled
// from, from top to bottom, and shares no code with the compiler; who played the
// packets, and where, it does not know.
//
// It does no I/O.
package rehearse
