// Package nft holds nftables rulesets as values: sets, maps, chains, rules and
// statements that print as nft text, are read back from it, and have a digest.
// It opens no socket and knows no netlink; nft/kernel does.
//
// A value of this package says everything about what the kernel will hold:
// two rulesets with equal text are equal rulesets.
package nft
