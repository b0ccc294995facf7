package plans

import (
	"fmt"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"
)

func berlin(t testing.TB) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func at(loc *time.Location, s string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", s, loc)
	if err != nil {
		panic(err)
	}
	return t
}

// TestInstants lists what a cron expression names, over the changes of clocks:
// in Berlin 2026-03-29 02:00 → 03:00 and 2026-10-25 03:00 → 02:00.
func TestInstants(t *testing.T) {
	loc := berlin(t)
	for _, tc := range []struct {
		name, cron, days, from, to string
		want                       []string
	}{
		{"second tuesday", "0 0 * * TUE", "8-14", "2026-01-01 00:00", "2026-04-01 00:00", []string{"2026-01-13T00:00+0100", "2026-02-10T00:00+0100", "2026-03-10T00:00+0100"}},
		{"quarter ends", "0 0 1 1,4,7,10 *", "", "2026-02-01 00:00", "2026-11-01 00:00", []string{"2026-04-01T00:00+0200", "2026-07-01T00:00+0200", "2026-10-01T00:00+0200"}},
		{"leap day", "0 12 29 2 *", "", "2026-01-01 00:00", "2033-01-01 00:00", []string{"2028-02-29T12:00+0100", "2032-02-29T12:00+0100"}},
		{"skipped in spring", "30 2 * * *", "", "2026-03-28 00:00", "2026-03-31 00:00", []string{"2026-03-28T02:30+0100", "2026-03-29T03:30+0200", "2026-03-30T02:30+0200"}},
		{"twice in autumn", "30 2 * * *", "", "2026-10-24 00:00", "2026-10-27 00:00", []string{"2026-10-24T02:30+0200", "2026-10-25T02:30+0200", "2026-10-26T02:30+0100"}},
		{"every hour in spring", "0 * * * *", "", "2026-03-29 01:00", "2026-03-29 05:00", []string{"2026-03-29T01:00+0100", "2026-03-29T03:00+0200", "2026-03-29T04:00+0200"}},
		{"every hour in autumn", "30 * * * *", "", "2026-10-25 01:00", "2026-10-25 04:00", []string{"2026-10-25T01:30+0200", "2026-10-25T02:30+0200", "2026-10-25T02:30+0100", "2026-10-25T03:30+0100"}},
		{"sunday is 0 and 7", "0 9 * * 0", "", "2026-03-01 00:00", "2026-03-09 00:00", []string{"2026-03-01T09:00+0100", "2026-03-08T09:00+0100"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in, f := parseCron(tc.cron, tc.days)
			if f != nil {
				t.Fatal(f.text)
			}
			var got []string
			in.each(loc, at(loc, tc.from), func(x time.Time) bool {
				if !x.Before(at(loc, tc.to)) {
					return false
				}
				got = append(got, x.Format("2006-01-02T15:04-0700"))
				return true
			})
			if fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("got  %v\nwant %v", got, tc.want)
			}
		})
	}
}

// TestInstantsLikeTheLibrary compares with the library's own schedule where
// the clocks do not change.
func TestInstantsLikeTheLibrary(t *testing.T) {
	field := func(lo, hi int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			switch rapid.IntRange(0, 3).Draw(t, "form") {
			case 0:
				return "*"
			case 1:
				return fmt.Sprintf("*/%d", rapid.IntRange(2, 9).Draw(t, "step"))
			case 2:
				a := rapid.IntRange(lo, hi).Draw(t, "a")
				return fmt.Sprintf("%d-%d", a, rapid.IntRange(a, hi).Draw(t, "b"))
			}
			return fmt.Sprint(rapid.IntRange(lo, hi).Draw(t, "v"))
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		dom, dow := "*", "*"
		if rapid.Bool().Draw(t, "weekly") {
			dow = field(0, 6).Draw(t, "dow")
		} else {
			dom = field(1, 28).Draw(t, "dom")
		}
		expr := fmt.Sprintf("%s %s %s %s %s", field(0, 59).Draw(t, "min"), field(0, 23).Draw(t, "hour"), dom, field(1, 12).Draw(t, "month"), dow)
		in, f := parseCron(expr, "")
		if f != nil {
			t.Fatalf("%s: %s", expr, f.text)
		}
		sched, err := cron.ParseStandard(expr)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Unix(rapid.Int64Range(0, 4_000_000_000).Draw(t, "from"), 0).UTC()
		want, n := from, 0
		in.each(time.UTC, from.Add(time.Second), func(x time.Time) bool {
			want = sched.Next(want)
			if !x.Equal(want) {
				t.Fatalf("%s from %s: instant %d is %s, the library says %s", expr, from, n, x, want)
			}
			n++
			return n < 50
		})
		if n != 50 {
			t.Fatalf("%s: only %d instants", expr, n)
		}
	})
}

