package phases

import (
	"fmt"
	"strings"
	"testing"
)

// TestOpenings: what counts as an opening, of whom, and when it is over.
func TestOpenings(t *testing.T) {
	all := func(s State) string {
		var out []string
		for _, o := range s.Openings {
			text := fmt.Sprint(o.Kind, o.Groups)
			switch {
			case !o.End.IsZero():
				text += " ended"
			case !o.Settled.IsZero():
				text += " settled"
			}
			out = append(out, text)
		}
		return strings.Join(out, ", ")
	}
	for _, row := range []struct{ do, want string }{
		{"to:enforce/block:desks", ""},
		{"to:enforce/block:desks back", "rollback[desks]"},
		{"to:enforce/block:desks back resume to:enforce/block:desks", "rollback[desks] ended"},
		{"to:enforce/block:desks back:off", "rollback[cameras desks]"},
		{"to:enforce/block:desks back:enforce/alert resume to:enforce/block:cameras", "rollback[cameras desks] settled"},
		{"to:enforce/block:desks group:cameras", "group[cameras]"},
		{"to:enforce/block:desks group:cameras back:off", "group[cameras], rollback[desks]"},
		{"to:enforce/alert group:cameras", ""},
		{"to:enforce/block:desks group:cameras resume req ok:ben ok:cleo arm yes", "group[cameras] ended"},
		{"to:enforce/block:desks req ok:ben ok:cleo group:cameras resume arm yes", "group[cameras]"}, // after the step was frozen: it stays back
		{"to:enforce/alert req ok:ben ok:cleo arm", ""},
		{"to:enforce/alert req ok:ben ok:cleo arm wait:11m look", "lapse[cameras]"},
		{"to:enforce/alert req ok:ben ok:cleo arm wait:11m to:enforce/block:cameras", "lapse[cameras] ended"},
		{"to:enforce/alert req ok:ben ok:cleo arm back", "rollback[cameras]"},
		{"to:enforce/alert req ok:ben ok:cleo arm hand", "foreign[cameras]"},
		{"to:enforce/block:cameras req ok:ben ok:cleo arm wait:11m look", "lapse[desks]"}, // the pilot's share
		{"to:enforce/block:desks delete look", "foreign[cameras desks]"},
		{"to:enforce/block:desks delete look restore", "foreign[cameras desks] ended"},
		{"to:enforce/block:desks reboot look", "reboot[cameras desks]"},
		{"to:enforce/block:desks reboot restart", "reboot[cameras desks]"},
		{"to:enforce/block:desks group:desks resume reboot look restore", "group[desks], reboot[cameras desks]"}, // desks comes back in alert
		{"to:enforce/block:desks hand:off look", "foreign[cameras desks]"},
		{"to:enforce/block:desks remove", "removed[cameras desks]"},
		{"to:enforce/block:cameras req ok:ben ok:cleo arm delete look restore", "lapse[desks], foreign[cameras] ended"},
	} {
		s := newScript(t)
		s.run("apply:p drill " + row.do)
		if got := all(s.m.State()); got != row.want {
			t.Errorf("%s\ngot  %s\nwant %s", row.do, got, row.want)
		}
		restarted := Fold(must(s.m.History()))
		if again := all(restarted); again != all(s.m.State()) {
			t.Errorf("%s: another process says %s", row.do, again)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
