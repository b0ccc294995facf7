package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"weir/nft/capture"
	"weir/phases"
	"weir/phases/compile"
	"weir/phases/enforce"
	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/phases/refactor"
)

// shadowFile keeps what is known of the shadow in force, so that a restart
// forgets nothing that the kernel's counters do not say.
const shadowFile = "shadow.json"

const shadowVersion = 1

// writeShadowEvery bounds how often counters that move are written down.
const writeShadowEvery = 10 * time.Second

// sameMovement is how close two movements of a counter are noted as one.
const sameMovement = time.Minute

// shadowWatch is the file.
type shadowWatch struct {
	Version int                       `json:"version"`
	Digest  string                    `json:"digest"` // of the frozen step
	At      time.Time                 `json:"at"`     // since when it is in force
	Since   time.Time                 `json:"since"`  // the counters are read since then
	Boot    string                    `json:"boot"`
	Table   uint64                    `json:"table"` // the kernel's number of the table
	Looked  time.Time                 `json:"looked"`
	Broken  time.Time                 `json:"broken,omitzero"`
	Missed  time.Duration             `json:"missed,omitempty"` // nanoseconds that a trial took, in which nothing was evaluated
	Why     string                    `json:"why,omitempty"`
	Base    map[string]disagreed      `json:"base"` // counters at Since
	Last    map[string]disagreed      `json:"last"` // counters when looked at last
	Begin   time.Time                 `json:"begin,omitzero"`
	First   []enforce.Line            `json:"first,omitempty"` // of the census at the beginning
	Moved   map[string][]monitor.Span `json:"moved,omitempty"`
}

// disagreed is a group's two counters, in packets.
type disagreed struct {
	Widens  uint64 `json:"widens"`
	Narrows uint64 `json:"narrows"`
}

// shadow is what the loop knows of the shadow in force.
type shadow struct {
	watch   *shadowWatch // nil: none is in force
	beside  enforce.Beside
	groups  []string
	written time.Time
	now     time.Time      // latest census
	open    []enforce.Line // of it
}

