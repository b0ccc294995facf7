package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"weir/phases/enforce"
	"weir/phases/expect"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/phases"
	"weir/plans"
)

// verbs lists everything that the socket answers.
func (d *Daemon) verbs() map[string]api.Handler {
	return map[string]api.Handler{
		"apply":      verb(d, d.apply),
		"status":     verb(d, d.status),
		"history":    verb(d, d.history),
		"request":    verb(d, d.request),
		"approve":    verb(d, d.approve),
		"advance":    verb(d, d.advance),
		"confirm":    verb(d, d.confirm),
		"rollback":   verb(d, d.rollback),
		"noticed":    verb(d, d.noticed),
		"pause":      verb(d, d.pause),
		"resume":     verb(d, d.resume),
		"restore":    verb(d, d.restore),
		"mend":       verb(d, d.mend),
		"around":     verb(d, d.listSurroundings),
		"accept":     verb(d, d.accept),
		"remove":     verb(d, d.remove),
		"frozen":     verb(d, d.frozen),
		"leaktest":   verb(d, d.leaktest),
		"preview":    verb(d, d.preview),
		"flows":      verb(d, d.flows),
		"ports":      verb(d, d.ports),
		"endpoints":  verb(d, d.endpoints),
		"coverage":   verb(d, d.coverage),
		"evidence":   verb(d, d.exportEvidence),
		"lines":      verb(d, d.lines),
		"answer":     verb(d, d.answer),
		"unblock":    verb(d, d.unblock),
		"unblocks":   verb(d, d.unblocks),
		"end":        verb(d, d.endUnblock),
		"drill":      verb(d, d.drill),
		"quarantine": verb(d, d.quarantine),
		"why":        verb(d, d.why),
		"explain":    verb(d, d.explain),
		"findings":   verb(d, d.findings),
		"refactor":   verb(d, d.refactoring),
		"notify":     verb(d, d.notified),
		"openings":   verb(d, d.openings),
		"statement":  verb(d, d.statement),
		"trust":      verb(d, d.trust),
		"trustfile":  verb(d, d.acceptTrust),
		"wider":      verb(d, d.wider),
		"audit":      verb(d, d.auditPart),
		"ticket":     verb(d, d.ticket),
		"frozenfile": verb(d, d.frozenFile),
		"report":     d.auditReport,
	}
}

// caller is who asks, and when.
type caller struct {
	phases.Actor
	now time.Time
}

