// Package infer turns filter rules into the policy that they amount to: few
// allow rules without priorities, over classes of hosts and services that
// behave alike, proven to allow the same packets.
//
//	res, err := infer.Infer(rs, "FORWARD")       // what the chain amounts to
//	res.Text(w)                                  // "tcp FROM … TO … FOR …"
//	m, err := infer.MatrixOf(rs, "FORWARD", svc) // classes, and who reaches whom
//	d, err := infer.Compare(a, b, "FORWARD", "FORWARD") // what only one of two allows, with examples
//	q, err := infer.Query(rs, "FORWARD", match)  // which part of a question is allowed
//	r, err := infer.Inspect(rs, "FORWARD")       // rules that do nothing
//	p, n, err := infer.Roles(pairs)              // roles of users and permissions
//
// Rulesets whose interfaces stand for source networks become simpler with
// rules.Zones.Sources before. Result.Policy.Ruleset gives neutral rules again,
// for writers and for Compare.
//
// Steps: flatten; decision diagram; values of each dimension with equal
// cofactors are one class; cover the allowed cells with boxes, forced ones
// first, so that the count is proven minimal where it says so; write each box
// with the fewest items. The rules are then built again and must be the
// identical diagram, else Infer fails. IPv4 and IPv6 are covered apart and the
// rules of both joined where only the addresses differ.
//
// What the header does not decide is kept apart: each region whose outcome
// depends on tests has rules of its own with the condition as written, never
// merged with what is certain.
//
// The idea of inferring policies from rules, the form of the text and the
// measure of complexity are from Tongaonkar, Inamdar and Sekar, "Inferring
// Higher Level Policies from Firewall Rules" (LISA '07).
//
// The package does no I/O; its functions may be called concurrently.
package infer
