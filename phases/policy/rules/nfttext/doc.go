// Package nfttext writes neutral rules as a ruleset for nft -f, and reads back
// what it wrote.
//
//	text, err := nfttext.Write(rs, "policy")
//	same, err := nfttext.Read("out.nft", text)
//
// The table is of the family inet and holds all chains with their hooks. A rule
// becomes as many rules of nft as are needed to say the same: one for each
// family, for each kind of protocol, for each wildcard of interfaces. A
// question that the header does not answer is written where nft has words for
// it; otherwise Write refuses and names the lines. Read understands this form
// only; nft's own lists are read as JSON by package nftjson.
//
// The package does no I/O.
package nfttext
