package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/cmd/weir/internal/notify"
	"weir/nft"
	"weir/nft/host"
	"weir/nft/kernel"
	"weir/phases"
	"weir/plans"
)

// The kernel tells every transaction in this namespace when it is done, and who
// sent it. Each that is not this process's own is followed by a comparison of
// the table with what was recorded. What differs is drift; what the kernel told
// meanwhile says whose it is. Where a message was lost, and every so often
// anyhow, everything is compared.

const (
	compareEvery = 10 * time.Minute       // everything, whatever the kernel told
	compareShare = 20                     // comparing elements takes at most one part in this many of the time
	quickShare   = 5                      // and comparing the rest one part in this many
	toldWithin   = 200 * time.Millisecond // a transaction that was seen is told by then
)

// driftWatch is what the loop knows of changes by others. missed may be set from
// anywhere, the rest is the loop's.
type driftWatch struct {
	commits chan commit
	ended   chan struct{} // the listener is closed; nil: it never began
	missed  atomic.Bool   // a message was lost: somebody changed something

	begun  time.Time // of this daemon, rollout time
	blind  string    // why the last comparison could not be made; "" it was
	want   *kernel.Want
	wantOf string // what it was made of
	told   uint32 // newest generation that the kernel told
	calm   uint32 // generation at which nothing differed
	calmAt time.Time
	others []commit      // by other processes, after calm
	done   uint32        // generation that was compared last
	whole  time.Time     // every element was compared
	took   time.Duration // that
	owed   bool          // elements are to be compared
	quick  time.Time     // the rest was compared
	brief  time.Duration // that
	paged  string        // what was told last, so that it is told once
}

// commit is a transaction with what was found out about its process.
type commit struct {
	kernel.Commit
	phases.Process
	own bool
}

// hearChanges listens until ctx is done.
func (d *Daemon) hearChanges(ctx context.Context) error {
	d.drift.commits = make(chan commit, 1024)
	l, err := kernel.Listen(kernel.Options{})
	if err != nil {
		return err
	}
	own := d.kernel.Port()
	d.drift.ended = make(chan struct{})
	go func() {
		defer close(d.drift.ended)
		defer l.Close()
		for {
			c, err := l.Next(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, kernel.ErrMissed):
				d.drift.missed.Store(true)
				c = kernel.Commit{}
			case err != nil:
				d.log.Error("changes of nftables are not heard any more, they are looked for every half second", "error", err)
				d.drift.missed.Store(true)
				return
			}
			x := commit{Commit: c, own: c.Port == own}
			if !x.own && err == nil {
				x.Process = processOf(c)
			}
			select {
			case d.drift.commits <- x:
			default:
				d.drift.missed.Store(true)
			}
		}
	}()
	return nil
}

