package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/notify"
	"weir/cmd/weir/internal/probe"
	"weir/cmd/weir/internal/sd"
	"weir/nft/capture"
	"weir/nft/kernel"
	"weir/phases"
	"weir/phases/compile"
	"weir/phases/enforce"
	"weir/phases/monitor"
	"weir/plans"
	"weir/store"
)

// Config says where a daemon's world is.
type Config struct {
	State  string           // folder, made with mode 0700
	Socket string           // path
	Now    func() time.Time // rollout time
	Trust  string           // path of the trust file; it need not exist; "": approvals are by account
	Log    io.Writer
	Ready  func() // called once commands are answered; may be nil
}

// tick is how often the daemon looks at the kernel.
const tick = 500 * time.Millisecond

// Daemon is a running daemon. Everything below "owned" belongs to the loop.
type Daemon struct {
	cfg   Config
	log   *slog.Logger
	calls chan func()
	recs  chan flowRecord
	gaps  chan capture.Gap
	wait  sync.WaitGroup

	access atomic.Pointer[access] // who may what; written by the loop alone
	notify *notify.Notifier       // may be called from anywhere

	// owned by the loop
	machine     *phases.Machine
	journal     *store.Journal
	files       *store.Files
	audit       auditing
	kernel      *kernel.Kernel
	store       *store.EvidenceStore
	evidence    *monitor.Evidence
	answers     enforce.Answers
	classes     *plans.Classifier
	readers     *readers
	beat        time.Time // last heartbeat booked
	clock       clock     // rollout time; what the daemon does every so often goes by the machine's own
	flushed     time.Time
	compacted   time.Time
	dumped      time.Time // the connection table was read
	lifelinesAt time.Time // what the machine depends on was looked at
	windowsAt   time.Time // declared windows are looked at again
	reportAt    time.Time // watch.report is due; zero: not known yet
	census      census
	shadow      shadow
	gen         uint64   // moves with the evidence
	computed    computed // from it
	lastFrozen  struct {
		digest string
		step   phases.Frozen
	}
	moved      map[string]time.Time // group → when its would-be-denied counter last moved
	would      map[string]uint64    // that counter at the last look
	lines0     uint64               // log lines that had come at the last look
	heard      time.Time            // when the way from a log rule to here was last seen to work
	unscoped   uint64               // records that the plan does not judge
	unusable   uint64               // records without an address or a protocol
	lastErr    string               // last complaint of the tick, so that it is said once
	pot        pot
	drift      driftWatch
	around     surveyed
	judgeCache judgeCache
	started    started
	sessions   sessions     // into this machine, looked for when one is met
	accessOf   *plans.Trust // what access was made of
	told       told         // of openings
	prober     *probe.Prober
	well       wellness
	denials    uint64 // records of denied packets
}

// Run is a daemon from start to end. It returns when ctx is done; what is in
// the kernel stays.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := os.MkdirAll(cfg.State, 0o700); err != nil {
		return fmt.Errorf("cannot make the state folder: %w", err)
	}
	if err := store.Guarded(cfg.State); err != nil {
		return fmt.Errorf("what the daemon keeps decides what it sends to the kernel: %w", err)
	}
	d := &Daemon{cfg: cfg, calls: make(chan func()), recs: make(chan flowRecord, 65536), gaps: make(chan capture.Gap, 64)}
	d.clock.wall = cfg.Now
	d.cfg.Now = d.clock.now
	d.log = slog.New(slog.NewTextHandler(PlainLog(cfg.Log), nil))
	d.notify = d.newNotifier()
	defer d.closeNotifier()
	d.prober = probe.New(cfg.Now)
	defer d.prober.Close()
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.open(ctx); err != nil {
		return err
	}
	l, err := api.Listen(cfg.Socket)
	if err != nil {
		return err
	}
	defer os.Remove(cfg.Socket)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	srv := &api.Server{Verbs: d.verbs(), Allow: func(p api.Peer, verb string) error { return d.access.Load().allow(p, verb) }}
	d.openSocket(d.access.Load())
	go func() { served <- srv.Serve(ctx, l); cancel() }()
	if err := d.hearChanges(ctx); err != nil {
		d.log.Error("changes of nftables by others are looked for every half second only", "error", err)
	}
	if err := sd.Notify(sd.Ready); err != nil {
		d.log.Warn("cannot tell systemd that the daemon is ready", "error", err)
	}
	d.log.Info("ready", "socket", cfg.Socket, "state", cfg.State)
	if cfg.Ready != nil {
		cfg.Ready()
	}
	d.loop(ctx)
	if err := sd.Notify(sd.Stopping); err != nil {
		d.log.Warn("cannot tell systemd that the daemon ends", "error", err)
	}
	cancel()
	d.stopHoneypot(context.WithoutCancel(ctx))
	d.stopReaders()
	if d.drift.ended != nil {
		<-d.drift.ended
	}
	return <-served
}