// watchShadow reads the counters of the shadow in force. What it cannot vouch
// for it says: then the gate of the swap cannot tell.
func (d *Daemon) watchShadow(ctx context.Context, now time.Time) error {
	s := d.machine.State()
	if name := s.Heads[s.Stable].Step.Shadow; name == "" {
		return d.endShadow()
	}
	f, err := d.frozenStep(s.Stable)
	if err != nil {
		return err
	}
	if d.shadow.watch == nil || d.shadow.watch.Digest != s.Stable || !d.shadow.watch.At.Equal(s.StableAt) {
		if err := d.beginShadow(s, f); err != nil {
			return err
		}
	}
	w := d.shadow.watch
	look := d.machine.Look()
	if !look.Present || s.Gone || s.StableID != f.Revision {
		return d.breakShadow(now, "the table was gone, and the shadow was not evaluated")
	}
	if s.Trial != nil {
		return d.missShadow(now, s.Trial.At)
	}
	table, err := d.kernel.TableID(ctx)
	if err != nil {
		return err
	}
	counters, err := d.kernel.Counters(ctx)
	if err != nil {
		return err
	}
	have := map[string]disagreed{}
	for _, g := range d.shadow.groups {
		w, ok := counters[compile.WidensCounter(g)]
		n, ok2 := counters[compile.NarrowsCounter(g)]
		if !ok || !ok2 {
			return fmt.Errorf("the counters of group %s in its shadow are not there", g)
		}
		have[g] = disagreed{w.Packets, n.Packets}
	}
	began := w.Since.IsZero()
	if began {
		w.Since, w.Boot, w.Table, w.Base = now, look.BootID, table, have
	}
	changed := began
	switch {
	case w.Boot != look.BootID:
		err = d.breakShadow(now, "the machine was started again, and the counters began at 0")
	case w.Table != table:
		err = d.breakShadow(now, "the table was made anew, and the counters began at 0")
	case less(have, w.Last):
		err = d.breakShadow(now, "the counters were set back")
	}
	if err != nil {
		return err
	}
	if w.Boot != look.BootID || w.Table != table || less(have, w.Last) {
		w.Boot, w.Table, w.Base, w.Last = look.BootID, table, map[string]disagreed{}, map[string]disagreed{}
		changed = true
	}
	for g, c := range have {
		last, known := w.Last[g]
		if !known {
			last = w.Base[g]
		}
		if c.Narrows != last.Narrows {
			w.move(g, later(w.Looked, w.Since), now)
		}
		changed = changed || c != last
	}
	w.Last, w.Looked = have, now
	if began || changed && now.Sub(d.shadow.written).Abs() >= writeShadowEvery {
		if err := d.writeShadow(now); err != nil {
			return err
		}
	}
	if began || now.Sub(d.shadow.now) >= censusEvery {
		return d.censusBeside(ctx, now)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// less says whether a counter is smaller than it was.
func less(have, last map[string]disagreed) bool {
	for g, l := range last {
		if h, ok := have[g]; ok && (h.Widens < l.Widens || h.Narrows < l.Narrows) {
			return true
		}
	}
	return false
}

// move notes that a group's counter moved between two looks.
func (w *shadowWatch) move(group string, from, to time.Time) {
	list := w.Moved[group]
	if n := len(list); n > 0 && from.Sub(list[n-1].To) < sameMovement && to.Sub(list[n-1].From) < 10*sameMovement {
		list[n-1].To = to
		return
	}
	if w.Moved == nil {
		w.Moved = map[string][]monitor.Span{}
	}
	w.Moved[group] = append(list, monitor.Span{From: from, To: to})
}

// beginShadow takes up the watch of a shadow: from the file, where it has been in
// force since, else anew.
func (d *Daemon) beginShadow(s phases.State, f phases.Frozen) error {
	d.shadow = shadow{beside: phases.Beside(f), groups: judgedGroups(f)}
	fresh := &shadowWatch{Version: shadowVersion, Digest: s.Stable, At: s.StableAt}
	data, err := os.ReadFile(filepath.Join(d.cfg.State, shadowFile))
	switch {
	case err == nil:
		w := shadowWatch{}
		if err := json.Unmarshal(data, &w); err != nil {
			d.log.Error("cannot read what was known of the shadow; its time begins again", "error", err)
			break
		}
		if w.Version != shadowVersion {
			return fmt.Errorf("cannot read %s: it has version %d, this weir reads %d", shadowFile, w.Version, shadowVersion)
		}
		if w.Digest == s.Stable && w.At.Equal(s.StableAt) {
			d.shadow.watch = &w
			return nil
		}
		if w.Digest == s.Stable {
			fresh.Broken, fresh.Why = s.StableAt, "it was put back, and the shadow was not evaluated before that"
		}
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	d.shadow.watch = fresh
	return nil
}

// judgedGroups are those whose rules are evaluated a second time.
func judgedGroups(f phases.Frozen) []string {
	var out []string
	for _, g := range f.Input.Groups {
		if slices.Contains(f.Input.Shadow.Groups, g.Name) && g.Treatment != compile.Open {
			out = append(out, g.Name)
		}
	}
	return out
}

// missShadow leaves out of the shadow's time what a trial takes of it: the
// counters stay what they are.
func (d *Daemon) missShadow(now, from time.Time) error {
	w := d.shadow.watch
	if w.Since.IsZero() {
		return nil
	}
	w.Missed += max(0, now.Sub(later(later(w.Looked, w.Since), from)))
	w.Looked = now
	if now.Sub(d.shadow.written).Abs() < writeShadowEvery {
		return nil
	}
	return d.writeShadow(now)
}

// breakShadow notes that what the counters say has a gap that ends at the
// earliest now.
func (d *Daemon) breakShadow(now time.Time, why string) error {
	w := d.shadow.watch
	if w == nil || w.Since.IsZero() {
		return nil
	}
	first := w.Why != why || now.Sub(w.Broken) > sameMovement
	w.Broken, w.Why = now, why
	if first || now.Sub(d.shadow.written).Abs() >= writeShadowEvery {
		return d.writeShadow(now)
	}
	return nil
}

func (d *Daemon) endShadow() error {
	if d.shadow.watch == nil {
		return nil
	}
	d.shadow = shadow{}
	err := os.Remove(filepath.Join(d.cfg.State, shadowFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (d *Daemon) writeShadow(now time.Time) error {
	data, err := json.MarshalIndent(d.shadow.watch, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(d.cfg.State, shadowFile), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("cannot write down what is known of the shadow: %w", err)
	}
	d.shadow.written = now
	return nil
}

// censusBeside judges the connections that are open now by the refactoring in
// its shadow; the first census is kept with the watch.
func (d *Daemon) censusBeside(ctx context.Context, now time.Time) error {
	w := d.shadow.watch
	if w == nil || w.Since.IsZero() {
		return nil
	}
	p := d.machine.Plan()
	var open []flow.Record
	err := capture.Dump(ctx, capture.Options{Now: d.cfg.Now}, func(r flow.Record) error {
		if !d.answering(r) {
			open = append(open, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	groupOf := func(r flow.Record) string { return d.evidence.GroupOf(d.classes, r) }
	d.shadow.now, d.shadow.open = now, enforce.CensusBeside(&p, d.shadow.beside, open, groupOf, d.answers, now)
	if !w.Begin.IsZero() {
		return nil
	}
	w.Begin, w.First = now, d.shadow.open
	return d.writeShadow(now)
}

// lookBeside brings what the gates of a swap look at up to this moment.
func (d *Daemon) lookBeside(ctx context.Context, now time.Time) error {
	if _, err := d.recover(ctx, now); err != nil {
		return err
	}
	if err := d.watchShadow(ctx, now); err != nil {
		return err
	}
	return d.censusBeside(ctx, now)
}

// shadowFacts is what the gates of a swap look at; nil where no shadow is in
// force.
func (d *Daemon) shadowFacts(now time.Time) *phases.Shadow {
	w := d.shadow.watch
	if w == nil || w.Since.IsZero() {
		return nil
	}
	out := &phases.Shadow{Digest: w.Digest, Since: w.Since.Add(w.Missed), Broken: w.Broken, Why: w.Why, Packets: map[string]phases.Disagreed{},
		Begin: w.Begin, Now: d.shadow.now}
	for g, c := range w.Last {
		b := w.Base[g]
		out.Packets[g] = phases.Disagreed{Widens: c.Widens - b.Widens, Narrows: c.Narrows - b.Narrows, Moved: w.Moved[g]}
	}
	out.Lines, out.Odd = enforce.Disagreements(d.evidence.Judged(), d.shadow.beside, d.answers, w.Since, now)
	out.Open = enforce.Join(d.answers.Answered(w.First, now), d.answers.Answered(d.shadow.open, now))
	return out
}

// shadowLines lists what the refactoring in its shadow would deny, as
// questions: a person may give a flow up.
func (d *Daemon) shadowLines(now time.Time) []enforce.Line {
	s := d.shadowFacts(now)
	if s == nil {
		return nil
	}
	return slices.DeleteFunc(enforce.Join(s.Lines, s.Open), func(l enforce.Line) bool { return l.Kind != finding.Narrows })
}

// shadowFindings says of each disagreement what decides it now and what would.
func (d *Daemon) shadowFindings(now time.Time) []finding.Finding {
	s := d.shadowFacts(now)
	if s == nil {
		return nil
	}
	f, err := d.frozenStep(s.Digest)
	if err != nil {
		return nil
	}
	var out []finding.Finding
	for _, l := range s.Lines {
		if len(l.Examples) == 0 || l.Answer != nil {
			continue
		}
		q := flow.Flow{Client: l.Examples[0], Server: l.Destination.Addr(), Proto: l.Service.Proto, Port: l.Service.Lo}
		x := l.Finding()
		switch l.Kind {
		case finding.Widens:
			x.Severity = finding.Info
			r, _ := policy.Allows(f.Input.Shadow.Policy, l.Group, q)
			x.Words = fmt.Sprintf("%s %s is denied, and %s would let it pass, as approved, by %s", l.Group, q, f.Step.Shadow, policy.RuleText(r))
		case finding.Narrows:
			r, _ := policy.Allows(f.Input.Policy, l.Group, q)
			x.Words = fmt.Sprintf("%s %s passes by %s, and %s would deny it", l.Group, q, policy.RuleText(r), f.Step.Shadow)
		}
		out = append(out, x)
	}
	return out
}

// seen lists the flows of the evidence for the proof of a refactoring.
func (d *Daemon) seen(rows []monitor.Row) []refactor.Seen {
	return refactor.SeenIn(rows, d.evidence.Judged())
}
