// Package plans reads a rollout plan: YAML in, a Plan or every mistake with
// file, line, column and a caret out. It knows the schema (draft-07), the
// plan's hash, and the examples that "weir init" writes. It does no I/O beyond
// the bytes that it is given, reads no clock, and never returns a Plan that has
// a mistake.
package plans
