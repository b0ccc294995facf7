package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/notify"
	"weir/phases"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/plans"
)

// An opening is told at once and again while it goes on; what left through it is
// listed. What is told is kept in memory: a new daemon tells it again.

// unblockKind is how the evidence calls the openings that an unblock makes.
const unblockKind = "unblock"

// noteOpenings carries the times in which a gate stood open into the evidence.
func (d *Daemon) noteOpenings() {
	for _, o := range d.machine.State().Openings {
		d.gen++
		d.evidence.Open(monitor.Opening{ID: o.ID(), Kind: string(o.Kind), From: o.Begin, To: o.End, Groups: o.Groups, Reason: o.Words})
	}
}

// openings lists all openings, the oldest first, with what left.
func (d *Daemon) openings(ctx context.Context, c caller, in None) ([]api.Opening, error) {
	if _, err := d.needPlan(); err != nil {
		return nil, err
	}
	if err := d.refresh(ctx, c.now, freshFor); err != nil {
		return nil, err
	}
	d.noteOpenings()
	return d.allOpenings(c.now, statusAge)
}

func (d *Daemon) allOpenings(now time.Time, age time.Duration) ([]api.Opening, error) {
	rows := map[string][]monitor.Row{}
	for _, r := range d.rows(now, age) {
		if r.Opening != "" && !r.Inbound {
			rows[r.Opening] = append(rows[r.Opening], r)
		}
	}
	out := []api.Opening{}
	for _, o := range d.machine.State().Openings {
		x := api.Opening{ID: o.ID(), Kind: string(o.Kind), From: o.Begin, To: o.End, Settled: o.Settled, Groups: o.Groups, By: o.By.String(), Words: o.Words}
		x.Unseen = o.Kind == phases.OpenForeign || o.Kind == phases.OpenReboot || o.Kind == phases.OpenRemoved ||
			o.Kind == phases.OpenDrift && dormant(d.machine.State())
		f, err := d.frozenStep(o.Digest)
		x.Unknown = err != nil
		sumLeft(&x, rows[x.ID], f)
		out = append(out, x)
	}
	var notes map[string]noted
	for _, o := range d.evidence.Openings() {
		if o.Kind != unblockKind || !o.To.After(o.From) {
			continue
		}
		if notes == nil {
			var err error
			if notes, err = d.notes(); err != nil {
				return nil, err
			}
		}
		n := notes[o.ID]
		x := api.Opening{ID: o.ID, Kind: o.Kind, From: o.From, To: o.To, By: n.first.Actor.Name, Words: n.first.Words, Unknown: true}
		if !n.end.IsZero() {
			x.To = n.end
		} else if o.To.After(now) {
			x.To = time.Time{}
		}
		sumLeft(&x, rows[x.ID], phases.Frozen{})
		x.Unknown = false // all that it let out is meant
		out = append(out, x)
	}
	slices.SortStableFunc(out, func(a, b api.Opening) int { return a.From.Compare(b.From) })
	return out, nil
}

// noted is what the journal says of an exception: who opened it and why, and
// when somebody ended it; zero: nobody did.
type noted struct {
	first phases.Record
	end   time.Time
}

func (d *Daemon) notes() (map[string]noted, error) {
	records, err := d.machine.History()
	if err != nil {
		return nil, err
	}
	out := map[string]noted{}
	for _, r := range records {
		if r.Kind != phases.Noted || r.Line == "" {
			continue
		}
		n, known := out[r.Line]
		if known {
			n.end = r.At
		} else {
			n.first = r
		}
		out[r.Line] = n
	}
	return out, nil
}

// sumLeft sums up what left through an opening that the step approved last would
// have denied.
func sumLeft(x *api.Opening, rows []monitor.Row, f phases.Frozen) {
	var index *policy.Index
	if !x.Unknown {
		index = policy.NewIndex(f.Input.Policy)
	}
	clients, servers := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	x.Left = []api.LeftFlow{}
	for _, r := range rows {
		if index != nil {
			t, ok := f.Step.Target(r.Group)
			if _, allowed := index.Allows(r.Group, r.Flow()); allowed || ok && !t.Treatment.Denies() {
				x.Passed += r.BytesOut
				continue
			}
		}
		clients[r.Client], servers[r.Server] = true, true
		x.Bytes += r.BytesOut
		x.Left = append(x.Left, api.LeftFlow{Group: r.Group, Client: r.Client, Server: r.Server, Service: r.Service, First: r.First, Last: r.Last,
			Connections: r.Connections, Bytes: r.BytesOut})
	}
	x.Endpoints, x.Destinations = len(clients), len(servers)
	slices.SortStableFunc(x.Left, func(a, b api.LeftFlow) int { return -cmp.Compare(a.Bytes, b.Bytes) })
}

// told is what people were told of openings.
type told struct {
	last  map[string]time.Time // opening → when; kept until it is over
	ended map[string]bool      // openings whose connections were ended
	pause time.Time            // the newest pause
}

