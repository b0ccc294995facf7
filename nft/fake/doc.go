// Package fake is the kernel's part of weir in memory: the same maps, the same
// transactions, all or nothing, with a clock that the caller passes in. It
// decides no packets, but says which revision would.
//
// A call can be made to fail before it is applied, or after it. The package
// never talks to the kernel. The suite in nft/suite holds it and nft/kernel to
// the same behaviour.
package fake
