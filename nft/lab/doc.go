// Package lab plays rulesets and packets in throw-away network
// namespaces: a gateway that holds the real bytes of a revision, an inside and
// an outside. It loads, arms, confirms, opens exceptions and rolls back as told
// by a Script, sends real packets between, and says which of them arrived and
// what the kernel held. It judges nothing.
//
// Run starts this program again in a user namespace of its own, without any
// right outside it, and kills it when the time is over. Nothing of the machine's
// own network is read or changed, and nothing is left behind.
package lab
