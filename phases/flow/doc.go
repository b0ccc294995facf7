// Package flow is weir's vocabulary: protocols, services, families and flows,
// and their text both ways. It imports only the standard library, holds no
// state and may be imported by every other package.
//
// Everything that goes to disk or wire is text; the zero value of each type is
// invalid and prints as "".
package flow
