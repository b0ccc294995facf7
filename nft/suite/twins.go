package suite

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Twins takes two kernels through n random steps, the same for both, and fails
// where they answer or end differently. A failure prints the steps.
func Twins(t *testing.T, a, b Subject, seed uint64, n int) {
	r := rand.New(rand.NewPCG(seed, 0))
	twins := [2]*walk{{TB: t, Subject: a}, {TB: t, Subject: b}}
	var done []string
	for range n {
		for _, line := range draw(r, state(twins[0].look())) {
			done = append(done, line)
			var got [2]string
			for i, w := range twins {
				kind, err := w.do(strings.Fields(line))
				l := w.look()
				got[i] = fmt.Sprintf("%s; %s; %s %q; %v; %s", answer(err), state(l), l.Kind, l.Tx, l.Loaded, kind)
				w.left(line, l)
				w.Judge(t, decision(l))
			}
			if got[0] != got[1] || t.Failed() {
				t.Fatalf("seed %d:\n\t%s\none: %s\nother: %s", seed, strings.Join(done, "\n\t"), got[0], got[1])
			}
		}
	}
}

// answer is what callers can tell apart in an error.
func answer(err error) string {
	if err == nil {
		return "done"
	}
	for name, e := range sentinels {
		if errors.Is(err, e) {
			return name
		}
	}
	return "refused"
}

// draw makes one or two steps; most arm over what is stable.
func draw(r *rand.Rand, state string) []string {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	rev := func() string { return pick("a", "b", "a", "b", "c") }
	over := strings.TrimRight(strings.Fields(state)[0], ",")
	if over == "no" || r.IntN(4) == 0 {
		over = pick("-", "a", "b")
	}
	switch r.IntN(12) {
	case 0:
		return []string{"load " + pick("a", "b")}
	case 1, 2, 3:
		return []string{"arm " + rev() + " over " + over + pick("", " spare")}
	case 4, 5, 6:
		return []string{"confirm " + rev() + pick("", "", " spare", " nospare", " drop")}
	case 7:
		return []string{pick("rollback ", "send ") + pick("a", "b", "c", "-") + pick("", " alert")}
	case 8:
		return []string{"hold " + pick("a", "b", "c", "-") + pick("", " alert")}
	case 9:
		return []string{pick("back ", "unback ") + pick("desks", "desks", "nobody")}
	case 10:
		return []string{"arm " + pick("a", "b") + " over " + over + " brief", "lapse"}
	}
	return []string{"foreign"}
}
