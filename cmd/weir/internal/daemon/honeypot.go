package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"weir/cmd/weir/internal/honeypot"
	"weir/nft"
	"weir/nft/capture"
	"weir/phases/finding"
	"weir/phases/flow"
)

// The redirect to the honeypot holds for potLease and is renewed each potRenew,
// each time after the honeypot has answered. Both are kernel time, not rollout
// time.
const (
	potLease = 30 * time.Second
	potRenew = 5 * time.Second
)

// Where for potDeaf connections are redirected and none arrives, something on
// this machine drops them: visitors would hang, where they should be rejected.
// Then nothing is redirected for potPause.
const (
	potDeaf  = 3 * time.Second
	potPause = 10 * time.Minute
)

var errDeaf = errors.New("redirected connections do not arrive: a rule of this machine drops them; let its input chain accept tcp to the honeypot's port with \"ct status dnat\"")

// Bounds of what is remembered of visitors.
const (
	potWait   = 3 * time.Second // for the kernel's own line of a visit
	potNotes  = 1024            // visitors whose last words are remembered
	potRecent = 8192            // visits and lines that wait to be matched
	potLines  = 5               // log lines per second
)

// pot is the honeypot of this daemon. The loop owns it.
type pot struct {
	listener *honeypot.Listener
	entries  honeypot.Redirected
	ctx      context.Context // of what the listener and the probes bring to the loop
	cancel   context.CancelFunc
	probes   sync.WaitGroup
	revision string    // whose redirect it serves, "" none
	begun    time.Time // when the last probe was begun
	held     time.Time // until when the redirect holds, as far as was written
	trouble  string    // why it is not renewed
	deaf     time.Time // when it was last found that nothing arrives
	counted  bool      // the two counters were read since the listener was opened
	sent     uint64    // connections redirected, by the kernel's counter
	arrived  uint64    // of these
	waits    time.Time // since when some are redirected and none arrives; zero: they do
	swept    bool      // what the last honeypot captured was taken out

	logged  map[potKey]time.Time          // lines of the kernel
	waiting []waitingVisit                // without such a line until now
	notes   map[netip.Addr]honeypot.Visit // by client, the last
	second  time.Time
	lines   int
	silent  int // visits without a log line in this second
}

// potKey names one captured connection.
type potKey struct{ client, asked netip.AddrPort }

// keepHoneypot runs the listener while the kernel holds a confirmed step with a
// honeypot, and renews its lease. Nothing is renewed in advance: a daemon that
// hangs or dies leaves the flows to filter, which rejects them.
func (d *Daemon) keepHoneypot(ctx context.Context) error {
	d.matchVisits(time.Now())
	look := d.machine.Look()
	revision, _ := nft.One(map[string]map[flow.Family]string{nft.HookNAT: look.Stable[nft.HookNAT]})
	p := &d.pot
	if revision != p.revision && p.revision != "" {
		// Another step: what the old one captured ends with it.
		p.revision, p.swept = "", false
		d.closeHoneypot()
		if look.Present {
			if err := d.kernel.Honeypot(ctx, 0); err != nil {
				return err
			}
		}
	}
	if !p.swept {
		if err := d.sweepCaptured(ctx); err != nil {
			return err
		}
	}
	if revision == "" {
		p.trouble = ""
		return nil
	}
	if p.listener == nil {
		if err := d.openHoneypot(); err != nil {
			if p.trouble == "" {
				// An earlier daemon's lease may still hold.
				err = errors.Join(err, d.kernel.Honeypot(ctx, 0))
			}
			p.trouble = err.Error()
			return err
		}
	}
	p.revision = revision
	if err := d.countArrivals(ctx, time.Now()); err != nil {
		return err
	}
	if now := time.Now(); now.Sub(p.begun) >= potRenew {
		p.begun = now
		d.probeHoneypot()
	}
	return nil
}

// openHoneypot opens the port that the confirmed step redirects to, which a
// plan registered since may have changed.
func (d *Daemon) openHoneypot() error {
	f, err := d.frozenStep(d.machine.State().Stable)
	if err != nil {
		return fmt.Errorf("cannot open the honeypot: %w", err)
	}
	p := &d.pot
	if p.entries, err = honeypot.Find(f.Input.HoneypotPort); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l, err := honeypot.Listen(honeypot.Options{Port: f.Input.HoneypotPort, Now: d.cfg.Now, Visit: func(v honeypot.Visit) {
		// After the end nobody takes it: the kernel's line has told of the flow.
		_ = d.do(ctx, func() error { d.visited(v); return nil })
	}})
	if err != nil {
		cancel()
		return err
	}
	p.listener, p.ctx, p.cancel, p.begun, p.counted = l, ctx, cancel, time.Time{}, false
	return nil
}

