package daemon

import (
	"context"
	"fmt"
	"time"

	"weir/phases"
	"weir/plans"
)

// report writes what watch.report asks for, at its instants: how many questions
// and findings wait, into the journal and the log. Nobody reads a list that is
// not short; the list itself is "weir findings".
func (d *Daemon) report(ctx context.Context, now time.Time) error {
	p := d.machine.Plan()
	if p.Watch.Report == "" {
		return nil
	}
	if d.reportAt.IsZero() {
		var err error
		d.reportAt, err = plans.NextInstant(p.Watch.Report, p.Timezone, now)
		return err
	}
	if now.Before(d.reportAt) {
		return nil
	}
	d.reportAt = time.Time{}
	questions := 0
	for _, l := range append(d.openLines(now), d.heldLines(now)...) {
		if l.Answer == nil {
			questions++
		}
	}
	notes, err := d.findings(ctx, caller{phases.Self, now}, None{})
	if err != nil {
		return err
	}
	step, _, _, _ := d.machine.State().Current()
	words := fmt.Sprintf("report: %s in force, %d questions and %d findings wait: weir findings", step, questions, len(notes))
	d.log.Info(words)
	return d.machine.Note(ctx, now, phases.Self, phases.Noted, phases.Record{Words: words})
}
