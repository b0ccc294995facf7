// Package suggest generalises from flows: from who was seen reaching what it
// proposes classes of endpoints that behave alike, rules for each class, and
// what is left over as exceptions, for a person to judge. The plan's groups come
// first: a class never spans two of them.
//
// Generalising is always widening. So everything that a proposal allows beyond
// what was seen is counted, in combinations of endpoint, service and
// destination, and so is how much of what it allows was ever used. The package
// changes no plan and does no I/O. The same observations give the same proposal
// in whatever order they come.
package suggest
