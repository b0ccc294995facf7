package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"weir/nft/capture"
	"weir/phases/flow"
	"weir/phases/monitor"
)

// flushEvery is how often evidence is written; a crash loses at most this much,
// and the connection table gives most of it back.
const flushEvery = 10 * time.Second

// compactEvery is how often small blocks of evidence are joined.
const compactEvery = time.Hour

// flowRecord is a record with the moment that it was taken.
type flowRecord = flow.Record

// readers are what listens to the kernel.
type readers struct {
	log    *capture.PacketLog
	conns  *capture.Connections
	cancel context.CancelFunc
	sent   map[string]capture.Bytes // of the outside interfaces at the last heartbeat
}

func (d *Daemon) sysctlFile() string { return filepath.Join(d.cfg.State, "sysctls.json") }

// prepareCapture sets what the capture needs, with the old values on disk
// first. It is part of the first step and announced by it.
func (d *Daemon) prepareCapture() error {
	changes, err := capture.ReadSysctls(capture.Options{})
	if err != nil {
		return err
	}
	old, err := d.oldSysctls()
	if err != nil {
		return err
	}
	if old == nil {
		old = capture.Sysctls{}
	}
	known := map[string]bool{}
	for _, s := range old {
		known[s.Name] = true
	}
	for _, s := range changes {
		if !known[s.Name] {
			old = append(old, s)
		}
	}
	data, err := json.MarshalIndent(sysctlNote{sysctlVersion, old}, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(d.sysctlFile(), data, 0o600); err != nil {
		return fmt.Errorf("cannot write down the sysctls: %w", err)
	}
	return changes.Set(capture.Options{})
}

// oldSysctls returns what prepareCapture wrote down, nil if it never ran.
func (d *Daemon) oldSysctls() (capture.Sysctls, error) { return readSysctls(d.sysctlFile()) }

func readSysctls(file string) (capture.Sysctls, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the old sysctls: %w", err)
	}
	note := sysctlNote{Sysctls: capture.Sysctls{}}
	if err := json.Unmarshal(data, &note); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", file, err)
	}
	if note.Version != sysctlVersion {
		return nil, fmt.Errorf("cannot read %s: it has version %d, this weir reads %d", file, note.Version, sysctlVersion)
	}
	return note.Sysctls, nil
}

// sysctlNote is what the kernel's settings were before the first step.
type sysctlNote struct {
	Version int             `json:"version"`
	Sysctls capture.Sysctls `json:"sysctls"`
}

const sysctlVersion = 1

// startReaders begins to listen, once the first step has prepared for it.
func (d *Daemon) startReaders(ctx context.Context) error {
	if d.readers != nil || d.machine.Plan().Hash == "" {
		return nil
	}
	old, err := d.oldSysctls()
	if err != nil || old == nil {
		return err
	}
	p := d.machine.Plan()
	opt := capture.Options{Now: d.cfg.Now, Units: hostHook(p.Scope.Hooks)}
	log, err := capture.OpenPacketLog(opt, p.Capture.LogGroup, p.Capture.VerdictGroup)
	if err != nil {
		return err
	}
	conns, err := capture.OpenConnections(opt)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d.readers = &readers{log: log, conns: conns, cancel: cancel}
	d.beat = d.cfg.Now()
	sink := capture.Sink{
		Record: func(r flow.Record) {
			select {
			case d.recs <- r:
			case <-ctx.Done():
			}
		},
		Gap: func(g capture.Gap) {
			select {
			case d.gaps <- g:
			case <-ctx.Done():
			}
		},
	}
	for name, run := range map[string]func(context.Context, capture.Sink) error{"packet log": log.Run, "connection": conns.Run} {
		d.wait.Go(func() {
			if err := run(ctx, sink); err != nil && ctx.Err() == nil {
				d.log.Error("a reader ended: nothing is observed until the daemon is started again", "reader", name, "error", err)
				cancel()
			}
		})
	}
	return nil
}

func (d *Daemon) stopReaders() {
	if d.readers == nil {
		return
	}
	d.readers.cancel()
	// The readers may be waiting to hand a record over.
	go func() {
		for range d.recs {
		}
	}()
	d.wait.Wait()
	d.readers.log.Close()
	d.readers.conns.Close()
	d.readers = nil
}

func hostHook(hooks []string) bool {
	for _, h := range hooks {
		if h == "output" {
			return true
		}
	}
	return false
}

// take adds one record to the evidence.
func (d *Daemon) take(r flow.Record) {
	if d.ofHoneypot(r) || d.answering(r) {
		return
	}
	r.First, r.Last = d.clock.date(r.First), d.clock.date(r.Last)
	p := d.machine.Plan()
	if !r.Verdict.Judged() {
		var ok bool
		if r, ok = monitor.InScope(p.Scope, r); !ok {
			d.unscoped++
			return
		}
	}
	d.gen++
	d.countDenial(r)
	if !d.evidence.Add(r) {
		d.unusable++
	}
}

// heartbeat books the time since the last one as observed, with what the
// outside interfaces sent meanwhile.
func (d *Daemon) heartbeat(now time.Time) {
	if d.readers == nil {
		return
	}
	if !now.After(d.beat) || now.Sub(d.beat) > time.Minute {
		// The clock was set, or the daemon was stopped: that time was not observed.
		d.beat = now
		return
	}
	d.evidence.Observed(d.beat, now)
	d.beat = now
	names := d.machine.Plan().Scope.OutsideIfaces
	if len(names) == 0 {
		return
	}
	bytes, err := capture.InterfaceBytes(capture.Options{}, names...)
	if err != nil {
		return // said by doctor; the share of witnessed bytes stays unknown
	}
	for name, b := range bytes {
		if last, ok := d.readers.sent[name]; ok && b.TX >= last.TX {
			d.evidence.AddSent(name, monitor.Sent{Bytes: b.TX - last.TX, Packets: b.TXPackets - last.TXPackets})
		}
	}
	d.readers.sent = bytes
}

// freshFor is how long a look at the connection table is good enough for a
// report; dumpEvery is how often it is read without one.
const (
	freshFor  = 2 * time.Second
	dumpEvery = time.Minute
)

// refresh reads the connection table, so that what is open, or ended a moment
// ago, is in the evidence: an ended TCP connection stays in the table for two
// minutes before the kernel says its last word.
func (d *Daemon) refresh(ctx context.Context, now time.Time, age time.Duration) error {
	if d.readers == nil || time.Since(d.dumped) < age {
		return nil
	}
	d.dumped = time.Now()
	d.evidence.Prune(now.Add(-5 * dumpEvery))
	return d.readers.conns.Dump(ctx, func(r flow.Record) error {
		d.take(r)
		return nil
	})
}

// flush writes what is new to the store.
func (d *Daemon) flush(now time.Time) error {
	d.flushed = time.Now()
	if d.evidence == nil {
		return nil
	}
	delta := d.evidence.Take()
	if delta.Empty() {
		return nil
	}
	if err := d.store.Append(delta); err != nil {
		d.evidence.PutBack(delta)
		return err
	}
	if time.Since(d.compacted) < compactEvery {
		return nil
	}
	d.compacted = time.Now()
	if _, err := d.store.Compact(now); err != nil {
		return fmt.Errorf("cannot compact the evidence: %w", err)
	}
	return nil
}
