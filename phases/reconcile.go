package phases

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/nft"
	"weir/phases/flow"
)

// Reconcile compares what the journal says with what the kernel holds and
// returns the records that are missing. It is pure; applied once, a second
// call with the same look returns nothing.
//
//	an intent whose transaction the kernel names      seen, done
//	an intent that the kernel does not show           seen, not done
//	a trial that is gone, nobody ended it             lapsed
//	a transaction that the journal does not know      adopted (a hold pauses)
//	no table, though something was confirmed          emptied (a reboot, or deleted)
//	what a boot restored from its snapshot            booted
func Reconcile(s State, look nft.Look, now time.Time) []Record {
	var out []Record
	add := func(r Record) {
		r.At, r.Boot, r.Before = now, look.BootID, s.StableID
		if r.Actor == (Actor{}) {
			r.Actor = Self
		}
		out = append(out, r)
		s = s.with(r)
	}
	trial, oneTrial := Held(look.Trial)
	stable, oneStable := Held(look.Stable)

	if i := s.Intent; i != nil {
		done := look.Present && shows(s, *i, look, trial, stable)
		r := Record{Kind: Seen, Op: i.Op, Tx: i.Tx, Digest: i.Digest, Done: done, Actor: i.Actor, Revision: stable, Trial: trial}
		r.Words = "not done: the kernel does not show it"
		if done {
			r.Words = "done, seen in the kernel"
		}
		add(r)
	}
	acted := slices.Contains([]nft.TxKind{nft.TxRollback, nft.TxHold, nft.TxGroup}, look.Kind) && !s.Tx[look.Tx]
	if look.Stale && !acted && look.Tx != s.Copy {
		// What it holds was saved in another boot, and so is what it says of a trial.
		if s.StableID != "" || s.Trial != nil || !s.Gone && s.Stable != "" {
			add(Record{Kind: Emptied, Words: "another program loaded a copy of weir's table that was saved before the machine was started; it counts for nothing, and what it denies nobody has approved: weir restore replaces it, weir rollback --to off opens it"})
		}
		return out
	}
	if !look.Present {
		if !s.Gone && (s.StableID != "" || s.Trial != nil || s.Stable != "") {
			words := "the table inet weir was deleted by somebody else: everything passes"
			if s.Boot != "" && look.BootID != s.Boot {
				words = "the machine was started again and the kernel is empty: everything passes"
			}
			add(Record{Kind: Emptied, Words: words})
		}
		return out
	}
	if !oneTrial || !oneStable {
		if s.Drift == "" {
			add(Record{Kind: Adopted, Tx: look.Tx, Trial: "?", Revision: s.StableID, Digest: s.Stable, Pauses: true, Groups: slices.Sorted(maps.Keys(s.Back)),
				Words: "hooks or families hold different revisions: somebody changed the maps of weir; roll back to make them one again"})
		}
		return out
	}
	own := look.Tx == "" || s.Tx[look.Tx] || look.Kind == nft.TxException || look.Kind == nft.TxLoad
	back := slices.Sorted(slices.Values(look.Back))
	sameBack := slices.Equal(back, slices.Sorted(maps.Keys(s.Back)))
	want := ""
	if s.Trial != nil {
		want = s.Heads[s.Trial.Digest].Revision
	}
	if r, ok := s.bootedFrom(look, trial, stable, back); ok {
		add(r)
		return out
	}
	switch {
	case own && look.Kind != nft.TxHold && stable == s.StableID && sameBack && trial == want && s.Drift == "":
	case own && look.Kind != nft.TxHold && stable == s.StableID && sameBack && trial == "" && s.Trial != nil:
		words := "not confirmed in time: the kernel fell back by itself"
		if s.Trial.Brownout {
			words = "the brownout has ended, as it was meant to"
		}
		add(Record{Kind: Lapsed, Digest: s.Trial.Digest, Revision: stable, Words: words})
	case s.Tx[look.Tx] && stable == s.StableID && sameBack && trial == want:
		// seen and recorded before
	default:
		r := Record{Kind: Adopted, Tx: look.Tx, Revision: stable, Trial: trial, Groups: back, Digest: s.digestOf(stable), Pauses: true}
		name := "off"
		if h, ok := s.Heads[r.Digest]; ok {
			name = h.Step.Name
		} else if stable != "" && !s.isOff(stable) {
			name = "revision " + stable + ", which the journal does not know"
		}
		switch {
		case look.Kind == nft.TxHold:
			r.Words = fmt.Sprintf("rolled back to %s by hand, with the backout's file", name)
		case look.Kind == nft.TxRollback:
			r.Words = fmt.Sprintf("rolled back to %s without the daemon", name)
		case look.Kind == nft.TxGroup && stable == s.StableID && len(back) > 0:
			r.Words = fmt.Sprintf("put back to alert without the daemon: %s; the kernel holds %s", strings.Join(back, ", "), name)
		default:
			r.Words = fmt.Sprintf("changed without the journal: the kernel holds %s", name)
		}
		r.Copy = look.Stale
		add(r)
	}
	return out
}

