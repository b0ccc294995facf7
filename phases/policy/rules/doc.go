// Package rules is the neutral form of a packet filter's rules, whatever
// program they were written for: chains of rules that are tried in order, each
// a match over the header's dimensions and an action. Readers of iptables-save
// and of nftables produce it; packages diagram and infer work on it.
//
//	rs, err := iptables.Read("fw.save", text) // or another reader
//	flat, err := rules.Flatten(rs, "FORWARD") // one first-match list
//	v, err := rules.Decide(rs, "FORWARD", p)  // what happens to one packet
//
// Decide is a naive interpreter: it walks the rules one after another and
// shares no code with the diagrams, so it is the oracle of their tests.
//
// # For writers of readers
//
// A reader fills Ruleset.Chains in the order of its text, with File, Line and
// Text of every rule, so that each answer leads back to a line. Every slice of
// a Match is a conjunction: all its elements must hold, none means anything
// goes. A rule that a reader must split (a list of ports with a list of
// protocols, a map) becomes several rules with the same Line and Text. What the
// header does not decide is a Test, with the text as written. What a reader
// does not understand goes into Ruleset.Notes, and its rule gets a Test, never
// a wider or narrower match.
//
// The package does no I/O and keeps no state.
package rules
