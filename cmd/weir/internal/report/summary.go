package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"weir/cmd/weir/internal/api"
	"weir/phases"
	"weir/phases/audit"
	"weir/phases/monitor"
	"weir/plans"
)

// Input is what a summary says.
type Input struct {
	At       time.Time
	Machine  string // identity
	Key      string // fingerprint of the machine's key
	Result   audit.Result
	Records  []phases.Record
	Saw      Saw
	Openings []api.Opening
}

// Saw is how much weir observed.
type Saw struct {
	From     time.Time // zero: nothing was observed
	Observed time.Duration
	Gaps     []monitor.Gap
	Share    *float64 // of the bytes that left the outside interfaces; nil: not known
}

// safe fits a text that came from the network or a person into one line.
func safe(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == '\ufffd' || !unicode.IsPrint(r) {
			fmt.Fprintf(&b, `\u{%x}`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "now"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

type writer struct{ strings.Builder }

// say writes one line; every argument is made safe.
func (w *writer) say(format string, args ...any) {
	for i, a := range args {
		args[i] = safe(fmt.Sprint(a))
	}
	fmt.Fprintf(w, format+"\n", args...)
}

// Text is the part summary.
func (in Input) Text() []byte {
	w := &writer{}
	w.say("%s", Version)
	w.say("Audit report of the machine %s, made %s.", in.Machine, stamp(in.At))
	w.say("%s records; the log's root is %s.", len(in.Records), in.Result.Root)
	w.say("Checkpoints are signed with the key %s.", in.Key)
	w.say("How to check this file without weir: docs/audit.md. R12 is record 12: line 12 of the part log.")
	if len(in.Result.Problems) > 0 {
		w.say("\nTHE LOG DOES NOT HOLD")
		for _, p := range in.Result.Problems {
			w.say("  %s", p.Words)
		}
	}
	in.inForce(w)
	in.decisions(w)
	in.people(w)
	in.openings(w)
	in.unseen(w)
	in.rest(w)
	return []byte(w.String())
}

func (in Input) inForce(w *writer) {
	w.say("\nWHAT WAS IN FORCE\nfrom, until, step, revision in the kernel, by which record; read back: the kernel was compared with the frozen bytes, all of them")
	list := Timeline(in.Records)
	if len(list) == 0 {
		w.say("  nothing yet: everything passed")
	}
	for i, p := range list {
		until := time.Time{}
		if i+1 < len(list) {
			until = list[i+1].At
		}
		line := fmt.Sprintf("  %s  %s  %s  %s  R%d by %s", stamp(p.At), stamp(until), p.What, dash(p.Revision), p.Seq, p.By)
		if p.Took > 0 {
			line += fmt.Sprintf(", seen in the kernel after %s", p.Took.Round(time.Microsecond))
		}
		if p.Held > 0 {
			line += fmt.Sprintf(", read back: R%d", p.Held)
		} else if p.Revision != "" {
			line += ", NOT read back"
		}
		w.say("%s", line)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// decisions lists every frozen step with what was decided on it.
func (in Input) decisions(w *writer) {
	w.say("\nWHO DECIDED WHAT, ON WHAT EVIDENCE")
	var trust *plans.Trust
	for _, r := range in.Records {
		switch {
		case r.Kind == phases.Trusted:
			trust, _ = plans.ParseTrust("the trust file", r.TrustText) // one that cannot be read raises nothing
			w.say("  R%s %s: %s, by %s, %s signatures", r.Seq, stamp(r.At), r.Words, r.Actor, len(r.Signatures))
		case r.Kind == phases.Requested && r.Head != nil:
			w.say("  %s, frozen as %s", r.Head.Step.Name, r.Digest)
			w.say("    R%s %s: requested by %s; %s", r.Seq, stamp(r.At), who(r.Actor), rule(r.Head.Step, trust))
			w.say("    evidence up to %s, %s; policy %s; upon revision %s", stamp(r.Head.UpTo), dash(r.Head.Hashes["evidence"]), dash(r.Head.Hashes["policy"]), dash(r.Head.Over))
			for _, t := range r.Head.Step.Targets {
				w.say("    to be: %s", t)
			}
			in.about(w, r)
		}
	}
}

// rule says what a step needed: what the plan asks for, raised to the trust
// file's least.
func rule(s phases.Step, trust *plans.Trust) string {
	need, how := s.Approval, "accounts"
	if trust != nil {
		need, how = trust.Stricter(s.Name, need), "signers"
	}
	words := fmt.Sprintf("it needs %d %s", max(1, need.Quorum), how)
	if !need.SelfApproval {
		words += ", not the one who requested it"
	}
	return words
}

// about lists what was decided and done on one frozen step.
func (in Input) about(w *writer, request phases.Record) {
	for _, r := range in.Records {
		if r.Digest != request.Digest || r.Seq <= request.Seq || r.Kind == phases.Requested {
			continue
		}
		switch {
		case r.Kind == phases.Approved || r.Kind == phases.Denied:
			how := "by account alone"
			if len(r.Signature) > 0 {
				how = "signed with " + r.Key
			}
			w.say("    R%s %s: %s by %s, %s", r.Seq, stamp(r.At), r.Kind, who(r.Actor), how)
		case r.Kind == phases.Intent:
			w.say("    R%s %s: %s, by %s", r.Seq, stamp(r.At), r.Words, who(r.Actor))
		case r.Kind == phases.Seen || r.Kind == phases.Lapsed || r.Held != "":
			w.say("    R%s %s: %s", r.Seq, stamp(r.At), r.Words)
		}
	}
}

// who is a person with everything that the kernel said.
func who(a phases.Actor) string {
	s := fmt.Sprintf("%s (uid %d", a, a.UID)
	if a.LoginUID != phases.NoLogin {
		s += fmt.Sprintf(", logged in as %d", a.LoginUID)
	}
	if a.PID != 0 {
		s += fmt.Sprintf(", process %d %s", a.PID, a.Exe)
	}
	return s + ")"
}

func (in Input) people(w *writer) {
	count := map[string]int{}
	for _, r := range in.Records {
		count[r.Actor.String()]++
	}
	w.say("\nWHO APPEARS")
	for _, name := range slices.Sorted(maps.Keys(count)) {
		w.say("  %s: %s records", name, count[name])
	}
}

func (in Input) openings(w *writer) {
	w.say("\nOPENINGS, AND WHAT LEFT IN THEM\nwhat would have been denied by the step that was approved last; every flow of it is a line of the part openings")
	for _, o := range in.Openings {
		groups := "all groups"
		if len(o.Groups) > 0 {
			groups = strings.Join(o.Groups, ", ")
		}
		w.say("  %s  %s  %s  %s: %s", o.ID, stamp(o.From), stamp(o.To), o.Kind, groups)
		w.say("    by %s: %s", dash(o.By), o.Words)
		w.say("    left: %s flows of %s endpoints to %s destinations, %s bytes; %s bytes more would have passed anyhow", len(o.Left), o.Endpoints, o.Destinations, o.Bytes, o.Passed)
		if !o.Settled.IsZero() {
			w.say("    a step that was confirmed %s left it so", stamp(o.Settled))
		}
		if o.Unknown {
			w.say("    what would have been denied cannot be told: all is listed")
		}
		if o.Unseen {
			w.say("    the table was gone: what left may not have been seen")
		}
	}
	if len(in.Openings) == 0 {
		w.say("  none")
	}
}

// OpeningsText is the part openings: one flow a line, fields apart by tabs.
func (in Input) OpeningsText() []byte {
	w := &writer{}
	w.say("opening\tgroup\tclient\tserver\tservice\tfirst\tlast\tconnections\tbytes")
	for _, o := range in.Openings {
		for _, f := range o.Left {
			w.say("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", o.ID, f.Group, f.Client, f.Server, f.Service, stamp(f.First), stamp(f.Last), f.Connections, f.Bytes)
		}
	}
	return []byte(w.String())
}

func (in Input) unseen(w *writer) {
	w.say("\nWHAT WEIR DID NOT SEE")
	if in.Saw.From.IsZero() {
		w.say("  nothing was observed at all")
	} else {
		w.say("  observed since %s, %s of it", stamp(in.Saw.From), in.Saw.Observed.Round(time.Second))
	}
	for _, g := range in.Saw.Gaps {
		lost := ""
		if g.Lost > 0 {
			lost = fmt.Sprintf(", %d messages lost", g.Lost)
		}
		w.say("  %s  %s  %s%s", stamp(g.From), stamp(g.To), g.Cause, lost)
	}
	if in.Saw.Share != nil {
		w.say("  of the bytes that left the outside interfaces, %s %% belong to flows that were seen", fmt.Sprintf("%.1f", *in.Saw.Share*100))
	} else {
		w.say("  how much of what left the outside interfaces was seen is not known")
	}
	w.say("  Traffic that does not pass the hooks (offloaded, bridged, of containers and proxies on this machine) is not noticed.")
}

// rest lists what was done outside of steps.
func (in Input) rest(w *writer) {
	w.say("\nEXCEPTIONS, ANSWERS, PAUSES, DRIFT")
	for _, r := range in.Records {
		switch r.Kind {
		case phases.Requested, phases.Approved, phases.Denied, phases.Intent, phases.Seen, phases.Lapsed, phases.Trusted:
			continue
		}
		if r.Held != "" {
			continue
		}
		words := r.Words
		if r.Answer != "" {
			words = r.Answer + ": " + words
		}
		w.say("  R%s %s %s by %s: %s", r.Seq, stamp(r.At), r.Kind, who(r.Actor), words)
	}
}