// probeHoneypot asks the listener for an answer, outside the loop, and brings
// the answer back.
func (d *Daemon) probeHoneypot() {
	l, ctx := d.pot.listener, d.pot.ctx
	d.pot.probes.Go(func() {
		err := l.Probe(ctx)
		_ = d.do(ctx, func() error { return d.probed(ctx, l, err) })
	})
}

// probed renews the lease, or ends it.
func (d *Daemon) probed(ctx context.Context, l *honeypot.Listener, failed error) error {
	p := &d.pot
	if p.listener != l {
		return nil
	}
	lease := potLease
	if failed == nil && !p.deaf.IsZero() && time.Since(p.deaf) < potPause {
		failed = errDeaf
	}
	if failed != nil {
		lease = 0
	} else {
		// A rollback without this daemon may have come since the last tick.
		look, err := d.kernel.Look(ctx)
		if err != nil || len(look.Stable[nft.HookNAT]) == 0 {
			return err
		}
	}
	begun := time.Now()
	if err := d.kernel.Honeypot(ctx, lease); err != nil {
		failed = errors.Join(failed, err)
	} else {
		p.held = begun.Add(lease)
	}
	trouble := ""
	if failed != nil {
		trouble = failed.Error()
	}
	switch {
	case trouble == p.trouble:
	case trouble != "":
		d.log.Error("nothing is sent to the honeypot, its flows are rejected", "error", failed)
	default:
		d.log.Info("the honeypot answers, its flows are redirected", "port", p.entries.Port)
	}
	p.trouble = trouble
	return nil
}

// sweepCaptured takes out of the connection table what the last honeypot
// captured, one of an earlier daemon too.
func (d *Daemon) sweepCaptured(ctx context.Context) error {
	p, plan := &d.pot, d.machine.Plan()
	port := p.entries.Port
	if port == 0 {
		port = plan.Capture.HoneypotPort
	}
	if plan.Hash == "" {
		return nil
	}
	var err error
	if p.entries, err = honeypot.Find(port); err != nil {
		return err
	}
	n, err := p.entries.End(ctx, capture.Options{})
	if n > 0 {
		d.log.Info("ended what the honeypot had captured", "connections", n)
	}
	p.swept = err == nil
	return err
}

func (d *Daemon) closeHoneypot() {
	p := &d.pot
	if p.listener == nil {
		return
	}
	p.cancel()
	if err := p.listener.Close(); err != nil {
		d.log.Error("cannot close the honeypot", "error", err)
	}
	p.listener = nil
}

// stopHoneypot is the daemon's end: nobody listens any more, so nothing is
// redirected any more. Killed, the daemon leaves that to the lease.
func (d *Daemon) stopHoneypot(ctx context.Context) {
	if d.pot.listener == nil {
		return
	}
	d.closeHoneypot()
	d.pot.probes.Wait()
	if err := d.kernel.Honeypot(ctx, 0); err != nil {
		d.log.Error("cannot end the redirect to the honeypot; it ends by itself", "error", err)
	}
}

// visited takes in a visit that has ended.
func (d *Daemon) visited(v honeypot.Visit) {
	p := &d.pot
	if p.notes == nil {
		p.notes = map[netip.Addr]honeypot.Visit{}
	}
	if _, known := p.notes[v.Client.Addr()]; !known && len(p.notes) >= potNotes {
		for a := range p.notes { // any one
			delete(p.notes, a)
			break
		}
	}
	p.notes[v.Client.Addr()] = v
	if len(p.waiting) < potRecent {
		p.waiting = append(p.waiting, waitingVisit{v, time.Now()})
	}
	if now := time.Now(); now.Sub(p.second) >= time.Second {
		if p.silent > 0 {
			d.log.Info("more honeypot visits than are said one by one", "visits", p.silent)
		}
		p.second, p.lines, p.silent = now, 0, 0
	}
	if p.lines++; p.lines > potLines {
		p.silent++
		return
	}
	d.log.Info("honeypot visit", "client", v.Client, "asked", v.Asked, "name", honeypot.Printable(v.ServerName), "said", v.Said())
}

// ofHoneypot takes in what the readers say of captured connections. true: the
// record is no evidence, being of the way from the client to this machine,
// which the plan judges where it judges output.
func (d *Daemon) ofHoneypot(r flow.Record) bool {
	p := &d.pot
	if r.Verdict == flow.Captured {
		if p.logged == nil {
			p.logged = map[potKey]time.Time{}
		}
		if len(p.logged) < potRecent {
			p.logged[potKey{netip.AddrPortFrom(r.Client, r.SrcPort), netip.AddrPortFrom(r.Server, r.Port)}] = time.Now()
		}
		return false
	}
	return r.Verdict == "" && p.entries.Is(r)
}

