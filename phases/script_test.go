package phases

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/nft"
)

// A script is a row of words, each one thing that happens:
//
//	apply:P      register plan P         drill         exercise unblock
//	req[:STEP]   freeze                  ok:WHO no:WHO approve, deny
//	arm[:LEASE]  arm, or a brownout      yes           confirm
//	back[:TO]    roll back               group:G       put one group back
//	pause resume                         wait:D        time passes
//	restart      a new process           reboot        a new, empty kernel
//	keep         the boot snapshot       boot          the same, and it is restored; a new process
//	delete       somebody deletes the table
//	hand:TO      nft -f of the backout   raw:TO        its bytes, without the daemon
//	remove       weir removes the table
//	foreign      somebody writes the maps look         recover
//	open:G       check that G is denied nothing
//	restore      after a reboot          to:STEP       every step up to STEP, confirmed
//
// A word may end in =ERR: it must fail with that error.
type script struct {
	t failer
	w *world
	m *Machine
	f func(*world) Facts

	old [2][]byte
}

var people = map[string]Actor{"anna": anna, "ben": ben, "cleo": cleo, "root": root,
	"anna-sudo": {UID: 0, LoginUID: 1001, Name: "root"}}

var errNames = map[string]error{
	"noplan": ErrNoPlan, "gate": ErrGate, "pending": ErrPending, "notrial": ErrNoTrial, "paused": ErrPaused, "notpaused": ErrNotPaused,
	"drift": ErrDrift, "lifeline": ErrLifeline, "nonext": ErrNoNext, "notnext": ErrNotNext, "norequest": ErrNoRequest, "nosuch": ErrNoSuchStep,
	"brownout": ErrBrownout, "nothing": ErrNothing, "sameplan": ErrSamePlan, "notapproved": ErrNotApproved, "self": ErrSelfApproval,
	"twice": ErrApprovedOnce, "indistinct": ErrIndistinct, "expired": ErrExpired, "used": ErrUsed, "denied": ErrDenied,
	"replanned": ErrReplanned, "over": ErrOverChanged, "replaced": ErrReplaced, "lapsed": ErrLapsed, "unknown": ErrUnknown,
}

func newScript(t failer) *script {
	w := newWorld()
	return &script{t: t, w: w, m: w.open(t), f: facts}
}

func (s *script) run(row string) {
	s.t.Helper()
	for _, word := range strings.Fields(row) {
		word, want, fails := strings.Cut(word, "=")
		err := s.do(word)
		switch {
		case fails && errNames[want] == nil:
			s.t.Fatalf("%s: no such error name %q", word, want)
		case fails && !errors.Is(err, errNames[want]):
			s.t.Fatalf("%s in %q: %v; want %v", word, row, err, errNames[want])
		case !fails && err != nil:
			s.t.Fatalf("%s in %q: %v", word, row, err)
		}
		s.check(word)
	}
}

