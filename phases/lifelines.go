package phases

import (
	"fmt"
	"slices"
	"strings"

	"weir/phases/compile"
	"weir/phases/rehearse"
)

// contradicted refuses a step under which the plan denies what this machine
// depends on. own are the machine's lifelines, which stand last in the input.
func contradicted(in compile.Input, own []compile.Lifeline) error {
	in.Lifelines = in.Lifelines[:len(in.Lifelines)-len(own)]
	if bad := rehearse.Contradictions(in, own); len(bad) > 0 {
		return fmt.Errorf("%w: %s", ErrCuts, strings.Join(bad, "; "))
	}
	return nil
}

// ended lists what a frozen step held open and the machine does not need now.
// What was added since voids nothing: it is held open beside the step. now nil:
// not known.
func ended(frozen, now []string) []string {
	if now == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(frozen), func(l string) bool { return slices.Contains(now, l) })
}
