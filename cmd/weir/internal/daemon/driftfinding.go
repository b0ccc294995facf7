package daemon

import (
	"fmt"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/nft"
	"weir/phases"
	"weir/phases/finding"
)

// mendCommand makes the kernel hold again what was confirmed, after somebody
// else changed it.
const mendCommand = "weir diff --restore"

// mendWith is the one command that closes the gate again in a state.
func mendWith(s phases.State) string {
	switch {
	case s.Pause != nil:
		return mendCommand + " --resume"
	case s.Gone:
		return "weir restore"
	}
	return mendCommand
}

// driftFindings are those of highest severity: the kernel does not hold what was
// confirmed. Each says since when, what left meanwhile, and the one command that
// closes the gate.
func (d *Daemon) driftFindings(now time.Time) ([]finding.Finding, error) {
	s := d.machine.State()
	var out []finding.Finding
	if why := d.drift.blind; why != "" {
		out = append(out, finding.Finding{Fingerprint: finding.Fingerprint("drift", "blind"), Kind: finding.Drift, Severity: finding.Critical, First: now, Last: now, Count: 1,
			State: finding.New, Words: "it cannot be told whether the table holds what was recorded: " + why})
	}
	if !s.Gone && s.Drift == "" && s.Foreign == nil {
		return out, nil
	}
	all, err := d.allOpenings(now, statusAge)
	if err != nil {
		return nil, err
	}
	say := func(key string, since time.Time, words string) {
		out = append(out, finding.Finding{Fingerprint: finding.Fingerprint("drift", key), Kind: finding.Drift, Severity: finding.Critical,
			First: since, Last: now, Count: 1, State: finding.New, Words: words + "; put it back: " + mendWith(s)})
	}
	step, _, _, _ := s.Current()
	if s.Gone {
		o := newest(all, false)
		say("gone", o.From, fmt.Sprintf("%s; nothing of %s, which was confirmed, is in force%s", o.Words, step, d.leftSince(o)))
	}
	if s.Drift != "" {
		say("maps", newest(all, false).From, s.Drift)
	}
	if f := s.Foreign; f != nil {
		say("table", f.Since, f.Words+d.leftSince(newest(all, true)))
	}
	return out, nil
}

// newest is the last opening that goes on: of drift, or of anything else.
func newest(list []api.Opening, drift bool) (out api.Opening) {
	for _, o := range list {
		if o.To.IsZero() && o.Kind != unblockKind && (o.Kind == string(phases.OpenDrift)) == drift {
			out = o
		}
	}
	return out
}

// leftSince says since when an opening goes on, and what left; nothing of none.
func (d *Daemon) leftSince(o api.Opening) string {
	if o.From.IsZero() {
		return ""
	}
	at := o.From
	if z := d.machine.Plan().Timezone; z != nil {
		at = at.In(z)
	}
	left := leftWords(o)
	if d.readers == nil {
		left = "What left meanwhile was not observed"
	}
	return fmt.Sprintf("; since %s more open than was approved: %v. %s", at.Format("2006-01-02 15:04:05 MST"), o.Groups, left)
}

// dormant says whether somebody switched the table off.
func dormant(s phases.State) bool {
	if s.Foreign == nil {
		return false
	}
	for _, c := range s.Foreign.Changes {
		if c.What == nft.Dormant {
			return true
		}
	}
	return false
}