func (s *script) do(word string) error {
	w, m := s.w, s.m
	word, arg, _ := strings.Cut(word, ":")
	w.now = w.now.Add(time.Second)
	switch word {
	case "apply":
		return m.Apply(ctx, w.now, anna, testPlans[arg], []byte(arg))
	case "drill":
		return m.Drilled(ctx, w.now, anna, time.Second)
	case "req":
		mat := material(w)
		mat.Facts = s.f(w)
		_, _, err := m.Request(ctx, w.now, anna, arg, mat)
		return err
	case "ok":
		return m.Approve(ctx, w.now, people[arg], "")
	case "no":
		return m.Deny(ctx, w.now, people[arg], "", "")
	case "arm":
		var lease time.Duration
		if arg != "" {
			lease, _ = time.ParseDuration(arg)
		}
		_, err := m.Advance(ctx, w.now, anna, "", lease, s.f(w))
		return err
	case "yes":
		return m.Confirm(ctx, w.now, anna)
	case "back":
		return m.Rollback(ctx, w.now, ben, arg)
	case "group":
		return m.RollbackGroup(ctx, w.now, ben, arg)
	case "pause":
		return m.Pause(ctx, w.now, ben, "lunch")
	case "resume":
		return m.Resume(ctx, w.now, ben)
	case "wait":
		d, err := time.ParseDuration(arg)
		w.now = w.now.Add(d)
		return err
	case "restart":
		s.m = w.open(s.t)
		_, err := s.m.Recover(ctx, w.now)
		return err
	case "reboot":
		w.k.Reboot()
	case "old": // the snapshot as it is
		s.old = [2][]byte{w.snapshot, w.choice}
	case "oldboot": // the boot of a disk that had not got what came after "old"
		w.snapshot, w.choice = s.old[0], s.old[1]
		return s.do("boot")
	case "rot":
		w.snapshot = w.snapshot[:len(w.snapshot)/2]
		if err := w.boot(); !errors.Is(err, ErrBoot) {
			return fmt.Errorf("half a snapshot: %w", err)
		}
		s.m = w.open(s.t)
		_, err := s.m.Recover(ctx, w.now)
		return err
	case "keep":
		return m.KeepBoot(w.now)
	case "boot":
		if err := w.boot(); err != nil {
			return err
		}
		return s.do("restart")
	case "delete":
		w.k.Delete()
	case "hand", "raw":
		from := w.running()
		if from == "" {
			from = w.stable()
		}
		if arg == "" {
			arg = "default"
		}
		var r nft.Rollback
		if err := json.Unmarshal([]byte(w.out[from+"/"+arg]), &r); err != nil {
			return fmt.Errorf("no backout from %s to %s: %w", from, arg, err)
		}
		if word == "hand" {
			r.Kind = nft.TxHold
		}
		return w.Rollback(ctx, r)
	case "remove":
		w.k.Delete()
		return m.Removed(ctx, w.now, anna)
	case "foreign":
		r := nft.Rollback{ID: "rffffffffffff", Entry: map[string]string{"f": "rffffffffffff_f", "o": "rffffffffffff_o"},
			Hooks: []string{"f", "o"}, Tx: "somebody", Kind: nft.TxRollback}
		rev := nft.Revision{ID: r.ID, Ruleset: nft.Ruleset{Chains: []nft.Chain{{Name: "rffffffffffff_f"}, {Name: "rffffffffffff_o"}}}}
		if arg == "half" {
			delete(r.Entry, "o")
		}
		return errors.Join(w.k.Load(ctx, rev), w.k.Rollback(ctx, r))
	case "look":
		_, err := m.Recover(ctx, w.now)
		return err
	case "open":
		if !s.passing()[arg].open {
			s.t.Fatalf("group %s is denied something", arg)
		}
	case "restore":
		return m.Restore(ctx, w.now, Self)
	case "to":
		for {
			if name, hash, _, _ := m.State().Current(); name == arg && hash == m.Plan().Hash {
				return nil
			}
			for _, w := range []string{"wait:1h", "req", "ok:ben", "ok:cleo", "arm", "yes"} {
				if err := s.do(w); err != nil {
					return fmt.Errorf("%s on the way to %s: %w", w, arg, err)
				}
			}
		}
	default:
		s.t.Fatalf("no such word: %s", word)
	}
	return nil
}

// check holds after every word: recovering again changes nothing, the state is
// the fold of the journal, and the machine says what the kernel holds.
func (s *script) check(word string) {
	s.t.Helper()
	if slices.Contains([]string{"reboot", "delete", "hand", "raw", "foreign", "wait"}, strings.SplitN(word, ":", 2)[0]) {
		if _, err := s.m.Recover(ctx, s.w.now); err != nil {
			s.t.Fatalf("recover after %s: %v", word, err)
		}
	} else if s.w.running() == "" && s.m.state.Trial != nil {
		return // it lapsed by time alone; the next look sees it
	}
	s.checkBoot(word)
	if more, err := s.m.Recover(ctx, s.w.now); err != nil || len(more) > 0 {
		s.t.Fatalf("after %s a second recover writes %+v, %v", word, more, err)
	}
	st := s.m.state
	if st.StableID != s.w.stable() && st.Drift == "" || (st.Trial != nil) != (s.w.running() != "") {
		s.t.Fatalf("after %s the machine says %q trial %v, the kernel holds %s", word, st.StableID, st.Trial, s.w.words(s.m))
	}
	if got := len(s.m.back()); got != len(s.w.backed()) {
		s.t.Fatalf("after %s the machine says back %v, the kernel %v", word, s.m.back(), s.w.backed())
	}
	folded, _ := json.Marshal(Fold(s.w.records))
	now, _ := json.Marshal(st)
	if string(folded) != string(now) {
		i := 0
		for i < min(len(folded), len(now)) && folded[i] == now[i] {
			i++
		}
		at := func(b []byte) []byte { return b[max(0, i-80):min(len(b), i+200)] }
		s.t.Fatalf("after %s the state is not the fold of the journal:\n%s\n%s", word, at(folded), at(now))
	}
}

