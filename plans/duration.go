package plans

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// longestDuration bounds every duration in a plan.
const longestDuration = 10 * 366 * 24 * time.Hour

var units = []struct {
	letter byte
	length time.Duration
}{{'w', 7 * 24 * time.Hour}, {'d', 24 * time.Hour}, {'h', time.Hour}, {'m', time.Minute}, {'s', time.Second}}

// ParseDuration reads a duration of whole weeks, days, hours, minutes and
// seconds, the largest first: 90d, 72h, 1h30m, 0s. A day has 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	d, f := parseDuration(s)
	if f != nil {
		return 0, fmt.Errorf("cannot read duration: %s: %s", f.text, f.hint)
	}
	return d, nil
}

func parseDuration(s string) (time.Duration, *fault) {
	bad := func(hint string) (time.Duration, *fault) {
		return 0, &fault{fmt.Sprintf("%q is not a duration", clip(s)), hint}
	}
	if s == "" {
		return bad("write a number and a unit, as 72h")
	}
	var total time.Duration
	rest, next := s, 0
	for rest != "" {
		i := 0
		for i < len(rest) && rest[i] >= '0' && rest[i] <= '9' {
			i++
		}
		if i == 0 {
			return bad("write a number before each unit, as 72h or 1h30m")
		}
		if i == len(rest) {
			return bad(fmt.Sprintf("write a unit: %ss, %sm, %sh or %sd", s, s, s, s))
		}
		v, err := strconv.ParseInt(rest[:i], 10, 64)
		if err != nil || v > int64(longestDuration/time.Second) {
			return bad("write at most ten years")
		}
		u := unitAt(rest[i])
		if u < 0 || strings.HasPrefix(rest[i:], "ms") || strings.HasPrefix(rest[i:], "mo") {
			return bad("the units are s, m, h, d and w")
		}
		if u < next {
			return bad("write each unit once, the largest first, as 1d12h")
		}
		next = u + 1
		if v > int64(longestDuration/units[u].length) {
			return bad("write at most ten years")
		}
		if total += time.Duration(v) * units[u].length; total > longestDuration {
			return bad("write at most ten years")
		}
		rest = rest[i+1:]
	}
	return total, nil
}

func unitAt(c byte) int {
	for i, u := range units {
		if u.letter == c {
			return i
		}
	}
	return -1
}

// FormatDuration writes a duration so that ParseDuration reads it, in days,
// hours, minutes and seconds; what is below a second is rounded to it, and a
// negative duration gets a sign that ParseDuration refuses.
func FormatDuration(d time.Duration) string {
	d = d.Round(time.Second)
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	if d < 0 {
		b.WriteByte('-')
		d = -d
	}
	for _, u := range units[1:] {
		if n := d / u.length; n > 0 {
			fmt.Fprintf(&b, "%d%c", n, u.letter)
			d -= n * u.length
		}
	}
	return b.String()
}
