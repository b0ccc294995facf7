// Package diagram holds sets of packets, and functions from packets to
// outcomes, as canonical interval decision diagrams: two that are equal are the
// same number.
//
//	flat, _ := rules.Flatten(rs, "FORWARD")
//	space, err := diagram.NewSpace(flat)         // numbers the atoms of each dimension
//	f := diagram.NewForest(0)
//	n, err := space.Build(f, flat, diagram.Outcomes)
//	t := f.At(n, space.Locate(packet))           // Accepted, Denied, Outside …
//
// The dimensions lie in a fixed order; each is cut into atoms, the intervals
// that no rule tells apart, so IPv4 and IPv6 cost the same. A node has an edge
// for each run of atoms with the same child; equal nodes are shared, a node
// with one edge is left out. A list of rules becomes a diagram by divide and
// conquer: First(A, B) is A where A says something, else B. Questions that the
// header does not answer are dimensions of two atoms, after all others.
//
// A Forest's memory is bounded: an operation that would need more edges fails
// with ErrTooLarge. Keep frees all that is not reachable from what is kept.
//
// The idea of interval decision diagrams for filters is from Gouda and Liu,
// "Firewall Design: Consistency, Completeness, and Compactness" (ICDCS '04);
// sharing and canonicity are those of Bryant's BDDs.
//
// A Forest is not for concurrent use. The package does no I/O.
package diagram
