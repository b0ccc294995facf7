package daemon

import (
	"testing"
	"time"

	"weir/phases"
)

type memory []phases.Record

func (m *memory) Append(r phases.Record) (phases.Record, error) {
	*m = append(*m, r)
	return r, nil
}

func (m *memory) Records() ([]phases.Record, error) { return *m, nil }

// Rollout time comes after every record, whatever the wall says, and goes by
// the wall again once that has caught up.
func TestRolloutTimeNeverGoesBack(t *testing.T) {
	begin := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	wall := begin
	c := &clock{wall: func() time.Time { return wall }}
	if !c.now().Equal(begin) || c.behind() != 0 {
		t.Errorf("without records it is %v, %v behind", c.now(), c.behind())
	}
	j := dated{&memory{}, c}
	var last time.Time
	for _, step := range []time.Duration{0, time.Hour, -24 * time.Hour, time.Minute, time.Minute, 48 * time.Hour} {
		wall = wall.Add(step)
		r, err := j.Append(phases.Record{At: c.now()})
		if err != nil {
			t.Fatal(err)
		}
		if !r.At.After(last) {
			t.Errorf("a record of %v follows one of %v", r.At, last)
		}
		last = r.At
		if seen := c.now(); !seen.After(last) {
			t.Errorf("what is seen after the record of %v is dated %v", last, seen)
		}
		if stamp := wall; c.behind() > 0 && !c.date(stamp).After(last) {
			t.Errorf("what the kernel stamped %v is dated %v, before the record of %v", stamp, c.date(stamp), last)
		} else if c.behind() == 0 && !c.date(stamp.Add(-time.Hour)).Equal(stamp.Add(-time.Hour)) {
			t.Errorf("a stamp of the hour before is dated %v", c.date(stamp.Add(-time.Hour)))
		}
	}
	wall = wall.Add(time.Second)
	if !c.now().Equal(wall) || c.behind() != 0 {
		t.Errorf("the wall has caught up and says %v, rollout time is %v, %v behind", wall, c.now(), c.behind())
	}
	// The next process reads the journal and knows it too.
	wall = wall.Add(-time.Hour)
	next := &clock{wall: c.wall}
	if _, err := (dated{j.Journal, next}).Records(); err != nil {
		t.Fatal(err)
	}
	if !next.now().After(last) || next.behind() < 59*time.Minute {
		t.Errorf("after a start it is %v, %v behind", next.now(), next.behind())
	}
}
