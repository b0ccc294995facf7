package phases

import (
	"slices"
	"time"
)

// OpenKind says how a gate came to stand open. The zero value is invalid.
type OpenKind string

// The kinds.
const (
	OpenRollback OpenKind = "rollback" // somebody went back
	OpenGroup    OpenKind = "group"    // somebody put a group back to alert
	OpenLapse    OpenKind = "lapse"    // nobody confirmed a trial
	OpenForeign  OpenKind = "foreign"  // somebody else changed or took what is weir's
	OpenReboot   OpenKind = "reboot"   // the kernel began anew
	OpenRemoved  OpenKind = "removed"  // weir was taken out
	OpenDrift    OpenKind = "drift"    // somebody else changed a part of the table
)

// Opening is a time in which groups were more open than was last approved.
// What was seen then is evidence of the opening, never of normal traffic.
type Opening struct {
	Kind    OpenKind  `json:"kind"`
	Begin   time.Time `json:"begin"`
	End     time.Time `json:"end,omitzero"`     // zero: it goes on
	Settled time.Time `json:"settled,omitzero"` // a step was confirmed that leaves them open: that was approved
	Groups  []string  `json:"groups"`
	Words   string    `json:"words"`
	By      Actor     `json:"by"`
	Digest  string    `json:"digest,omitempty"` // the frozen step that was approved last
}

// ID names the opening for the evidence.
func (o Opening) ID() string { return "o" + o.Begin.UTC().Format("20060102150405.000000") }

// Open says whether the gate stands open now without anybody having approved it.
func (o Opening) Open() bool { return o.End.IsZero() && o.Settled.IsZero() }

// denying lists the groups that are denied something.
func denying(targets []Target) []string {
	var out []string
	for _, t := range targets {
		if t.Treatment.Denies() {
			out = append(out, t.Group)
		}
	}
	return out
}

// opened lists the groups that may do more after than before: those that are
// not denied anything any more, and those of which a smaller part is.
func opened(before, after []Target) []string {
	var out []string
	for _, b := range before {
		i := slices.IndexFunc(after, func(t Target) bool { return t.Group == b.Group })
		if !b.Treatment.Denies() {
			continue
		}
		if i < 0 || !after[i].Treatment.Denies() || part(after[i]) < part(b) || len(after[i].Prefixes) > 0 && !slices.Equal(after[i].Prefixes, b.Prefixes) {
			out = append(out, b.Group)
		}
	}
	return out
}

// part is the share of a group that a treatment is for, in percent.
func part(t Target) int {
	if t.Share == 0 {
		return 100
	}
	return t.Share
}

// moreOpen lists the groups that may do more now than a step lets them.
func (s State) moreOpen(digest string, now []Target) []string {
	return opened(s.targetsOf(digest), now)
}

// open books an opening of groups; of none, nothing.
func (s *State) open(r Record, kind OpenKind, approved string, groups []string) {
	if len(groups) == 0 {
		return
	}
	slices.Sort(groups)
	s.Openings = append(s.Openings, Opening{Kind: kind, Begin: r.At, Groups: groups, Words: r.Words, By: r.Actor, Digest: approved})
}

// close ends the openings of groups that are denied again what they were, or are
// no more.
func (s *State) close(at time.Time) {
	now := s.effective()
	for i := range s.Openings {
		o := &s.Openings[i]
		still := slices.DeleteFunc(s.moreOpen(o.Digest, now), func(g string) bool {
			return !slices.Contains(o.Groups, g) || !slices.ContainsFunc(now, func(t Target) bool { return t.Group == g })
		})
		if o.End.IsZero() && o.Kind != OpenDrift && len(still) == 0 {
			o.End = at
		}
	}
}

// settle marks the openings whose groups are as open as the step that was
// confirmed now leaves them: nobody has to be told of them again. A group that
// was put back goes on being more open than that.
func (s *State) settle(at time.Time) {
	for i := range s.Openings {
		o := &s.Openings[i]
		if o.Open() && o.Kind != OpenDrift && !slices.ContainsFunc(o.Groups, func(g string) bool { return s.Back[g] }) {
			o.Settled = at
		}
	}
}
