// Package expect asks a policy what a plan's tests want of it, and names the
// packet and the rule where the answer is another one. It compares sets of
// packets, not samples: a test that holds, holds for each of its packets. It
// does no I/O, and it says nothing of exceptions, which are outside every
// policy.
package expect

import (
	"fmt"
	"strings"

	"weir/plans"
)

// Verdict is what became of a test.
type Verdict string

// The verdicts; the zero value is invalid.
const (
	Holds   Verdict = "holds"
	Fails   Verdict = "fails"
	Depends Verdict = "depends on evidence" // the plan alone does not say
)

// Result is a test with its verdict. Where it fails, the rest says by what
// packet; where it depends, Group is the first group that allows what is seen.
type Result struct {
	Test    plans.Test `json:"-"`
	Verdict Verdict    `json:"verdict"`
	Group   string     `json:"group,omitempty"`
	Packet  string     `json:"packet,omitempty"` // "10.20.40.10 -> 198.51.100.80 tcp/443"
	By      string     `json:"by,omitempty"`     // the rule that decides, or that none does
	At      plans.Pos  `json:"-"`                // where that rule stands in the plan; zero: it does not
}

// String is the result without the test's own place.
func (r Result) String() string {
	switch r.Verdict {
	case Holds:
		return "holds"
	case Depends:
		return "depends on evidence: " + r.Group + " may do what was observed"
	}
	is := "allowed"
	if r.Test.Allowed {
		is = "denied"
	}
	by := r.By
	if r.At.Line > 0 {
		by += fmt.Sprintf(" (%s:%d)", r.At.File, r.At.Line)
	}
	return fmt.Sprintf("expected %s, but %s (%s) is %s: %s", r.Test.Expect(), r.Packet, r.Group, is, by)
}

// Failures lists the tests that fail in words, each with its place.
func Failures(list []Result) (out []string) {
	for _, r := range list {
		if r.Verdict == Fails {
			out = append(out, fmt.Sprintf("%s:%d: %s", r.Test.Pos.File, r.Test.Pos.Line, r))
		}
	}
	return out
}

// Words sums results up: "3 tests hold".
func Words(list []Result) string {
	count := map[Verdict]int{}
	for _, r := range list {
		count[r.Verdict]++
	}
	var out []string
	for _, v := range []Verdict{Fails, Depends, Holds} {
		switch n := count[v]; {
		case n == 0:
		case v == Holds && n > 1:
			out = append(out, fmt.Sprintf("%d hold", n))
		case v == Fails && n > 1:
			out = append(out, fmt.Sprintf("%d fail", n))
		case v == Depends && n > 1:
			out = append(out, fmt.Sprintf("%d depend on evidence", n))
		default:
			out = append(out, fmt.Sprintf("%d %s", n, v))
		}
	}
	return "tests: " + strings.Join(out, ", ")
}
