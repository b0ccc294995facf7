// Package policy holds what may leave: default deny, and allow rules without
// priorities. It answers three questions of it, Allows, Equal and Diff, over
// sets of packets. It does no I/O.
package policy
