package phases

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ReadBack reads back from the kernel what the newest step, lapse or way back put in
// force, compares every rule and every element with the frozen bytes, and writes
// down what it found; nothing where that is done already. A step waits for no
// comparison: the daemon calls this right after. nil: nothing was written.
func (m *Machine) ReadBack(ctx context.Context, now time.Time) (*Record, error) {
	id := m.state.Unread
	if id == "" || m.Compare == nil {
		return nil, nil
	}
	digest, part := m.state.recordedAs(id)
	if digest == "" {
		return nil, nil // not the journal's: Reconcile has said so
	}
	f, err := m.frozen(digest)
	if err != nil {
		return nil, err
	}
	rev := f.Rules
	if part == "off" {
		rev = f.OffRev
	}
	var known []string
	for _, h := range m.state.Heads {
		known = append(known, h.Revision, h.OffID)
	}
	diffs, err := m.Compare(ctx, rev, append(known, m.look.Loaded...))
	if err != nil {
		return nil, fmt.Errorf("cannot tell whether the kernel holds the approved bytes: %w", err)
	}
	r := Record{At: now, Kind: Noted, Actor: Self, Digest: digest, Revision: id, Held: f.Hashes[part],
		Words: "the kernel holds " + id + " exactly as it was frozen: every rule and every element was read back"}
	if len(diffs) > 0 {
		r.Held = ""
		var what []string
		for _, d := range diffs {
			what = append(what, d.String())
		}
		r.Words = "the kernel does NOT hold " + id + " as it was frozen: " + strings.Join(what, ", ")
	}
	r, err = m.append(r)
	return &r, err
}

// recordedAs finds the frozen step that has a revision, and the part of its
// file that the revision is: "revision", or "off".
func (s State) recordedAs(revision string) (digest, part string) {
	if d := s.digestOf(revision); d != "" {
		return d, "revision"
	}
	var all []string
	for d, h := range s.Heads {
		if h.OffID == revision {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		return "", ""
	}
	return slices.MaxFunc(all, func(a, b string) int { return s.Heads[a].At.Compare(s.Heads[b].At) }), "off"
}

// unread is the revision that a record put in force, and false where it did
// nothing of the kind.
func (r Record) unread() (string, bool) {
	switch r.Kind {
	case Seen:
		if r.Op == OpArm {
			return r.Trial, r.Done
		}
		return r.Revision, r.Done && r.Op != OpGroup
	case Lapsed, Adopted, Booted:
		return r.Revision, true
	case Emptied, TakenOut:
		return "", true
	case Noted:
		return "", r.Revision != ""
	}
	return "", false
}
