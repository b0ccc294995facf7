// Package iptables reads what iptables-save and ip6tables-save print into
// neutral rules.
//
//	rs, err := iptables.Read("fw.save", text, flow.IPv4)
//
// Chains of the filter table keep their names, those of other tables are named
// "table:CHAIN". A match that the header does not decide, or that the reader
// does not know, becomes a test with the text as written; an unknown target
// becomes two tests, "accepts" and "drops", and a note. A line that cannot be
// read at all is an error with its number. Nothing is ignored.
//
// The package does no I/O.
package iptables
