package daemon

import (
	"sync/atomic"
	"time"

	"weir/phases"
)

// clock is rollout time: the wall's, but always after the newest record of the
// journal. A wall clock that was set back would otherwise date what is seen now
// before the step that is being judged by it, and a flow that alert mode found
// would pass for one that was there before. While the wall is behind, time
// stands still: gates that count it wait. Its methods may be called from every
// goroutine.
type clock struct {
	wall   func() time.Time
	newest atomic.Pointer[time.Time] // nil: the journal is empty
}

func (c *clock) now() time.Time {
	now := c.wall()
	if n := c.newest.Load(); n != nil && !now.After(*n) {
		return n.Add(time.Nanosecond)
	}
	return now
}

// date turns a time that the kernel stamped into rollout time: it goes by the
// wall too, so that while the wall is behind, so are its stamps.
func (c *clock) date(t time.Time) time.Time {
	if now := c.now(); c.behind() > 0 && t.Before(now) {
		return now
	}
	return t
}

// behind is how far the wall is behind the newest record; 0: it is not.
func (c *clock) behind() time.Duration {
	if n := c.newest.Load(); n != nil {
		return max(0, n.Sub(c.wall()))
	}
	return 0
}

func (c *clock) notBefore(t time.Time) {
	for {
		n := c.newest.Load()
		if n != nil && !t.After(*n) || c.newest.CompareAndSwap(n, &t) {
			return
		}
	}
}

// dated is a journal that tells a clock the times of its records.
type dated struct {
	phases.Journal
	clock *clock
}

func (j dated) Append(r phases.Record) (phases.Record, error) {
	r, err := j.Journal.Append(r)
	if err == nil {
		j.clock.notBefore(r.At)
	}
	return r, err
}

func (j dated) Records() ([]phases.Record, error) {
	all, err := j.Journal.Records()
	for _, r := range all {
		j.clock.notBefore(r.At)
	}
	return all, err
}
