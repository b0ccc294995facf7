// Package finding holds what a person should look at: a would-be-denied flow, a
// changed device, a loss, a deviation. It is one type for all of them, with a
// fingerprint that stays the same for the same question however often it comes
// and from however many endpoints.
//
// It does no I/O, reads no clock and decides nothing: who answered what is
// carried, never judged, here.
package finding