// tellOpenings tells of each opening that began, goes on for another plan's
// "every", or is over.
func (d *Daemon) tellOpenings(ctx context.Context, now time.Time) error {
	every := d.machine.Plan().Notify.Every
	if every <= 0 {
		return nil // no plan
	}
	if d.told.last == nil {
		d.told.last = map[string]time.Time{}
	}
	d.tellPause(now)
	due := map[string]bool{} // → it goes on
	for _, o := range d.machine.State().Openings {
		last, known := d.told.last[o.ID()]
		switch {
		case !o.Open() && known:
			due[o.ID()] = false
		case o.Open() && (!known || o.Kind != phases.OpenRemoved && (now.Sub(last) >= every || now.Before(last))):
			due[o.ID()] = true
		}
	}
	if err := d.dueUnblocks(ctx, now, every, due); err != nil {
		return err
	}
	if len(due) == 0 {
		return nil
	}
	if err := d.refresh(ctx, now, freshFor); err != nil {
		return err
	}
	all, err := d.allOpenings(now, statusAge)
	if err != nil {
		return err
	}
	for _, x := range all {
		goesOn, is := due[x.ID]
		if !is {
			continue
		}
		_, again := d.told.last[x.ID]
		if goesOn {
			d.told.last[x.ID] = now
		} else {
			delete(d.told.last, x.ID)
		}
		d.notify.Tell(openingMessage(x, goesOn, again, d.wayToClose(x), now))
	}
	return nil
}

// tellPause tells of a rollback that took nothing from anybody, as from alert to
// monitor, or of a pause: no opening does.
func (d *Daemon) tellPause(now time.Time) {
	s := d.machine.State()
	p := s.Pause
	if p == nil || p.At.Equal(d.told.pause) {
		return
	}
	d.told.pause = p.At
	if n := len(s.Openings); n > 0 && !s.Openings[n-1].Begin.Before(p.At) {
		return
	}
	d.notify.Tell(notify.Message{Severity: notify.Warning, Kind: notify.Paused, At: now, Words: fmt.Sprintf("the rollout is paused by %s: %s", p.By, p.Words), Command: "weir resume"})
}

// dueUnblocks adds the unblocks of which something is to be told.
func (d *Daemon) dueUnblocks(ctx context.Context, now time.Time, every time.Duration, due map[string]bool) error {
	var live map[string]bool
	for _, o := range d.evidence.Openings() {
		last, known := d.told.last[o.ID]
		goesOn := o.To.After(now)
		if o.Kind != unblockKind || !goesOn && !known {
			continue
		}
		if goesOn && live == nil { // somebody may have ended it before its time
			list, err := d.kernel.Exceptions(ctx)
			if err != nil {
				return err
			}
			live = map[string]bool{}
			for _, e := range list {
				live[e.ID] = true
			}
		}
		switch {
		case known && !live[o.ID]:
			due[o.ID] = false
		case live[o.ID] && (!known || now.Sub(last) >= every || now.Before(last)):
			due[o.ID] = true
		}
	}
	return nil
}

// openingMessage is what people read of an opening.
func openingMessage(x api.Opening, goesOn, again bool, command string, now time.Time) notify.Message {
	m := notify.Message{Severity: notify.Page, Kind: notify.Opening, At: now, Command: command}
	if x.Kind == unblockKind {
		m.Severity = notify.Warning
	}
	if x.By != "" && x.By != phases.Self.Name {
		x.Words += " (" + x.By + ")"
	}
	what := "the gate is more open than was approved"
	if len(x.Groups) > 0 {
		what += fmt.Sprintf(" for %v", x.Groups)
	}
	if x.Kind == unblockKind {
		what = "an unblock is in force"
	}
	since := now.Sub(x.From).Round(time.Second)
	switch {
	case !goesOn && !x.To.IsZero():
		m.Severity, m.Kind, m.Command = notify.Warning, notify.Closed, ""
		m.Words = fmt.Sprintf("closed again after %s: %s", plans.FormatDuration(x.To.Sub(x.From).Round(time.Second)), x.Words)
		if x.Kind == unblockKind {
			m.Severity = notify.Info
		}
	case !goesOn:
		m.Severity, m.Kind, m.Command = notify.Warning, notify.Closed, ""
		m.Words = "it was approved to leave it open: " + x.Words
		if x.Kind == unblockKind { // it ended by the clock
			m.Severity, m.Words = notify.Info, "over: "+x.Words
		}
	case again:
		m.Words = fmt.Sprintf("%s, since %s: %s", what, plans.FormatDuration(since), x.Words)
	default:
		m.Words = what + ": " + x.Words
	}
	if again || !goesOn {
		m.Words += ". " + leftWords(x)
		for _, l := range x.Left {
			m.Lines = append(m.Lines, fmt.Sprintf("%s %s to %s %s: %d connections, %d bytes", l.Group, l.Client, l.Server, serviceText(l.Service), l.Connections, l.Bytes))
		}
	}
	return m
}

// leftWords says in one sentence what left.
func leftWords(x api.Opening) string {
	s := fmt.Sprintf("Left meanwhile: %d bytes from %d endpoints to %d destinations", x.Bytes, x.Endpoints, x.Destinations)
	if x.Kind != unblockKind && !x.Unknown {
		s += " that were closed"
	}
	if x.Unseen {
		s += ", of what was seen: connections are not followed while the table is gone"
	}
	return s
}

// wayToClose is the command that closes an opening.
func (d *Daemon) wayToClose(x api.Opening) string {
	s := d.machine.State()
	switch {
	case x.Kind == unblockKind:
		return "weir unblock --end " + x.ID
	case s.Gone || x.Kind == string(phases.OpenDrift):
		return mendWith(s)
	case s.Pause != nil:
		return "weir resume && weir request"
	}
	return "weir request"
}