// countArrivals compares, by the kernel's counters, what was redirected with
// what arrived. A probe over loopback cannot see what a rule does to others.
func (d *Daemon) countArrivals(ctx context.Context, now time.Time) error {
	all, err := d.kernel.Counters(ctx)
	if err != nil {
		return err
	}
	p := &d.pot
	sent, arrived := all["w_hpto"].Packets, all["w_hpin"].Packets
	switch {
	case !p.counted || arrived != p.arrived || sent < p.sent:
		p.counted, p.sent, p.arrived, p.waits = true, sent, arrived, time.Time{}
	case sent != p.sent && p.waits.IsZero():
		p.waits = now
	case !p.waits.IsZero() && now.Sub(p.waits) >= potDeaf:
		p.deaf, p.sent, p.waits, p.begun = now, sent, time.Time{}, time.Time{}
	}
	return nil
}

// waitingVisit is a visit of which the kernel may log a line yet.
type waitingVisit struct {
	honeypot.Visit
	came time.Time
}

// matchVisits makes evidence of the visits of which the kernel logged no line:
// its log is limited, the visitor came all the same.
func (d *Daemon) matchVisits(now time.Time) {
	p := &d.pot
	kept := p.waiting[:0]
	for _, v := range p.waiting {
		k := potKey{v.Client, v.Asked}
		if _, ok := p.logged[k]; ok {
			delete(p.logged, k)
			continue
		}
		if now.Sub(v.came) < potWait {
			kept = append(kept, v)
			continue
		}
		r := flow.Record{
			Flow:  flow.Flow{Client: v.Client.Addr(), Server: v.Asked.Addr(), Proto: flow.TCP, Port: v.Asked.Port()},
			First: v.At, Last: v.At, SrcPort: v.Client.Port(), Hook: "forward", Source: "kernel", Verdict: flow.Captured,
		}
		r.Group = d.evidence.GroupOf(d.classes, r)
		if !d.evidence.Add(r) {
			d.unusable++
		}
	}
	p.waiting = kept
	for k, at := range p.logged {
		if now.Sub(at) > time.Minute {
			delete(p.logged, k)
		}
	}
}

// visitors makes one finding of each endpoint that reached the honeypot: a
// machine that tries what nobody has a reason to try.
func (d *Daemon) visitors() []finding.Finding {
	type who struct {
		group  string
		client netip.Addr
	}
	sums := map[who]*finding.Finding{}
	places := map[who]int{}
	for _, j := range d.evidence.Judged() {
		if j.Verdict != flow.Captured {
			continue
		}
		k := who{j.Group, j.Client}
		f := sums[k]
		if f == nil {
			f = &finding.Finding{Fingerprint: finding.Fingerprint("honeypot", j.Group, j.Client.String()), Kind: finding.Captured,
				Severity: finding.Warning, Group: j.Group, State: finding.New, First: j.First}
			sums[k] = f
		}
		f.Count += j.Count
		places[k]++
		if j.First.Before(f.First) {
			f.First = j.First
		}
		if !j.Last.Before(f.Last) {
			f.Last, f.Service, f.Destination = j.Last, j.Service().String(), j.Server.String()
		}
	}
	var out []finding.Finding
	for k, f := range sums {
		f.Flow = fmt.Sprintf("%s -> %s %s", k.client, f.Destination, f.Service)
		f.Words = fmt.Sprintf("%s of %s reached the honeypot: %d times, %d flows, the last %s %s", k.client, k.group, f.Count, places[k], f.Destination, f.Service)
		if v, ok := d.pot.notes[k.client]; ok {
			f.Words += "; " + heard(v)
		}
		out = append(out, *f)
	}
	return out
}

// heard says in printable words what a visitor said.
func heard(v honeypot.Visit) string {
	words := "it said nothing"
	if len(v.First) > 0 {
		words = "it said \"" + v.Said() + "\""
	}
	if v.ServerName != "" {
		words += " and asked for \"" + honeypot.Printable(v.ServerName) + "\""
	}
	return words
}

// honeypotText says what becomes of the flows that the confirmed step sends to
// the honeypot, "" where there is none.
func (d *Daemon) honeypotText() string {
	p := &d.pot
	switch {
	case len(d.machine.Look().Stable[nft.HookNAT]) == 0:
		return ""
	case p.trouble != "":
		return "rejects: " + p.trouble
	case d.machine.State().Trial != nil:
		return "rejects while a step is on trial"
	case time.Now().Before(p.held):
		return fmt.Sprintf("redirects to port %d", p.entries.Port)
	}
	return "rejects until the listener has answered"
}
