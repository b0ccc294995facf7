package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/notify"
	"weir/phases"
	"weir/phases/flow"
	"weir/phases/health"
	"weir/plans"
)

// A step that narrows somebody is judged from arming to the end of its soak. On
// trial, bad ends it at once; in the soak it is told, and where the plan says so
// the groups go back to alert.

// wellness is what the step that is judged now is judged by.
type wellness struct {
	digest  string
	since   time.Time
	known   *health.Known
	losses  []health.Loss
	denials uint64 // of the daemon, when losses was made
	told    bool   // that it is bad, in the soak
}

// watchWell begins to judge a step: what endpoints had an answer from is read
// once.
func (d *Daemon) watchWell(w phases.Watched, now time.Time) error {
	if d.well.digest == w.Digest && (!w.Trial || d.well.since.Equal(w.Since)) {
		return nil
	}
	f, err := d.frozenStep(w.Digest)
	if err != nil {
		return err
	}
	var links []netip.Prefix
	if m := f.Input.Links; len(m) > 0 {
		links = m
	}
	d.well = wellness{digest: w.Digest, since: w.Since, known: health.NewKnown(d.rows(now, statusAge), f.Input.Policy, f.At, w.Since, links), denials: ^uint64(0)}
	return nil
}

// judgeWell says how the step that is judged now does; false where none is.
func (d *Daemon) judgeWell(now time.Time) (phases.Watched, health.Judgement, bool, error) {
	w, ok := d.machine.Watched(now)
	if !ok {
		d.well = wellness{}
		return w, health.Judgement{}, false, nil
	}
	if err := d.watchWell(w, now); err != nil {
		return w, health.Judgement{}, false, err
	}
	if d.well.denials != d.denials {
		d.well.losses, d.well.denials = d.well.known.Losses(d.evidence.Judged()), d.denials
	}
	e := health.Evidence{Armed: d.well.since, Groups: w.Head.Step.Narrows, Probes: d.prober.Latest(), Losses: d.well.losses, Lost: d.machine.Plan().Health.Lost}
	if d.readers == nil {
		e.Blind = "nothing is observed"
	}
	for _, g := range d.evidence.Gaps(d.well.since, now) {
		if g.Lost > 0 {
			e.Blind = fmt.Sprintf("%d log lines or events were lost since it was armed", g.Lost)
		}
	}
	return w, health.Judge(e), true, nil
}

// keepWell acts on what is bad.
func (d *Daemon) keepWell(ctx context.Context, now time.Time) error {
	w, j, ok, err := d.judgeWell(now)
	if err != nil || !ok {
		return err
	}
	switch {
	case j.Verdict != health.Bad:
		if d.well.told && j.Verdict == health.Good {
			d.well.told = false
			d.notify.Tell(notify.Message{Severity: notify.Warning, Kind: notify.Health, At: now, Step: w.Head.Step.Name, Words: w.Head.Step.Name + " is well again"})
		}
		return nil
	case w.Trial:
		return d.unwell(ctx, now, w, j)
	case d.well.told:
		return nil
	}
	d.well.told = true
	words := fmt.Sprintf("%s does harm after it was confirmed: %s", w.Head.Step.Name, strings.Join(j.Words, "; "))
	m := notify.Message{Severity: notify.Page, Kind: notify.Health, At: now, Step: w.Head.Step.Name, Words: words, Command: "weir rollback", Lines: lossLines(d.well.losses)}
	if d.machine.Plan().Health.OnBad != plans.BadBack {
		d.notify.Tell(m)
		return nil
	}
	var errs []error
	for _, g := range j.Groups {
		errs = append(errs, d.machine.UnwellGroup(ctx, now, g, strings.Join(j.Words, "; ")))
	}
	m.Words += fmt.Sprintf("; put back to alert: %v", j.Groups)
	m.Command = "weir resume"
	d.notify.Tell(m)
	d.noteOpenings()
	return errors.Join(errs...)
}

// unwell ends a trial that does harm.
func (d *Daemon) unwell(ctx context.Context, now time.Time, w phases.Watched, j health.Judgement) error {
	why := strings.Join(j.Words, "; ")
	err := d.machine.Unwell(ctx, now, why)
	m := notify.Message{Severity: notify.Page, Kind: notify.Health, At: now, Step: w.Head.Step.Name, Command: "weir resume",
		Words: fmt.Sprintf("%s did harm on trial and was rolled back: %s", w.Head.Step.Name, why), Lines: lossLines(d.well.losses)}
	if err != nil {
		m.Words = fmt.Sprintf("%s does harm on trial and COULD NOT BE ROLLED BACK (%s): %s", w.Head.Step.Name, err, why)
		m.Command = "weir rollback"
	}
	d.notify.Tell(m)
	d.noteOpenings()
	return err
}

func lossLines(losses []health.Loss) []string {
	var out []string
	for _, l := range losses {
		if !l.Foreseen {
			out = append(out, fmt.Sprintf("%s %s lost %s %s", l.Group, l.Flow.Client, l.Flow.Server, l.Flow.Service()))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// mayConfirm is nil where a trial that narrows somebody is known to do no harm.
func (d *Daemon) mayConfirm(ctx context.Context, now time.Time) error {
	if _, err := d.recover(ctx, now); err != nil {
		return err
	}
	w, j, ok, err := d.judgeWell(now)
	switch {
	case err != nil:
		return fmt.Errorf("cannot confirm: %w: %w", phases.ErrUnsure, err)
	case !ok || !w.Trial || j.Verdict == health.Good:
		return nil
	case j.Verdict == health.Bad:
		if err := d.unwell(ctx, now, w, j); err != nil {
			return err
		}
		return nil // the confirm finds out, and says why
	}
	return fmt.Errorf("cannot confirm: %w: %s", phases.ErrUnsure, strings.Join(j.Words, "; "))
}

// countDenial notes that something was denied.
func (d *Daemon) countDenial(r flow.Record) {
	if r.Verdict == flow.Denied || r.Verdict == flow.Captured {
		d.denials++
	}
}

// wellText is what a status says of health.
func (d *Daemon) wellText(now time.Time) *api.Health {
	probes := d.prober.Latest()
	w, j, ok, err := d.judgeWell(now)
	if !ok && err == nil && len(probes) == 0 {
		return nil
	}
	out := &api.Health{Probes: probes}
	if ok {
		out.Step, out.Since, out.Judgement = w.Head.Step.Name, d.well.since, &j
		if f := w.Head.Forecast; f != nil {
			out.Forecast = *f
		}
	}
	if err != nil {
		out.Judgement = &health.Judgement{Verdict: health.CannotTell, Words: []string{err.Error()}}
	}
	return out
}
