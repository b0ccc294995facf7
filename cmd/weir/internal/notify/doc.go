// Package notify tells people that they are needed: in the daemon's journal,
// which always hears everything, and by the webhooks that the plan names.
//
// Tell never waits and never fails: each webhook has a queue of its own and a
// goroutine that sends from it, tries again, and counts what is lost. It keeps
// nothing on disk: what was not delivered when the daemon ends is lost, and what
// goes on (an open gate) is told again by the next one.
//
// What comes from the network or from a person is escaped before it leaves. A
// secret is read from its file for each message; it stands in no plan, no log and
// no error.
package notify
