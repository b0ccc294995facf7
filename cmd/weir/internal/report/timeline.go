package report

import (
	"maps"
	"slices"
	"strings"
	"time"

	"weir/phases"
)

// Period is a time in which one thing was in force. It lasts until the next one.
type Period struct {
	At       time.Time
	What     string // the step, a trial with its lease, groups put back
	Revision string // on trial, else stable; "" none
	Seq      uint64 // of the record that began it
	By       string
	Took     time.Duration // until it was seen in the kernel; 0 not measured
	Held     uint64        // of the record that read it back; 0 none
}

// Timeline says what was in force at any time.
func Timeline(records []phases.Record) []Period {
	var out []Period
	phases.Replay(records, func(s *phases.State, r phases.Record) {
		p := Period{At: r.At, Seq: r.Seq, By: r.Actor.String(), Took: r.Took, Revision: s.StableID}
		name, _, _, _ := s.Current()
		switch {
		case s.Gone && s.StableID != "":
			p.What = "an older step that a boot restored, though " + name + " was confirmed"
		case s.Gone:
			p.What, p.Revision = "nothing, though "+name+" was confirmed: everything passes", ""
		case s.Drift != "":
			p.What = "not what was confirmed: " + s.Drift
		case s.Trial != nil:
			h := s.Heads[s.Trial.Digest]
			p.What, p.Revision = h.Step.Name+" on trial for "+s.Trial.Lease.String()+", upon "+name, h.Revision
			if s.Trial.Emergency != "" {
				p.What += ", an emergency"
			}
		default:
			p.What = name
		}
		if back := slices.Sorted(maps.Keys(s.Back)); len(back) > 0 && !s.Gone {
			p.What += ", back in alert: " + strings.Join(back, ", ")
		}
		n := len(out) - 1
		switch {
		case n >= 0 && out[n].What == p.What && out[n].Revision == p.Revision:
			if r.Held != "" && r.Revision == p.Revision && out[n].Held == 0 {
				out[n].Held = r.Seq
			}
		case n >= 0 || p.Revision != "":
			out = append(out, p)
		}
	})
	return out
}