// bootedFrom recognises what a boot restored: the confirmed step with the same
// groups back in alert, or an earlier confirmed one, whose snapshot is what was
// on the disk when the machine went down.
func (s State) bootedFrom(look nft.Look, trial, stable string, back []string) (Record, bool) {
	if look.Kind != nft.TxBoot || s.Tx[look.Tx] || trial != "" {
		return Record{}, false
	}
	r := Record{Kind: Booted, Tx: look.Tx, Revision: stable, Groups: back, Digest: s.digestOf(stable)}
	was := slices.Sorted(maps.Keys(s.Back))
	if s.Gone {
		was = s.WasBack
	}
	name, _, _, _ := s.Current()
	confirmed := s.Heads[s.Stable].Revision
	switch {
	case stable == confirmed, s.Stable == "" && s.isOff(stable):
		if !slices.Equal(back, was) {
			return Record{}, false
		}
		r.Digest, r.Done = s.Stable, true
		r.Words = fmt.Sprintf("the machine was started again, and %s was restored before the network came up", name)
	case confirmed != "" && r.Digest != "" && slices.ContainsFunc(s.Confirms, func(c Confirmed) bool { return c.Digest == r.Digest }):
		r.Words = fmt.Sprintf("the machine was started again, and %s was restored, which is older than %s, which is confirmed: weir restore", s.Heads[r.Digest].Step.Name, name)
	default:
		return Record{}, false
	}
	if s.Trial != nil {
		r.Words += "; the trial is over"
	}
	return r, true
}

// with is the state after one more record; the receiver is left alone.
func (s State) with(r Record) State {
	c := s
	c.Heads, c.Void, c.Back = maps.Clone(s.Heads), maps.Clone(s.Void), maps.Clone(s.Back)
	c.Listed = maps.Clone(s.Listed)
	c.Nonces, c.Tickets, c.Alone = maps.Clone(s.Nonces), maps.Clone(s.Tickets), maps.Clone(s.Alone)
	c.Since, c.Tx = maps.Clone(s.Since), maps.Clone(s.Tx)
	c.Stack, c.Openings, c.Brown = slices.Clone(s.Stack), slices.Clone(s.Openings), slices.Clone(s.Brown)
	c.Confirms = slices.Clone(s.Confirms)
	c.apply(r)
	return c
}

// shows says whether the kernel holds the effect of an intent. The transaction
// names it; where an exception was the last to write, the maps do.
func shows(s State, i Record, look nft.Look, trial, stable string) bool {
	if look.Tx == i.Tx {
		return true
	}
	if look.Kind != nft.TxException && look.Kind != nft.TxLoad {
		return false
	}
	h := s.Heads[i.Digest]
	switch i.Op {
	case OpArm:
		return trial == h.Revision && trial != ""
	case OpConfirm:
		return s.Trial != nil && trial == "" && stable == h.Revision && s.StableID != stable
	case OpRollback, OpRestore:
		return trial == "" && stable == i.Revision && s.StableID != stable
	case OpGroup:
		return !slices.ContainsFunc(i.Groups, func(g string) bool { return !slices.Contains(look.Back, g) })
	}
	return false
}

// digestOf finds the newest confirmed step, else the newest frozen one, with a
// revision; "" where none has it.
func (s State) digestOf(revision string) string {
	if revision == "" {
		return ""
	}
	if s.Heads[s.Stable].Revision == revision {
		return s.Stable
	}
	for i := len(s.Stack) - 1; i >= 0; i-- {
		if s.Heads[s.Stack[i].Digest].Revision == revision {
			return s.Stack[i].Digest
		}
	}
	best := ""
	for d, h := range s.Heads {
		if h.Revision == revision && (best == "" || h.At.After(s.Heads[best].At)) {
			best = d
		}
	}
	return best
}

// Held returns the revision that every hook and both families name, and false
// where they differ. nat has none where no group has a honeypot, and none for a
// trial that brings the first.
func Held(m map[string]map[flow.Family]string) (string, bool) {
	filter := map[string]map[flow.Family]string{}
	for h, fam := range m {
		if h != nft.HookNAT {
			filter[h] = fam
		}
	}
	id, ok := nft.One(filter)
	for _, v := range m[nft.HookNAT] {
		ok = ok && (v == "" || v == id)
	}
	return id, ok
}