// checkBoot: once it had the chance, the snapshot says what is confirmed.
func (s *script) checkBoot(word string) {
	s.t.Helper()
	if err := s.m.KeepBoot(s.w.now); err != nil {
		s.t.Fatalf("after %s: %v", word, err)
	}
	st := s.m.state
	if st.Out || st.Drift != "" || len(st.Confirms) == 0 {
		if st.Out && s.w.snapshot != nil {
			s.t.Fatalf("after %s there is still a boot snapshot", word)
		}
		return
	}
	b, err := DecodeBoot(s.w.snapshot)
	if err != nil {
		s.t.Fatalf("after %s: %v", word, err)
	}
	want, back := st.Heads[st.Stable].Revision, s.m.back()
	if st.Gone {
		back = st.WasBack
	}
	if st.Stable == "" {
		back = nil
		if !st.isOff(b.Revision) {
			s.t.Fatalf("after %s everything is open, and a boot restores %s", word, b.Step)
		}
		want = b.Revision
	}
	if b.Digest != st.Stable || b.Revision != want || !slices.Equal(b.Back, back) {
		s.t.Fatalf("after %s the snapshot says %s %s %v, confirmed is %s %v", word, b.Step, b.Revision, b.Back, want, back)
	}
}

// end is what a script ends in.
func (s *script) end() string {
	out := s.w.words(s.m)
	st := s.m.State()
	if st.Pause != nil {
		out += " paused"
	}
	if st.Gone {
		out += " gone"
	}
	if st.Drift != "" {
		out += " drift"
	}
	return out
}

func init() {
	planNamed("p", nil)
	plainApprovals := func(p *planT) {
		p.Approvals = nil
	}
	planNamed("lax", plainApprovals)
	planNamed("wider", func(p *planT) { // one more declared flow
		p.Declared = append(p.Declared, declared("desks", "tcp/5432"))
	})
	planNamed("moved", func(p *planT) { // cameras got other members
		p.Groups[0].Members = prefixes("10.1.0.0/17")
	})
	planNamed("never", func(p *planT) {
		p.Never = append(p.Never, neverFrom("desks", "tcp/23"))
	})
	planNamed("nocore", func(p *planT) { // a wave less
		p.Enforce.Waves = p.Enforce.Waves[:3]
		p.Enforce.LeaveOpen = []string{"servers", "unassigned"}
	})
	planNamed("pot", func(p *planT) { p.Enforce.Waves[0].Deny = "honeypot" })
	planNamed("new", func(p *planT) { p.Environment = "new" })
	planNamed("brown", func(p *planT) {
		p.Enforce.Waves[0].Brownouts = []time.Duration{2 * time.Minute, 15 * time.Minute}
	})
	planNamed("widedesks", func(p *planT) { // the refactoring allows more than the evidence
		p.Refactor[0].Allow[0].Services = services("tcp", "udp")
	})
}

