// Package bench measures what weir costs: per packet, per connection while it
// observes, and per command. It holds benchmarks only; docs/benchmarks.md says
// what each figure means and what it should be.
//
//	go test -run '^$' -bench . ./cmd/weir/internal/bench
package bench
