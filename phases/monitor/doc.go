// Package monitor turns flow records into evidence: who talked to whom about
// what, on which days, how often, how much, and how much of the time was really
// observed. It answers the reports of the first phase from it.
//
// Evidence is a sum that does not depend on the order in which records arrive.
// Connections are told apart by connection tracking's id and tuple, so a
// connection that many dumps saw counts once and its bytes count once. What was
// seen while a gate stood open is kept apart from normal traffic, by the
// opening. Groups are not part of the evidence: they are looked up when it is
// read, so a changed plan reads the same evidence differently.
//
// It never decides what is allowed, does no I/O and reads no clock.
package monitor