func (d *Daemon) open(ctx context.Context) error {
	var err error
	if d.kernel, err = kernel.Open(kernel.Options{}); err != nil {
		return err
	}
	if d.journal, err = store.OpenJournal(filepath.Join(d.cfg.State, "journal.db")); err != nil {
		return err
	}
	if d.files, err = store.OpenFiles(d.cfg.State); err != nil {
		return err
	}
	if d.store, err = store.OpenEvidence(filepath.Join(d.cfg.State, "evidence.db")); err != nil {
		return err
	}
	d.openAudit()
	boots, err := store.OpenBoots(d.cfg.State)
	if err != nil {
		return err
	}
	d.machine, err = phases.Open(phases.Parts{
		Kernel: d.kernel, Journal: dated{&logged{&mirrored{d.journal, filepath.Join(d.cfg.State, "history.jsonl")}, d}, &d.clock}, Files: d.files,
		Log: witnessed{d}, Stopwatch: stopwatch, Compare: d.compare,
		Parse: func(text []byte) (plans.Plan, error) {
			p, err := plans.Parse("the registered plan", text)
			if err != nil {
				return plans.Plan{}, err
			}
			return *p, nil
		},
		Compile: compile.Compile,
		Rand:    rand.Reader,
		Who:     d.who,
		Nonces:  nonceFolders(d.cfg.State, filepath.Dir(d.cfg.Socket)),
		Boots:   boots,

		Rehearse: d.rehearse,
	})
	if err != nil {
		return err
	}
	if err := d.openTrust(ctx, d.cfg.Now()); err != nil {
		return err
	}
	if d.evidence, err = d.store.Load(); err != nil {
		return err
	}
	if d.answers, err = d.store.Answers(); err != nil {
		return err
	}
	d.planChanged()
	now := d.cfg.Now()
	d.flushed, d.compacted, d.drift.begun = time.Now(), time.Now(), now
	d.lookAtOff()
	d.heardOf(ctx, now)
	if _, err := d.recover(ctx, now); err != nil {
		d.log.Error("cannot read the kernel at start", "error", err)
	}
	if err := d.setAgain(); err != nil {
		d.log.Error("the capture will miss something", "error", err)
	}
	d.checkpoint()
	return d.startReaders(ctx)
}

func (d *Daemon) close() error {
	var errs []error
	if d.shadow.watch != nil {
		errs = append(errs, d.writeShadow(d.cfg.Now()))
	}
	if d.store != nil {
		errs = append(errs, d.flush(d.cfg.Now()), d.store.Close())
	}
	if d.audit.witness != nil {
		d.audit.witness.close()
	}
	if d.audit.log != nil {
		errs = append(errs, d.audit.log.Close())
	}
	if d.journal != nil {
		errs = append(errs, d.journal.Close())
	}
	if d.kernel != nil {
		errs = append(errs, d.kernel.Close())
	}
	return errors.Join(errs...)
}

// planChanged makes what depends on the plan anew.
func (d *Daemon) planChanged() {
	p := d.machine.Plan()
	if p.Hash == "" {
		return
	}
	d.reportAt = time.Time{}
	d.notify.Set(p.Notify.Webhooks, d.cfg.Now())
	d.prober.Set(p.Health)
	d.evidence.SetZone(p.Timezone)
	d.classes = plans.NewClassifier(&p, d.links(p)...)
	d.judgeCache = judgeCache{}
}

