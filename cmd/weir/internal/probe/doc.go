// Package probe tries what a plan's health depends on: always by a new
// connection from this machine, again and again, whether a step is on trial or
// not, so that what failed before is known. It decides nothing.
//
// Answers are never shown: of a web server only the status, of a resolver only
// whether it answered.
package probe
