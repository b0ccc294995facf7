package monitor

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// Days is a set of calendar days, counted in the plan's time zone. The zero
// value is the empty set. In JSON it is a list of days and of ranges with both
// ends: ["2026-11-02", "2026-11-05/2026-11-09"].
type Days struct {
	base int32 // day of the first bit; a multiple of 64
	bits []uint64
}

// DayOf returns the number of the calendar day of t in a zone; day 0 is
// 1970-01-01.
func DayOf(t time.Time, zone *time.Location) int32 {
	y, m, d := t.In(zone).Date()
	return int32(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// DayBounds returns when a day begins in a zone, and when the next one does.
func DayBounds(day int32, zone *time.Location) (from, to time.Time) {
	y, m, d := time.Unix(int64(day)*86400, 0).UTC().Date()
	return time.Date(y, m, d, 0, 0, 0, 0, zone), time.Date(y, m, d+1, 0, 0, 0, 0, zone)
}

func floor64(day int32) int32 { return day &^ 63 }

// Add puts a day into the set.
func (d *Days) Add(day int32) {
	at := floor64(day)
	d.cover(at, at)
	d.bits[(at-d.base)/64] |= 1 << uint(day-at)
}

// cover makes room for the words that begin with days lo to hi.
func (d *Days) cover(lo, hi int32) {
	if len(d.bits) == 0 {
		d.base = lo
		d.bits = make([]uint64, (hi-lo)/64+1)
		return
	}
	if lo < d.base {
		d.bits = append(make([]uint64, (d.base-lo)/64), d.bits...)
		d.base = lo
	}
	if n := int((hi-d.base)/64) + 1; n > len(d.bits) {
		d.bits = append(d.bits, make([]uint64, n-len(d.bits))...)
	}
}

// Union adds every day of o.
func (d *Days) Union(o Days) {
	if len(o.bits) == 0 {
		return
	}
	d.cover(o.base, o.base+int32(len(o.bits)-1)*64)
	at := (o.base - d.base) / 64
	for i, w := range o.bits {
		d.bits[int(at)+i] |= w
	}
}

// Clone returns a set of its own.
func (d Days) Clone() Days {
	return Days{d.base, append([]uint64(nil), d.bits...)}
}

// Len returns how many days are in the set.
func (d Days) Len() int {
	n := 0
	for _, w := range d.bits {
		n += bits.OnesCount64(w)
	}
	return n
}

// Has says whether a day is in the set.
func (d Days) Has(day int32) bool {
	i := int64(floor64(day)-d.base) / 64
	return len(d.bits) > 0 && day >= d.base && i < int64(len(d.bits)) && d.bits[i]&(1<<uint(day&63)) != 0
}

// List returns the days in order.
func (d Days) List() []int32 {
	var out []int32
	for i, w := range d.bits {
		for ; w != 0; w &= w - 1 {
			out = append(out, d.base+int32(i)*64+int32(bits.TrailingZeros64(w)))
		}
	}
	return out
}

const dayLayout = "2006-01-02"

func dayText(day int32) string { return time.Unix(int64(day)*86400, 0).UTC().Format(dayLayout) }

func parseDay(s string) (int32, error) {
	t, err := time.Parse(dayLayout, s)
	if err != nil || t.Year() < 1970 || t.Year() > 2200 {
		return 0, fmt.Errorf("cannot read day %q: want a date such as 2026-11-02", s)
	}
	return int32(t.Unix() / 86400), nil
}

// MarshalJSON writes the days as text.
func (d Days) MarshalJSON() ([]byte, error) {
	out := []string{}
	list := d.List()
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		text := dayText(list[i])
		if j > i {
			text += "/" + dayText(list[j])
		}
		out = append(out, text)
		i = j + 1
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *Days) UnmarshalJSON(b []byte) error {
	var texts []string
	if err := json.Unmarshal(b, &texts); err != nil {
		return fmt.Errorf("cannot read days: %w", err)
	}
	*d = Days{}
	for _, text := range texts {
		from, to, isRange := strings.Cut(text, "/")
		if !isRange {
			to = from
		}
		lo, err := parseDay(from)
		if err != nil {
			return err
		}
		hi, err := parseDay(to)
		if err != nil {
			return err
		}
		if lo > hi {
			return fmt.Errorf("cannot read days %q: the range runs backwards", text)
		}
		for day := lo; day <= hi; day++ {
			d.Add(day)
		}
	}
	return nil
}