// loop owns everything until ctx is done.
func (d *Daemon) loop(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	var complainOnce sync.Once
	watchdog, err := sd.Watchdog()
	if err != nil {
		d.log.Warn("nobody watches over the daemon", "error", err)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-d.calls:
			f()
		case c := <-d.drift.commits:
			d.hear(c)
			if len(d.drift.others) > 0 || d.drift.missed.Load() {
				if err := d.changed(ctx); err != nil {
					d.complain("cannot compare the table with what was recorded", err)
				}
			}
		case r := <-d.recs:
			d.take(r)
			for n := len(d.recs); n > 0; n-- {
				d.take(<-d.recs)
			}
		case g := <-d.gaps:
			d.evidence.AddGap(monitor.Gap{Span: monitor.Span{From: g.From, To: g.To}, Cause: "lost by the kernel (" + g.Source + ")", Lost: g.Lost})
			d.log.Warn("the kernel lost messages", "source", g.Source, "lost", g.Lost, "from", g.From, "to", g.To)
		case <-t.C:
			d.tick(ctx)
			if watchdog > 0 {
				if err := sd.Notify(sd.Alive); err != nil {
					complainOnce.Do(func() { d.log.Error("systemd does not hear that the daemon lives, and will end it", "error", err) })
				}
			}
		}
	}
}

// do runs f in the loop and waits for it.
func (d *Daemon) do(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	select {
	case d.calls <- func() { done <- f() }:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-done
}

// complain says what went wrong, once.
func (d *Daemon) complain(what string, err error) {
	if text := what + ": " + err.Error(); text != d.lastErr {
		d.log.Error(what, "error", err)
		d.lastErr = text
	}
}

// tick looks at the kernel, books the heartbeat and writes evidence.
func (d *Daemon) tick(ctx context.Context) {
	now := d.cfg.Now()
	defer d.checkpoint()
	complain := d.complain
	if _, err := d.recover(ctx, now); err != nil {
		complain("cannot read the kernel", err)
	}
	if r, err := d.machine.ReadBack(ctx, now); err != nil {
		complain("cannot read back what is in force", err)
	} else if r != nil && r.Held == "" {
		d.log.Error(r.Words)
	}
	if err := d.compareTable(ctx, now); err != nil {
		complain("cannot compare the table with what was recorded", err)
	}
	d.heartbeat(now)
	if err := d.report(ctx, now); err != nil {
		complain("cannot write the report", err)
	}
	if err := d.keepWell(ctx, now); err != nil {
		complain("cannot judge the step's health", err)
	}
	if err := d.endOpenings(ctx); err != nil {
		complain("cannot end what an open gate let in", err)
	}
	if err := d.tellOpenings(ctx, now); err != nil {
		complain("cannot tell of an open gate", err)
	}
	if err := d.windows(ctx, now); err != nil {
		complain("cannot open a declared window", err)
	}
	if err := d.watchLifelines(ctx, now); err != nil {
		complain("cannot keep what this machine depends on", err)
	}
	if err := d.refresh(ctx, now, dumpEvery); err != nil {
		complain("cannot read the connection table", err)
	}
	if err := d.keepHoneypot(ctx); err != nil {
		complain("cannot keep the honeypot", err)
	}
	if err := d.watchCounters(ctx, now); err != nil {
		complain("cannot read the counters", err)
	}
	if err := d.watchShadow(ctx, now); err != nil {
		complain("cannot watch the shadow", err)
	}
	if err := d.dailyCensus(ctx, now); err != nil {
		complain("cannot take the census", err)
	}
	if time.Since(d.flushed) >= flushEvery {
		if err := d.flush(now); err != nil {
			complain("cannot write the evidence", err)
		}
	}
}

// recover brings journal and kernel together and tells what was found.
func (d *Daemon) recover(ctx context.Context, now time.Time) ([]phases.Record, error) {
	by, noted, err := d.readNote(now)
	if err != nil {
		d.log.Error("cannot read who rolled back without the daemon", "error", err)
	}
	records, err := d.machine.RecoverAs(ctx, now, by)
	for _, r := range records {
		if noted && r.Kind == phases.Adopted {
			d.dropNote()
		}
		d.log.Info(r.Words, "kind", r.Kind, "op", r.Op, "step", d.machine.State().Heads[r.Digest].Step.Name)
		if r.Kind == phases.Booted {
			if err := d.recall(ctx, now); err != nil {
				d.log.Error("not every exception came back after the boot", "error", err)
			}
		}
	}
	if len(records) > 0 {
		d.noteOpenings()
	}
	d.keepBoot(now)
	return records, err
}