// verb makes a handler of a method: arguments are decoded strictly, and the
// method runs in the loop.
func verb[In, Out any](d *Daemon, f func(context.Context, caller, In) (Out, error)) api.Handler {
	return func(ctx context.Context, peer api.Peer, args json.RawMessage) (any, error) {
		var in In
		dec := json.NewDecoder(strings.NewReader(string(args)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&in); err != nil {
			return nil, exit.Errorf(exit.Usage, "cannot read the arguments: %w", err).
				WithHint("the command and the daemon may be of different versions: weir version")
		}
		var out Out
		// A caller that goes away does not stop what was begun.
		ctx = context.WithoutCancel(ctx)
		err := d.do(ctx, func() (err error) {
			c := caller{phases.Actor{UID: peer.UID, LoginUID: peer.LoginUID, Name: peer.Name, PID: peer.PID, Exe: peer.Exe}, d.cfg.Now()}
			defer d.checkpoint()
			d.lookAtOff()
			d.lookAtTrust(ctx, c.now)
			out, err = f(ctx, c, in)
			return err
		})
		return out, err
	}
}

// None is an empty answer or argument.
type None = struct{}

func (d *Daemon) apply(ctx context.Context, c caller, in api.ApplyArgs) (api.Applied, error) {
	p, err := plans.Parse(in.File, in.Text)
	if err != nil {
		return api.Applied{}, exit.Errorf(exit.Invalid, "%w", err)
	}
	tests, err := expect.Plan(p, c.now)
	if err != nil {
		return api.Applied{}, exit.Errorf(exit.Invalid, "%w", err)
	}
	if bad := expect.Failures(tests); len(bad) > 0 {
		return api.Applied{}, exit.Errorf(exit.Invalid, "the plan contradicts its own tests: %s", strings.Join(bad, "; ")).WithHint("weir check shows each")
	}
	preview, err := d.machine.Preview(*p)
	if err != nil {
		return api.Applied{}, err
	}
	if err := d.machine.Apply(ctx, c.now, c.Actor, *p, in.Text); err != nil {
		return api.Applied{}, err
	}
	d.planChanged()
	if err := d.startReaders(ctx); err != nil {
		return api.Applied{}, err
	}
	return api.Applied{Plan: p.Name, Hash: p.Hash, Next: preview}, nil
}

func (d *Daemon) request(ctx context.Context, c caller, in api.StepArgs) (api.Requested, error) {
	if err := d.refresh(ctx, c.now, 0); err != nil {
		return api.Requested{}, err
	}
	// What a step is frozen from outlives a crash: the connection table does not
	// tell link addresses a second time.
	if err := d.flush(c.now); err != nil {
		return api.Requested{}, err
	}
	if err := d.lookBeside(ctx, c.now); err != nil {
		return api.Requested{}, err
	}
	mat, err := d.material(c.now)
	if err != nil {
		return api.Requested{}, err
	}
	mat.NotBefore, mat.NotAfter = in.NotBefore, in.NotAfter
	mat.Tickets = d.ticketsAsked(in.Tickets)
	if in.Frozen != nil {
		head, gates, err := d.machine.Take(ctx, c.now, c.Actor, in.Frozen, mat)
		if err != nil {
			return api.Requested{Gates: gates}, err
		}
		return d.requested(head, gates)
	}
	head, gates, err := d.machine.Request(ctx, c.now, c.Actor, in.Step, mat)
	if err != nil {
		return api.Requested{Gates: gates}, err
	}
	return d.requested(head, gates)
}

func (d *Daemon) requested(head phases.Head, gates []phases.GateResult) (api.Requested, error) {
	out := api.Requested{Digest: head.Digest(), Step: head.Step, Gates: gates, Plan: head.Plan, Rehearsal: head.Rehearsal, Forecast: head.Forecast}
	f, err := d.frozenStep(head.Digest())
	if err != nil {
		return out, err
	}
	out.Changes, err = d.changes(f)
	return out, err
}

func (d *Daemon) frozen(ctx context.Context, c caller, in api.DigestArgs) (api.FrozenText, error) {
	digest := in.Digest
	if digest == "" {
		switch s := d.machine.State(); {
		case s.Request != nil:
			digest = s.Request.Digest
		case s.Trial != nil:
			digest = s.Trial.Digest
		default:
			digest = s.Stable
		}
	}
	if digest == "" {
		return api.FrozenText{}, exit.From(phases.ErrNoRequest)
	}
	f, err := d.frozenStep(digest)
	if err != nil {
		return api.FrozenText{}, err
	}
	return api.FrozenText{Digest: digest, Head: f.Head, Text: f.Rules.Ruleset.String()}, nil
}

func (d *Daemon) approve(ctx context.Context, c caller, in api.ApproveArgs) (api.Decided, error) {
	switch {
	case len(in.Signature) > 0:
		return d.decideSigned(ctx, c, in)
	case in.Deny:
		return api.Decided{}, d.machine.Deny(ctx, c.now, c.Actor, in.Digest, in.Reason)
	}
	return api.Decided{}, d.machine.Approve(ctx, c.now, c.Actor, in.Digest)
}

func (d *Daemon) advance(ctx context.Context, c caller, in api.AdvanceArgs) (api.Advanced, error) {
	s := d.machine.State()
	if s.Request == nil {
		return api.Advanced{}, exit.From(phases.ErrNoRequest)
	}
	step := s.Heads[s.Request.Digest].Step
	if err := d.lookBeside(ctx, c.now); err != nil {
		return api.Advanced{}, err
	}
	facts, err := d.facts(c.now, statusAge)
	if err != nil {
		return api.Advanced{}, err
	}
	if err := d.needs(ctx, c.now, s.Request.Digest, &facts); err != nil {
		return api.Advanced{}, err
	}
	if err := d.prepareCapture(); err != nil {
		return api.Advanced{}, err
	}
	// Before the first rule logs: a flow that nobody hears is remembered by the
	// kernel all the same, and not logged again for an hour.
	watched := d.readers != nil
	if err := d.startReaders(ctx); err != nil {
		return api.Advanced{}, err
	}
	if step.Blocks() {
		if err := d.kernel.ForgetDenied(ctx); err != nil {
			return api.Advanced{}, err
		}
	}
	var gates []phases.GateResult
	if len(in.Signature) > 0 {
		var signer string
		gates, signer, err = d.machine.Emergency(ctx, c.now, c.Actor, in.Statement, in.Signature, facts)
		if err == nil {
			d.page(step.Name, fmt.Sprintf("EMERGENCY: %s was armed without its quorum by %s: %s", step.Name, signer, d.machine.State().Trial.Emergency), c.now)
		}
	} else {
		gates, err = d.machine.Advance(ctx, c.now, c.Actor, in.Digest, in.Brownout, facts)
	}
	if err != nil {
		if !watched {
			d.stopReaders()
			d.recs = make(chan flowRecord, cap(d.recs))
		}
		return api.Advanced{Gates: gates}, err
	}
	d.prober.Kick()
	if w, ok := d.machine.Watched(c.now); ok {
		if err := d.watchWell(w, c.now); err != nil {
			d.log.Error("cannot judge the step's health", "error", err)
		}
	}
	if err := d.takeCensus(ctx, c.now); err != nil {
		d.log.Error("cannot take the census after arming", "error", err)
	}
	return api.Advanced{Step: step, Lease: d.machine.State().Trial.Lease, Gates: gates, Left: d.machine.Look().Left}, nil
}

func (d *Daemon) confirm(ctx context.Context, c caller, in api.ConfirmArgs) (api.Confirmed, error) {
	if err := d.mayConfirm(ctx, c.now); err != nil {
		return api.Confirmed{}, err
	}
	if err := d.proven(c, in.SameSession); err != nil {
		return api.Confirmed{}, err
	}
	if err := d.machine.Confirm(ctx, c.now, c.Actor); err != nil {
		return api.Confirmed{}, err
	}
	name, _, _, _ := d.machine.State().Current()
	d.noteOpenings()
	if err := d.endOpenings(ctx); err != nil {
		d.log.Error("cannot end what an open gate let in; trying again", "error", err)
	}
	if err := d.takeCensus(ctx, d.cfg.Now()); err != nil {
		d.log.Error("cannot take the census after confirming", "error", err)
	}
	if err := d.watchShadow(ctx, d.cfg.Now()); err != nil {
		d.log.Error("cannot watch the shadow after confirming", "error", err)
	}
	return api.Confirmed{Step: name}, d.release(ctx)
}

// release deletes the revisions that nothing needs.
func (d *Daemon) release(ctx context.Context) error {
	if err := d.kernel.Release(ctx, d.machine.Keep()); err != nil {
		return fmt.Errorf("confirmed, but old revisions could not be removed: %w", err)
	}
	return nil
}

func (d *Daemon) rollback(ctx context.Context, c caller, in api.RollbackArgs) (api.RolledBack, error) {
	start := time.Now()
	var err error
	if in.Group != "" {
		err = d.machine.RollbackGroup(ctx, c.now, c.Actor, in.Group)
	} else {
		err = d.machine.Rollback(ctx, c.now, c.Actor, in.To)
	}
	if err != nil {
		return api.RolledBack{}, err
	}
	d.noteOpenings()
	name, _, targets, _ := d.machine.State().Current()
	return api.RolledBack{Step: name, Targets: targets, Took: time.Since(start)}, nil
}

// noticed is told by a command that rolled back without the daemon: who did it
// goes into the journal.
func (d *Daemon) noticed(ctx context.Context, c caller, in api.Noticed) (api.RolledBack, error) {
	records, err := d.machine.RecoverTook(ctx, c.now, c.Actor, in.Took)
	if err == nil && len(records) == 0 {
		// The daemon's own look came first, and knew from the note who it was.
		err = d.machine.Note(ctx, c.now, c.Actor, phases.Noted, phases.Record{Took: in.Took, Words: "saw the rollback in the kernel after " + in.Took.String()})
	}
	if err != nil {
		return api.RolledBack{}, err
	}
	d.dropNote()
	d.noteOpenings()
	d.keepBoot(c.now)
	name, _, targets, _ := d.machine.State().Current()
	return api.RolledBack{Step: name, Targets: targets}, nil
}

func (d *Daemon) pause(ctx context.Context, c caller, in api.PauseArgs) (None, error) {
	return None{}, d.machine.Pause(ctx, c.now, c.Actor, in.Reason)
}

func (d *Daemon) resume(ctx context.Context, c caller, in None) (None, error) {
	if d.machine.State().Pause == nil {
		// A rollback without the daemon may not have been seen yet.
		if _, err := d.recover(ctx, c.now); err != nil {
			return None{}, err
		}
		d.noteOpenings()
	}
	return None{}, d.machine.Resume(ctx, c.now, c.Actor)
}

func (d *Daemon) restore(ctx context.Context, c caller, in None) (api.Confirmed, error) {
	if err := d.machine.Restore(ctx, c.now, c.Actor); err != nil {
		return api.Confirmed{}, err
	}
	d.noteOpenings()
	if err := d.recall(ctx, c.now); err != nil {
		return api.Confirmed{}, fmt.Errorf("restored, but not every exception came back: %w", err)
	}
	name, _, _, _ := d.machine.State().Current()
	return api.Confirmed{Step: name}, nil
}

func (d *Daemon) history(ctx context.Context, c caller, in None) ([]phases.Record, error) {
	records, err := d.machine.History()
	for i := range records {
		records[i].PlanText = nil
	}
	return records, err
}

func (d *Daemon) status(ctx context.Context, c caller, in None) (api.Status, error) {
	if _, err := d.recover(ctx, c.now); err != nil {
		return api.Status{}, err
	}
	look := d.machine.Look()
	var facts phases.Facts
	if d.machine.State().Plan != "" {
		var err error
		if facts, err = d.facts(c.now, statusAge); err != nil {
			return api.Status{}, err
		}
	}
	out := api.Status{Status: d.machine.Status(c.now, facts), Present: look.Present, Observing: d.readers != nil, Spared: look.Spared, Honeypot: d.honeypotText(), Health: d.wellText(c.now), Behind: d.clock.behind(), Audit: d.audit.said, Boot: d.bootWords()}
	var err error
	if look.Present {
		if out.Counters, err = d.groupCounters(ctx); err != nil {
			return out, err
		}
		if out.Exceptions, err = d.exceptions(ctx); err != nil {
			return out, err
		}
	}
	if out.Request != nil {
		rule := d.machine.State().Heads[out.Request.Digest].Step.Approval
		out.SelfServe = rule.Quorum == 1 && rule.SelfApproval && out.Trust == nil
		out.Stale = slices.ContainsFunc(d.answers, func(a enforce.Answer) bool { return a.At.After(out.Request.At) })
	}
	if w, ok := d.evidence.Witnessed(); ok {
		out.Witnessed = &w
	}
	for _, l := range d.openLines(c.now) {
		if l.Answer == nil {
			out.Questions++
		}
	}
	return out, nil
}

// groupCounters reads what each group's packets met.
func (d *Daemon) groupCounters(ctx context.Context) (map[string]api.Counts, error) {
	all, err := d.kernel.Counters(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]api.Counts{}
	for _, g := range d.machine.Plan().Groups {
		out[g.Name] = api.Counts{Allowed: all["w_c_"+g.Name+"_allowed"], Would: all["w_c_"+g.Name+"_would"], Denied: all["w_c_"+g.Name+"_denied"]}
	}
	return out, nil
}

// remove takes everything of weir out of the kernel.
func (d *Daemon) remove(ctx context.Context, c caller, in api.RemoveArgs) (api.Removed, error) {
	return d.removeAll(ctx, c, in)
}