func TestScripts(t *testing.T) {
	start := "apply:p drill "
	for _, row := range []struct{ name, script, end string }{
		{"nothing", "req=noplan ok:ben=noplan arm=noplan yes=notrial back=nothing resume=notpaused", "-"},
		{"first step", "apply:p req ok:anna arm yes", "monitor"},
		{"an observing step needs its approval", "apply:p req arm=notapproved", "-"},
		{"the same plan twice", "apply:p apply:p=sameplan", "-"},
		{"arming asks for a request", "apply:p arm=norequest", "-"},
		{"a step that is not next", "apply:p req:watch=notnext req:enforce/block:nobody=nosuch", "-"},
		{"the end", start + "to:watch req=nonext", "watch"},

		{"lapse", "apply:p req ok:anna arm wait:11m yes=lapsed", "-"},
		{"lapse seen by a new process", "apply:p req ok:anna arm wait:11m restart yes=lapsed", "-"},
		{"lapse keeps the confirmed step", start + "to:enforce/alert req ok:ben ok:cleo arm wait:11m look", "enforce/alert"},
		{"a lapsed step is frozen anew", start + "to:enforce/alert req ok:ben ok:cleo arm wait:11m arm=used req arm=notapproved ok:ben ok:cleo arm yes", "enforce/block:cameras"},
		{"one trial at a time", "apply:p req ok:anna arm arm=pending req=pending apply:wider=pending", "- trial monitor"},
		{"nobody is told twice", "apply:p req ok:anna arm yes yes=notrial", "monitor"},

		{"quorum", start + "to:enforce/alert req ok:ben arm=notapproved ok:ben=twice ok:cleo arm", "enforce/alert trial enforce/block:cameras"},
		{"no self-approval", start + "to:enforce/alert req ok:anna=self ok:anna-sudo=self", "enforce/alert"},
		{"people who cannot be told apart", start + "to:enforce/alert req ok:root=indistinct", "enforce/alert"},
		{"root alone in a small office", "apply:lax req ok:root arm yes", "monitor"},
		{"expiry", start + "to:enforce/alert req ok:ben wait:241h ok:cleo arm=expired ok:ben arm", "enforce/alert trial enforce/block:cameras"},
		{"denied", start + "to:enforce/alert req ok:ben no:cleo ok:ben=denied arm=denied", "enforce/alert"},
		{"void by a plan", start + "to:enforce/alert req ok:ben ok:cleo apply:wider arm=replanned ok:ben=replanned", "enforce/alert"},
		{"void by another request", start + "to:enforce/alert req ok:ben ok:cleo req arm=notapproved", "enforce/alert"},
		{"void by a rollback", start + "to:enforce/block:cameras req ok:ben ok:cleo back resume arm=over", "enforce/alert"},

		{"pause", start + "to:monitor req ok:ben pause arm=paused resume arm yes", "enforce/alert"},
		{"pause in a trial", start + "to:monitor req ok:ben arm pause yes=paused resume yes", "enforce/alert"},

		{"rollback ends a trial", start + "to:enforce/alert req ok:ben ok:cleo arm back arm=paused", "enforce/alert paused"},
		{"rollback of the first trial", "apply:p req ok:anna arm back", "off paused"},
		{"one step back", start + "to:enforce/block:desks back", "enforce/block:pilot paused"},
		{"two steps back", start + "to:enforce/block:desks back back", "enforce/block:cameras paused"},
		{"all the way", start + "to:enforce/block:cameras back back back back=nothing", "off paused"},
		{"to a step", start + "to:watch back:enforce/alert", "enforce/alert paused"},
		{"to a phase", start + "to:watch back:enforce", "enforce/block:core paused"},
		{"the phase", start + "to:watch back:phase", "refactor/swap:desks paused"},
		{"the phase before", start + "to:watch back:phase back:phase", "enforce/block:core paused"},
		{"to off", start + "to:watch back:off", "off paused"},
		{"to a step that never was", start + "to:enforce/alert back:watch=nosuch back:enforce/block:core=nosuch", "enforce/alert"},
		{"and on again", start + "to:enforce/block:desks back resume to:watch", "watch"},
		{"from off and on again", start + "to:enforce/block:desks back:off resume to:enforce/block:cameras", "enforce/block:cameras"},
		{"after a widening nothing is denied by going back", "apply:widedesks drill to:refactor/swap:desks back", "enforce/block:core back desks paused"},
		{"nor by ending its trial", "apply:widedesks drill to:enforce/block:core req ok:ben arm back", "enforce/block:core back desks paused"},
		{"and it is a step to block again", "apply:widedesks drill to:enforce/block:core req ok:ben arm back resume req:enforce/block:pilot", "enforce/block:core back desks"},

		{"one group", start + "to:enforce/block:core group:desks", "enforce/block:core back desks paused"},
		{"one group blocks again by a step", start + "to:enforce/block:core group:desks resume req:enforce/block:pilot ok:ben ok:cleo arm yes", "enforce/block:pilot"},
		{"one group, in a trial", start + "to:enforce/block:pilot req ok:ben ok:cleo arm group:cameras resume yes", "enforce/block:desks back cameras"},
		{"one group, after the next was frozen", start + "to:enforce/block:pilot req ok:ben ok:cleo group:cameras resume arm yes", "enforce/block:desks back cameras"},
		{"and then it blocks again first", start + "to:enforce/block:pilot req ok:ben ok:cleo arm group:cameras resume yes req:enforce/block:cameras ok:ben ok:cleo arm yes", "enforce/block:cameras"},

		{"brownouts first", "apply:brown drill to:enforce/alert req ok:ben ok:cleo arm=gate", "enforce/alert"},
		{"brownout", "apply:brown drill to:enforce/alert req ok:ben ok:cleo arm:2m yes=brownout wait:3m look", "enforce/alert"},
		{"brownouts keep the approval", "apply:brown drill to:enforce/alert req ok:ben ok:cleo arm:2m wait:3m arm=gate arm:15m wait:16m arm yes", "enforce/block:cameras"},
		{"brownout that the plan does not have", start + "to:enforce/alert req ok:ben ok:cleo arm:2m=gate", "enforce/alert"},
		{"brownout longer than planned", "apply:brown drill to:enforce/alert req ok:ben ok:cleo arm:16m=gate", "enforce/alert"},

		{"by hand", start + "to:enforce/block:desks hand", "enforce/block:pilot paused"},
		{"by hand in a trial", start + "to:enforce/block:pilot req ok:ben ok:cleo arm hand", "enforce/block:pilot paused"},
		{"by hand from where the step before holds the same rules", start + "to:watch hand", "enforce/block:core paused"},
		{"back from there", start + "to:watch back", "enforce/block:core paused"},
		{"ending a trial of the same rules", start + "to:refactor/swap:desks req ok:ben arm back", "refactor/swap:desks paused"},
		{"by hand to off", start + "to:watch hand:off", "off paused"},
		{"by hand, then resumed", start + "to:enforce/block:desks hand req arm=paused resume to:watch", "watch"},
		{"bytes", start + "to:enforce/block:desks raw:enforce/alert", "enforce/alert paused"},
		{"bytes while dead", start + "to:enforce/block:desks raw restart", "enforce/block:pilot paused"},

		{"reboot", start + "to:enforce/block:desks reboot", "- gone"},
		{"reboot without anything", "apply:p reboot", "-"},
		{"reboot in the first trial", "apply:p req ok:anna arm reboot req ok:anna arm yes", "monitor"},
		{"restore", start + "to:enforce/block:desks reboot req=drift restore to:watch", "watch"},
		{"restore what was back", start + "to:enforce/block:desks group:cameras reboot restore=paused resume restore", "enforce/block:desks back cameras"},
		{"rolled back and rebooted", start + "to:enforce/block:desks back reboot restore=paused resume restore", "enforce/block:pilot"},
		{"back to what the reboot unloaded", start + "to:enforce/block:desks reboot restore back", "enforce/block:pilot paused"},
		{"boot", start + "to:enforce/block:desks boot", "enforce/block:desks"},
		{"boot, and on", start + "to:enforce/block:desks boot to:watch", "watch"},
		{"boot and back", start + "to:enforce/block:desks boot back", "enforce/block:pilot paused"},
		{"boot in a trial", start + "to:enforce/alert req ok:ben ok:cleo arm boot yes=notrial", "enforce/alert"},
		{"boot in the first trial", "apply:p req ok:anna arm boot", "-"},
		{"boot with a group back", start + "to:enforce/block:desks group:cameras boot", "enforce/block:desks back cameras paused"},
		{"boot after a rollback", start + "to:enforce/block:desks back boot", "enforce/block:pilot paused"},
		{"boot after off", start + "to:enforce/block:desks back:off boot", "off paused"},
		{"boot after a hand that was seen", start + "to:enforce/block:desks hand look boot", "enforce/block:pilot paused"},
		{"boot after a removal", start + "to:enforce/block:desks remove boot", "-"},
		{"boot after somebody deleted the table", start + "to:enforce/block:desks delete boot", "enforce/block:desks"},
		{"boot without its unit, then with it", start + "to:enforce/block:desks group:cameras resume reboot boot", "enforce/block:desks back cameras"},
		{"boot with a honeypot", "apply:pot drill to:enforce/block:desks boot", "enforce/block:desks"},
		{"boot under a changed plan", start + "to:enforce/block:desks apply:moved boot req:enforce/alert ok:ben arm yes boot", "enforce/alert"},
		{"boot of an older snapshot", start + "to:enforce/block:pilot old to:enforce/block:desks oldboot", "enforce/block:pilot gone"},
		{"and what is confirmed comes back", start + "to:enforce/block:pilot old to:enforce/block:desks oldboot restore boot", "enforce/block:desks"},
		{"and a rollback from there", start + "to:enforce/block:pilot old to:enforce/block:desks oldboot back", "enforce/block:cameras paused"},
		{"boot of a damaged snapshot", start + "to:enforce/block:desks rot", "- gone"},
		{"deleted", start + "to:enforce/block:desks delete back=nothing", "- gone"},

		{"removed on purpose", start + "to:enforce/block:desks group:cameras remove restore=nothing resume to:enforce/block:cameras", "enforce/block:cameras"},
		{"removed in a trial", start + "to:enforce/alert req ok:ben ok:cleo arm remove req", "-"},
		{"foreign", start + "to:enforce/block:desks foreign arm=paused resume arm=drift req=drift", "rffffffffffff drift"},
		{"half a switch", start + "to:enforce/block:desks foreign:half arm=paused resume arm=drift back:enforce/alert", "enforce/alert paused"},
		{"honeypot", "apply:pot drill to:enforce/block:desks back back resume to:watch", "watch"},
		{"from a honeypot to a step without", "apply:pot drill to:enforce/block:desks hand:enforce/alert", "enforce/alert paused"},
		{"from a honeypot to off", "apply:pot drill to:watch back:off", "off paused"},
		{"a honeypot's trial", "apply:pot drill to:enforce/alert req ok:ben ok:cleo arm back", "enforce/alert paused"},
		{"a honeypot's lapse", "apply:pot drill to:enforce/alert req ok:ben ok:cleo arm wait:11m look", "enforce/alert"},
		{"foreign, then open", start + "to:enforce/block:desks foreign back:off", "- paused"},

		{"environment new", "apply:new drill req:monitor=nosuch to:enforce/block:cameras", "enforce/block:cameras"},
		{"no block without a drill", "apply:p to:enforce/alert req ok:ben ok:cleo arm=gate drill arm", "enforce/alert trial enforce/block:cameras"},

		{"a plan changes nothing", start + "to:enforce/block:desks apply:wider", "enforce/block:desks"},
		{"wider comes back at its place", start + "to:enforce/block:desks apply:wider req:enforce/block:desks ok:ben ok:cleo arm yes", "enforce/block:desks"},
		{"wider, and on", start + "to:enforce/block:desks apply:wider to:watch", "watch"},
		{"other members go through alert", start + "to:enforce/block:desks apply:moved req:enforce/alert ok:ben arm yes", "enforce/alert"},
		{"other members block again", start + "to:enforce/block:desks apply:moved req:enforce/alert ok:ben arm yes req:enforce/block:cameras ok:ben ok:cleo arm yes req:enforce/block:core", "enforce/block:cameras"},
		{"a never narrows", start + "to:enforce/block:desks apply:never req:enforce/alert", "enforce/block:desks"},
		{"back over a changed plan", start + "to:enforce/block:desks apply:moved req ok:ben arm yes back", "enforce/block:desks back cameras,desks paused"},
		{"a rollback under a changed plan is not undone by its way back in", start + "to:enforce/block:desks apply:wider req ok:ben ok:cleo arm yes back:enforce/alert resume req:enforce/block:desks=notnext req:enforce/alert ok:ben arm yes open:cameras open:desks", "enforce/alert"},
		{"the confirmed step again", start + "to:enforce/block:desks req:enforce/block:desks ok:ben ok:cleo arm yes", "enforce/block:desks"},
		{"two plans, one confirm", start + "to:enforce/block:desks apply:moved apply:wider req:enforce/block:desks", "enforce/block:desks"},
		{"back to the old plan", start + "to:enforce/block:desks apply:moved apply:p to:watch", "watch"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScript(t)
			s.run(row.script)
			if got := s.end(); got != row.end {
				t.Errorf("%s\nends in %q, want %q", row.script, got, row.end)
			}
		})
	}
}
