// Package nftjson reads what "nft -j list ruleset" prints into neutral rules.
//
//	rs, err := nftjson.Read("live", text)
//
// A chain keeps its name where no other table has one of the same; otherwise it
// is named "family table chain". Tables of other families than ip, ip6 and inet
// are named in a note and left aside. A rule that looks into concatenated sets
// or verdict maps becomes several rules with the same line. What the header
// does not decide becomes a test; a statement that is not known becomes two
// tests, "accepts" and "drops", and a note. Nothing is ignored.
//
// Rules have no lines of their own where the JSON is one line: then their place
// in the list, from 1, stands for it.
//
// The package does no I/O.
package nftjson