func TestSpans(t *testing.T) {
	loc := berlin(t)
	quarter := Window{Cron: "0 0 1 1,4,7,10 *", Before: 72 * time.Hour, After: 72 * time.Hour}
	got := Spans(quarter, loc, at(loc, "2026-01-03 12:00"), at(loc, "2026-03-29 12:00"))
	if len(got) != 2 || !got[0].From.Equal(at(loc, "2025-12-29 00:00")) || !got[0].To.Equal(at(loc, "2026-01-04 00:00")) || !got[1].From.Equal(at(loc, "2026-03-28 23:00").Add(0)) {
		t.Errorf("spans that only touch the range at its ends: %v", got)
	}
	if got := Spans(quarter, loc, at(loc, "2026-01-04 00:00"), at(loc, "2026-03-28 00:00")); len(got) != 0 {
		t.Errorf("a span ends before its To: %v", got)
	}
	if got := Spans(Window{Cron: "bad", After: time.Hour}, loc, at(loc, "2026-01-01 00:00"), at(loc, "2026-02-01 00:00")); got != nil {
		t.Errorf("a bad cron has spans: %v", got)
	}
}

func TestWindows(t *testing.T) {
	loc := berlin(t)
	work := []Window{{Cron: "0 9 * * MON-THU", After: 6 * time.Hour}, {Cron: "0 8 * * FRI", Before: time.Hour, After: time.Hour}}
	for _, tc := range []struct {
		now, next, end string
		inside         bool
	}{
		{"2026-01-05 08:59", "2026-01-05 09:00", "", false}, // Monday
		{"2026-01-05 09:00", "2026-01-05 09:00", "2026-01-05 15:00", true},
		{"2026-01-05 14:59", "2026-01-05 14:59", "2026-01-05 15:00", true},
		{"2026-01-05 15:00", "2026-01-06 09:00", "", false},
		{"2026-01-08 16:00", "2026-01-09 07:00", "", false}, // before: 1h of Friday's
		{"2026-01-09 07:30", "2026-01-09 07:30", "2026-01-09 09:00", true},
		{"2026-01-09 09:00", "2026-01-12 09:00", "", false},
	} {
		now := at(loc, tc.now)
		if got := Inside(work, loc, now); got != tc.inside {
			t.Errorf("%s: Inside = %t", tc.now, got)
		}
		if got := Next(work, loc, now); !got.Equal(at(loc, tc.next)) {
			t.Errorf("%s: Next = %s, want %s", tc.now, got, tc.next)
		}
		end, ok := End(work, loc, now)
		if ok != tc.inside || ok && !end.Equal(at(loc, tc.end)) {
			t.Errorf("%s: End = %s, %t, want %s", tc.now, end, ok, tc.end)
		}
	}
	now := at(loc, "2026-01-01 00:00")
	if !Inside(nil, loc, now) || !Next(nil, loc, now).Equal(now) {
		t.Error("no windows must mean no limit")
	}
	always := []Window{{Cron: "* * * * *", After: time.Minute}}
	if end, ok := End(always, loc, now); !ok || end.Sub(now) < 30*24*time.Hour {
		t.Errorf("a window without an end ends at %s, %t", end, ok)
	}
}

func TestNextBlockingWaitsForTheFreezeToEnd(t *testing.T) {
	p := parseText(t, string(Example()))
	loc := p.Timezone
	for now, want := range map[string]string{
		"2026-12-14 10:00": "2026-12-14 10:00",
		"2026-12-14 15:00": "2027-01-11 09:00", // Friday 8th is no window, the freeze lasts until the 7th
		"2026-12-20 10:00": "2027-01-11 09:00",
		"2027-01-07 23:59": "2027-01-11 09:00",
	} {
		if got := p.NextBlocking(at(loc, now)); !got.Equal(at(loc, want)) {
			t.Errorf("from %s: %s, want %s", now, got, want)
		}
	}
	if f := p.Frozen(at(loc, "2027-01-07 23:59")); f == nil || f.Name != "year-end" {
		t.Errorf("the last day of a freeze is not frozen: %v", f)
	}
	if f := p.Frozen(at(loc, "2027-01-08 00:00")); f != nil {
		t.Errorf("the day after a freeze is frozen: %v", f)
	}
}

func TestExpiresAtTheEndOfTheDay(t *testing.T) {
	p := parseText(t, string(Example()))
	if got, want := p.Declared[0].Expires, at(p.Timezone, "2028-01-01 00:00"); !got.Equal(want) {
		t.Errorf("expires: 2027-12-31 ends %s, want %s", got, want)
	}
}

func TestNextInstant(t *testing.T) {
	loc := berlin(t)
	now := at(loc, "2026-01-05 07:00")
	if got, err := NextInstant("0 7 * * MON", loc, now); err != nil || !got.Equal(at(loc, "2026-01-12 07:00")) {
		t.Errorf("NextInstant at an instant = %s, %v", got, err)
	}
	if _, err := NextInstant("TZ=0", loc, now); err == nil {
		t.Error("a bad cron is no error")
	}
}

func BenchmarkSpansYear(b *testing.B) {
	loc := berlin(b)
	from := at(loc, "2026-01-01 00:00")
	for _, w := range []Window{{Cron: "0 0 * * TUE", DaysOfMonth: "8-14", After: time.Hour}, {Cron: "*/10 * * * *", After: time.Minute}} {
		b.Run("cron="+w.Cron, func(b *testing.B) {
			for b.Loop() {
				Spans(w, loc, from, from.AddDate(1, 0, 0))
			}
		})
	}
}
