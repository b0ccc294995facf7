// Package compile turns a policy and each group's treatment into an
// nft.Revision, a value, and writes the backout of a step as nft text. It is
// pure: equal input gives equal text, byte for byte, and the revision's ID is
// the digest of that text.
package compile
