package daemon

import (
	"time"

	"weir/phases"
	"weir/phases/enforce"
	"weir/phases/monitor"
)

// What is computed from the evidence costs a second at a hundred thousand flows,
// and the loop computes nothing else meanwhile: what nobody approves may be a
// moment old.

// statusAge is how old rows may be for a status or a gate that is only shown.
const statusAge = 2 * time.Second

// computed is what was computed from the evidence.
type computed struct {
	gen   uint64 // of the evidence
	plan  string
	at    time.Time
	rows  []monitor.Row
	said  int // answers
	held  *enforce.Held
	until time.Time
}

// rows returns the evidence by flow: of now, or where nothing came or age
// allows, as it was computed before.
func (d *Daemon) rows(now time.Time, age time.Duration) []monitor.Row {
	p := d.machine.Plan()
	c := &d.computed
	if c.rows == nil || c.plan != p.Hash || c.gen != d.gen && now.Sub(c.at).Abs() >= age {
		*c = computed{gen: d.gen, plan: p.Hash, at: now, rows: d.evidence.Rows(d.classes)}
	}
	return c.rows
}

// held returns what waits for a person, from rows of at most that age.
func (d *Daemon) held(now time.Time, age time.Duration) enforce.Held {
	p := d.machine.Plan()
	rows, upTo := d.rows(now, age), d.upTo(now)
	c := &d.computed
	if c.held == nil || c.said != len(d.answers) || c.until.Sub(upTo).Abs() > age {
		_, held := enforce.Build(&p, rows, d.answers, upTo)
		c.held, c.said, c.until = &held, len(d.answers), upTo
	}
	return *c.held
}

// frozenStep reads a frozen step, which never changes; the last one stays
// decoded.
func (d *Daemon) frozenStep(digest string) (phases.Frozen, error) {
	if d.lastFrozen.digest == digest && digest != "" {
		return d.lastFrozen.step, nil
	}
	f, err := d.machine.Frozen(digest)
	if err == nil {
		d.lastFrozen.digest, d.lastFrozen.step = digest, f
	}
	return f, err
}
