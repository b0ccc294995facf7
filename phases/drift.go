package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/nft"
)

// Drift is what somebody else changed in the table: a rule, an element, a
// policy, a chain more or less, the whole switched off. Which step is in force
// is not drift but a rollback, an emptied kernel or the like (Reconcile). That
// there is drift, and when it is over, is read from comparisons alone; whose it
// was, from what the kernel says of each transaction.

// Whose a process is.
const (
	Person  = "person"  // somebody logged in stands behind it
	Program = "program" // nobody does: a service
	Unknown = "unknown" // it was gone when it was looked for
)

// Process is one that changed the ruleset, as the kernel named it.
type Process struct {
	PID     int    `json:"pid"`
	Name    string `json:"name"`              // at most 15 bytes
	Command string `json:"command,omitempty"` // where it still ran when it was looked for
	Whose   string `json:"whose"`
}

// String is the name with its number.
func (p Process) String() string { return fmt.Sprintf("%s (pid %d)", p.Name, p.PID) }

func processes(who []Process) string {
	if len(who) == 0 {
		return "a process that the kernel did not name"
	}
	var out []string
	for _, p := range who {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

// Foreign is drift that goes on.
type Foreign struct {
	Since     time.Time        `json:"since"` // no later than the first change
	At        time.Time        `json:"at"`    // when it was last found to be otherwise
	Words     string           `json:"words"`
	Changes   []nft.Difference `json:"changes"`
	Processes []Process        `json:"processes,omitempty"`
	Groups    []string         `json:"groups,omitempty"` // that may be more open by it
}

// longestLines bounds what a record keeps of one object's lines; "weir diff"
// has them all.
const longestLines = 20

func shortened(diffs []nft.Difference) []nft.Difference {
	out := slices.Clone(diffs)
	for i, d := range out {
		if n := len(d.Lines); n > longestLines {
			out[i].Lines = append(slices.Clone(d.Lines[:longestLines]), fmt.Sprintf("… and %d more: weir diff", n-longestLines))
		}
	}
	return out
}

func sameDrift(a, b []nft.Difference) bool {
	return slices.EqualFunc(a, b, func(a, b nft.Difference) bool {
		return a.Object == b.Object && a.What == b.What && a.Before == b.Before && a.After == b.After && slices.Equal(a.Lines, b.Lines)
	})
}

// Drifting returns the record that a comparison's outcome adds to the journal:
// drift begins, is another, or is over. It is pure; applied once, the same
// outcome adds nothing. since is a moment at which there was none yet.
func Drifting(s State, diffs []nft.Difference, who []Process, since, now time.Time) []Record {
	diffs = shortened(diffs)
	switch f := s.Foreign; {
	case f == nil && len(diffs) == 0, f != nil && sameDrift(f.Changes, diffs):
		return nil
	case len(diffs) == 0:
		return []Record{{Kind: Mended, At: now, Actor: Self, Since: f.Since, Processes: who,
			Words: "the table inet weir is again what was recorded; it was not since " + f.Since.UTC().Format(time.RFC3339)}}
	case f != nil:
		since = f.Since
		who = append(slices.Clone(f.Processes), who...)
	}
	var what []string
	for _, d := range diffs {
		what = append(what, d.String())
	}
	r := Record{Kind: Drifted, At: now, Actor: Self, Since: since, Processes: unique(who), Changes: diffs}
	r.Words = fmt.Sprintf("%s changed the table inet weir: %s", processes(r.Processes), brief(what, 5))
	if s.Foreign == nil {
		r.Groups = s.loosened(diffs)
	} else {
		r.Groups = unique(append(slices.Clone(s.Foreign.Groups), s.loosened(diffs)...))
	}
	slices.Sort(r.Groups)
	return []Record{r}
}

// brief joins the first of a list and says how many more there are.
func brief(list []string, most int) string {
	if n := len(list) - most; n > 0 {
		list = append(slices.Clone(list[:most]), fmt.Sprintf("and %d more", n))
	}
	return strings.Join(list, ", ")
}

func unique[T comparable](list []T) []T {
	var out []T
	for _, x := range list {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// loosened lists the groups that deny something and may be more open by changes:
// those that a changed object belongs to, all where it belongs to none.
func (s State) loosened(diffs []nft.Difference) []string {
	deny := denying(s.effective())
	if t := s.Trial; t != nil {
		deny = unique(append(deny, denying(s.targetsOf(t.Digest))...))
	}
	var out []string
	for _, d := range diffs {
		kind, name, _ := strings.Cut(d.Object, " ")
		id, rest, _ := strings.Cut(name, "_")
		switch {
		case kind == "counter" || d.What == nft.Unexpected && kind != "table":
			continue
		case id != "w" && s.known(id) && id != s.StableID && (s.Trial == nil || id != s.Heads[s.Trial.Digest].Revision):
			continue // a step that is not in force
		}
		at := len(out)
		for _, g := range deny {
			if strings.HasSuffix(rest, "_"+g) {
				out = append(out, g)
			}
		}
		if len(out) == at {
			return deny
		}
	}
	return unique(out)
}

// known says whether a revision is one of the journal's.
func (s State) known(revision string) bool {
	for _, h := range s.Heads {
		if h.Revision == revision || h.OffID == revision {
			return true
		}
	}
	return false
}

// drifted applies a record of drift.
func (s *State) drifted(r Record) {
	s.Foreign = &Foreign{Since: r.Since, At: r.At, Words: r.Words, Changes: r.Changes, Processes: r.Processes, Groups: r.Groups}
	begin := r.Since
	for i := range s.Openings {
		if o := &s.Openings[i]; o.Kind == OpenDrift && o.End.IsZero() {
			if slices.Equal(o.Groups, r.Groups) {
				return
			}
			o.End, begin = r.At, r.At
		}
	}
	if len(r.Groups) > 0 {
		s.Openings = append(s.Openings, Opening{Kind: OpenDrift, Begin: begin, Groups: r.Groups, Words: r.Words, By: r.Actor, Digest: s.Stable})
	}
}

// mended ends the drift and what it opened.
func (s *State) mended(at time.Time) {
	s.Foreign = nil
	for i := range s.Openings {
		if o := &s.Openings[i]; o.Kind == OpenDrift && o.End.IsZero() {
			o.End = at
		}
	}
}

// personsHour is how long what a person made looser is left alone.
const personsHour = time.Hour

// MayRepair says whether drift may be put back with nobody asked, and why not.
// What cannot be told counts as a person's doing: whoever opened the gate by
// hand in trouble must not find it closed again a second later.
func MayRepair(s State, look nft.Look, now time.Time) (bool, string) {
	f := s.Foreign
	switch {
	case s.Gone || !look.Present:
		return false, "the table was deleted as a whole, which only a person puts back"
	case f == nil:
		return false, "nothing differs"
	case look.Kind == nft.TxHold:
		return false, "somebody rolled back by hand and the table says hold"
	case s.Pause != nil:
		return false, "the rollout is paused: " + s.Pause.Words
	case s.Drift != "":
		return false, "it is not known what is in force: " + s.Drift
	}
	byPerson := len(f.Processes) == 0
	for _, p := range f.Processes {
		byPerson = byPerson || p.Whose != Program
	}
	if until := f.At.Add(personsHour); byPerson && len(f.Groups) > 0 && now.Before(until) {
		return false, fmt.Sprintf("a person may have done it, and what a person opens is left alone for an hour, until %s", until.UTC().Format("15:04 UTC"))
	}
	return true, ""
}

// Compared tells the machine what a comparison of the table with Kept found, and
// who changed the ruleset since the last one that found nothing. It returns what
// it wrote.
func (m *Machine) Compared(now time.Time, diffs []nft.Difference, who []Process, since time.Time) ([]Record, error) {
	var out []Record
	for _, r := range Drifting(m.state, diffs, who, since, now) {
		r, err := m.append(r)
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Kept returns what the table should hold of the revisions that Keep names and
// that are loaded, and the ids of all that the journal knows.
func (m *Machine) Kept() (revs []nft.Revision, known []string, err error) {
	for _, h := range m.state.Heads {
		known = append(known, h.Revision, h.OffID)
	}
	slices.Sort(known)
	for _, id := range m.Keep() {
		if !slices.Contains(m.look.Loaded, id) && id != m.state.StableID {
			continue
		}
		f, off, err := m.frozenOf(id)
		switch {
		case err != nil:
			return nil, nil, err
		case f == nil: // not the journal's: Status says so
		case off:
			revs = append(revs, f.OffRev)
		default:
			revs = append(revs, f.Rules)
		}
	}
	return revs, slices.Compact(known), nil
}

// frozenOf finds the frozen step that has a revision; off where it is the one
// that its "off" goes back to. nil: there is none.
func (m *Machine) frozenOf(revision string) (f *Frozen, off bool, err error) {
	digest := m.state.digestOf(revision)
	if digest == "" {
		for d, h := range m.state.Heads {
			if h.OffID == revision {
				digest, off = d, true
			}
		}
	}
	if digest == "" {
		return nil, false, nil
	}
	x, err := m.frozen(digest)
	return &x, off, err
}

// Repair puts back what drifted; do sends it. A person may: what comes back was
// approved and confirmed. Not while the rollout is paused.
func (m *Machine) Repair(ctx context.Context, now time.Time, by Actor, do func(tx string) error) error {
	fail := func(err error) error { return fmt.Errorf("cannot put back what was changed: %w", err) }
	if err := m.on(); err != nil {
		return fail(err)
	}
	if _, err := m.Recover(ctx, now); err != nil {
		return fail(err)
	}
	switch {
	case m.state.Gone:
		return fail(errors.New("the table is gone as a whole; run: weir restore"))
	case m.state.Pause != nil:
		return fail(fmt.Errorf("%w (%s: %s)", ErrPaused, m.state.Pause.By.Name, m.state.Pause.Words))
	}
	tx, err := m.newTx()
	if err != nil {
		return fail(err)
	}
	intent := Record{At: now, Kind: Intent, Op: OpRepair, Actor: by, Digest: m.state.Stable, Tx: tx, Words: "put back what was changed"}
	if f := m.state.Foreign; f != nil {
		intent.Since, intent.Words = f.Since, "put back what "+processes(f.Processes)+" changed"
	}
	if err := m.act(ctx, now, intent, do); err != nil {
		return fail(err)
	}
	return nil
}