// processOf looks at a process at once: it may be gone in a moment.
func processOf(c kernel.Commit) phases.Process {
	out := phases.Process{PID: c.PID, Name: c.Name, Whose: phases.Unknown}
	p, err := host.ProcessOf(c.PID)
	if err != nil || p.Name != c.Name {
		return out // or its number is another's by now, or of another namespace
	}
	out.Command, out.Whose = clip(p.Command, 200), phases.Program
	if p.Person() {
		out.Whose = phases.Person
	}
	return out
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// hear takes in what the kernel told, and what it tells meanwhile.
func (d *Daemon) hear(c commit) {
	for {
		if c.Gen != 0 {
			d.drift.told = c.Gen
			if !c.own {
				d.drift.others = append(d.drift.others, c)
				if n := len(d.drift.others); n > 256 {
					d.drift.others = slices.Delete(d.drift.others, 0, n-256)
				}
			}
		}
		select {
		case c = <-d.drift.commits:
		default:
			return
		}
	}
}

// who lists the processes that changed the ruleset since nothing differed, up to
// a generation that was seen: its message may be under way yet.
func (d *Daemon) who(_ context.Context, gen uint32) []phases.Process {
	wait := time.After(toldWithin)
	for int32(gen-d.drift.told) > 0 && !d.drift.missed.Load() {
		select {
		case c := <-d.drift.commits:
			d.hear(c)
			continue
		case <-wait:
		}
		break
	}
	var out []phases.Process
	for _, c := range d.drift.others {
		if int32(c.Gen-d.drift.calm) > 0 && int32(c.Gen-gen) <= 0 && !slices.Contains(out, c.Process) {
			out = append(out, c.Process)
		}
	}
	if n := len(out); n > 5 {
		out = out[n-5:]
	}
	return out
}

// changed is called when another process has changed the ruleset: what is in
// force is looked at, then all the rest.
func (d *Daemon) changed(ctx context.Context) error {
	now := d.cfg.Now()
	d.drift.owed = true
	_, err := d.recover(ctx, now)
	return errors.Join(err, d.compareTable(ctx, now))
}

// compareTable compares the table with what was recorded, and keeps what keeps
// it from that.
func (d *Daemon) compareTable(ctx context.Context, now time.Time) error {
	err := d.compareNow(ctx, now)
	d.drift.blind = ""
	if err != nil {
		d.drift.blind = err.Error()
	}
	return err
}

// compareNow compares the table with what was recorded where anything changed
// since it was compared last.
func (d *Daemon) compareNow(ctx context.Context, now time.Time) error {
	w := &d.drift
	if !d.machine.Look().Present || d.machine.State().Gone {
		w.owed = false
		return nil
	}
	gen, err := d.kernel.Gen(ctx)
	if err != nil {
		return err
	}
	if w.missed.Swap(false) {
		w.owed = true
	}
	since := time.Since(w.whole)
	elements := since >= compareEvery || w.owed && since >= compareShare*w.took || d.machine.State().Foreign != nil && gen != w.done
	if !elements && (gen == w.done || time.Since(w.quick) < quickShare*w.brief) {
		return nil // the next tick comes by
	}
	want, err := d.wanted()
	if err != nil {
		return err
	}
	begin := time.Now()
	diffs, gen, err := d.kernel.Compare(ctx, want, elements)
	if err != nil {
		return err
	}
	if elements {
		w.whole, w.took, w.owed = time.Now(), time.Since(begin), false
	} else {
		w.quick, w.brief = time.Now(), time.Since(begin)
	}
	w.done = gen
	var who []phases.Process
	if len(diffs) > 0 || d.machine.State().Foreign != nil {
		who = d.who(ctx, gen)
	}
	if w.calmAt.IsZero() {
		w.calmAt = d.lastAlive(now)
	}
	records, err := d.machine.Compared(now, diffs, who, w.calmAt)
	if err != nil {
		return err
	}
	if len(diffs) == 0 {
		w.calm, w.calmAt = gen, now
		w.others = slices.DeleteFunc(w.others, func(c commit) bool { return int32(c.Gen-gen) <= 0 })
	}
	if len(records) > 0 {
		d.noteOpenings()
		w.paged = ""
		for _, r := range records {
			d.log.Warn(r.Words, "kind", r.Kind)
		}
	}
	return d.answerDrift(ctx, now, diffs)
}

// lastAlive is when a daemon last looked, for one that has just begun to.
func (d *Daemon) lastAlive(now time.Time) time.Time {
	last := time.Time{}
	for _, s := range d.evidence.Spans() {
		if s.To.Before(d.drift.begun) && s.To.After(last) {
			last = s.To
		}
	}
	if last.IsZero() {
		return now
	}
	return last
}

// wanted is what the table should hold now.
func (d *Daemon) wanted() (*kernel.Want, error) {
	s := d.machine.State()
	of := fmt.Sprint(d.machine.Keep(), len(s.Heads), d.machine.Look().Loaded)
	if d.drift.want != nil && of == d.drift.wantOf {
		return d.drift.want, nil
	}
	revs, known, err := d.machine.Kept()
	if err != nil {
		return nil, err
	}
	want, err := kernel.NewWant(revs, known)
	if err == nil {
		d.drift.want, d.drift.wantOf = want, of
	}
	return want, err
}

// answerDrift puts back what may be put back, and tells a person of the rest.
func (d *Daemon) answerDrift(ctx context.Context, now time.Time, diffs []nft.Difference) error {
	s := d.machine.State()
	f := s.Foreign
	if f == nil {
		return nil
	}
	why := "the plan says drift: alert"
	if d.machine.Plan().Drift == plans.DriftRepair {
		ok := false
		if ok, why = phases.MayRepair(s, d.machine.Look(), now); d.machine.SwitchedOff() != "" {
			ok, why = false, "weir is switched off by "+d.machine.SwitchedOff()
		}
		if ok {
			d.pageDrift(*f, "")
			return d.repair(ctx, now, phases.Self, diffs)
		}
	}
	d.pageDrift(*f, why)
	return nil
}

// pageDrift tells of drift once.
func (d *Daemon) pageDrift(f phases.Foreign, why string) {
	if key := f.At.String() + why; key != d.drift.paged {
		d.drift.paged = key
		m := notify.Message{Severity: notify.Page, Kind: notify.Drift, At: f.At, Words: f.Words, Command: mendWith(d.machine.State())}
		if why == "" {
			m.Severity, m.Command = notify.Warning, ""
			m.Words += "; it is put back now, as the plan says"
		} else {
			m.Words += "; it is not put back by itself: " + why
		}
		for _, c := range f.Changes {
			m.Lines = append(append(m.Lines, c.String()), c.Lines...)
		}
		d.notify.Tell(m)
	}
}

// repair puts back what differs and compares again.
func (d *Daemon) repair(ctx context.Context, now time.Time, by phases.Actor, diffs []nft.Difference) error {
	want, err := d.wanted()
	if err != nil {
		return err
	}
	err = d.machine.Repair(ctx, now, by, func(tx string) error { return d.kernel.Repair(ctx, want, diffs, tx) })
	d.drift.owed, d.drift.took = true, 0
	left, gen, cerr := d.kernel.Compare(ctx, want, true)
	if cerr != nil {
		return errors.Join(err, cerr)
	}
	d.drift.done, d.drift.owed = gen, false
	if _, merr := d.machine.Compared(d.cfg.Now(), left, nil, d.drift.calmAt); merr != nil {
		return errors.Join(err, merr)
	}
	d.noteOpenings()
	if len(left) == 0 {
		d.drift.calm, d.drift.calmAt = gen, now
		return err
	}
	return errors.Join(err, fmt.Errorf("not everything could be put back: %s", left[0]))
}

// mend is a person's "weir diff --restore": the kernel holds again what was
// confirmed.
func (d *Daemon) mend(ctx context.Context, c caller, in api.MendArgs) (api.Mended, error) {
	if _, err := d.recover(ctx, c.now); err != nil {
		return api.Mended{}, err
	}
	s := d.machine.State()
	if s.Pause != nil && in.Resume {
		if err := d.machine.Resume(ctx, c.now, c.Actor); err != nil {
			return api.Mended{}, err
		}
	} else if s.Pause != nil {
		return api.Mended{}, exit.From(fmt.Errorf("%w (%s: %s)", phases.ErrPaused, s.Pause.By.Name, s.Pause.Words)).
			WithHint("somebody opened it on purpose? then leave it; to close it all the same: weir diff --restore --resume")
	}
	name, _, _, _ := s.Current()
	out := api.Mended{Step: name}
	if s.Gone || s.Drift != "" {
		_, err := d.restore(ctx, c, None{})
		out.Whole = err == nil
		if err != nil {
			return out, err
		}
	}
	want, err := d.wanted()
	if err != nil {
		return out, err
	}
	diffs, _, err := d.kernel.Compare(ctx, want, true)
	if err != nil || len(diffs) == 0 {
		return out, errors.Join(err, d.compareTable(ctx, c.now))
	}
	out.Changes = diffs
	return out, d.repair(ctx, c.now, c.Actor, diffs)
}
