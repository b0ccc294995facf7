// Package eval decides one packet by ruleset values, without a kernel: the
// verdict, the chains that the packet went through, the rule and the element
// that decided, the named counters and the logs that it touched. It opens no
// socket.
//
// What it knows is nft's values. No packet is over a rate limit, and a set
// operation always succeeds. Timeouts do not run: an element that is there
// counts.
package eval
