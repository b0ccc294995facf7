package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"weir/cmd/weir/internal/lifeline"
	"weir/nft"
	"weir/nft/host"
	"weir/phases"
	"weir/phases/compile"
	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/rehearse"
)

// What this machine depends on changes: another resolver, another lease. What a
// step in force would cut of it is held open for a day, once, by an exception
// that the kernel ends, and a person is told. After that day it is held open only
// by a step that was frozen, and approved, with it: whoever hands out a false
// address by DHCP gains a day, and a finding, not a place in the policy.

// addedFor is how long a new lifeline is held open.
const addedFor = 24 * time.Hour

// lifelinesEvery is how often the machine is looked at.
const lifelinesEvery = 10 * time.Second

// added is a lifeline that came after the step in force was frozen.
type added struct {
	Exception string       `json:"exception"`
	Name      string       `json:"name"`
	From      netip.Addr   `json:"from"`
	To        netip.Addr   `json:"to"`
	Service   flow.Service `json:"service"`
	At        time.Time    `json:"at"` // first met
	Seen      time.Time    `json:"seen"`
	Opened    bool         `json:"opened"` // once; a person may have ended it since
}

type addedFile struct {
	Version int     `json:"version"`
	Added   []added `json:"added"`
}

const addedVersion = 1

func (d *Daemon) addedPath() string { return filepath.Join(d.cfg.State, "lifelines.json") }

func (d *Daemon) readAdded() (addedFile, error) {
	out := addedFile{Version: addedVersion}
	data, err := os.ReadFile(d.addedPath())
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err == nil && out.Version != addedVersion {
		err = fmt.Errorf("it has version %d, this weir reads %d", out.Version, addedVersion)
	}
	if err != nil {
		return out, fmt.Errorf("cannot read the lifelines that were added: %w", err)
	}
	return out, nil
}

// watchLifelines holds open what the step in force would cut of what the machine
// has come to depend on.
func (d *Daemon) watchLifelines(ctx context.Context, now time.Time) error {
	if time.Since(d.lifelinesAt) < lifelinesEvery || !d.machine.Look().Present || !hostHook(d.machine.Plan().Scope.Hooks) {
		return nil
	}
	d.lifelinesAt = time.Now()
	f, _, ok := d.judging()
	if !ok || !f.Step.Denies() {
		return nil
	}
	machine, err := host.Look("/")
	if err != nil {
		return err
	}
	_, err = d.holdOpen(ctx, now, f, machine)
	return err
}

// holdOpen opens what a frozen step denies of the machine's lifelines, each for
// a day from when it was first met, and returns the packets that stay denied:
// those whose day is over, and those that the plan says never to allow.
func (d *Daemon) holdOpen(ctx context.Context, now time.Time, f phases.Frozen, machine host.Machine) (missing []string, err error) {
	p := d.machine.Plan()
	lines := host.Pin(machine, pinned(lifeline.Fixed(p, machine)))
	own := make([]compile.Lifeline, 0, len(lines))
	for _, l := range lines {
		own = append(own, compile.Lifeline{Name: l.Name, From: l.From, To: l.To, Services: l.Services, Reply: l.Reply})
	}
	in := f.Input
	bad := rehearse.Contradictions(in, own)
	cut, err := rehearse.Cut(in, f.Rules, own)
	if err != nil || len(cut) == 0 {
		return bad, err
	}
	if len(bad) > 0 {
		return bad, nil // what the plan denies is not opened behind its back
	}
	file, err := d.readAdded()
	if err != nil {
		return nil, err
	}
	for _, c := range cut {
		e := exceptionFor(c)
		i := -1
		for j, a := range file.Added {
			if a.Exception == e.ID {
				i = j
			}
		}
		if i < 0 {
			words := fmt.Sprintf("this machine has come to need %s (%s): held open until %s", text(c), c.Lifeline, now.Add(addedFor).In(p.Timezone).Format("2006-01-02 15:04"))
			if err := d.machine.Note(ctx, now, phases.Self, phases.Noted, phases.Record{Line: e.ID, Words: words}); err != nil {
				return nil, err
			}
			d.log.Warn(words)
			i = len(file.Added)
			file.Added = append(file.Added, added{Exception: e.ID, Name: c.Lifeline, From: c.Packet.Src, To: c.Packet.Dst, Service: e.Service, At: now})
		}
		file.Added[i].Seen = now
		e.For = min(addedFor, file.Added[i].At.Add(addedFor).Sub(now))
		if e.For < time.Second {
			missing = append(missing, c.String()+", which was held open for a day and no longer")
			continue
		}
		if file.Added[i].Opened {
			continue // it is open, or a person ended it
		}
		if err := d.writeAdded(file); err != nil {
			return nil, err // the day is counted before it begins
		}
		if err := d.remember(now, rememberedEx{Exception: e, Until: now.Add(e.For)}); err != nil {
			return nil, err
		}
		if err := d.kernel.AddException(ctx, e); err != nil {
			return nil, err
		}
		file.Added[i].Opened = true
	}
	return missing, d.writeAdded(file)
}

// pinned makes the lines what host.Pin takes.
func pinned(lines []compile.Lifeline) []host.Lifeline {
	var out []host.Lifeline
	for _, l := range lines {
		out = append(out, host.Lifeline{Name: l.Name, From: l.From, To: l.To, Services: l.Services, Reply: l.Reply})
	}
	return out
}

func (d *Daemon) writeAdded(file addedFile) error {
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(d.addedPath(), data, 0o600); err != nil {
		return fmt.Errorf("cannot write down the lifelines that were added: %w", err)
	}
	return nil
}

// exceptionFor is the narrowest exception that lets a packet pass. Its id is the
// same each time, so that it is not opened twice.
func exceptionFor(c rehearse.Case) nft.Exception {
	p := c.Packet
	e := nft.Exception{From: netip.PrefixFrom(p.Src, p.Src.BitLen()), To: netip.PrefixFrom(p.Dst, p.Dst.BitLen()), Service: flow.Single(p.Proto, p.Port)}
	if !p.Proto.HasPorts() && !p.Proto.IsICMP() {
		e.Service = flow.All(p.Proto)
	}
	sum := sha256.Sum256([]byte(fmt.Sprint("lifeline", e.From, e.To, e.Service)))
	e.ID = "e" + hex.EncodeToString(sum[:5])
	return e
}

func text(c rehearse.Case) string {
	return fmt.Sprintf("%s -> %s %s", c.Packet.Src, c.Packet.Dst, flow.Single(c.Packet.Proto, c.Packet.Port))
}

// addedFindings tells of what the machine has come to need since the step in
// force was frozen.
func (d *Daemon) addedFindings(now time.Time) []finding.Finding {
	file, err := d.readAdded()
	if err != nil {
		d.log.Error("cannot tell of new lifelines", "error", err)
	}
	f, _, ok := d.judging()
	var out []finding.Finding
	for _, a := range file.Added {
		if ok && f.At.After(a.At) {
			continue // frozen, and approved, since
		}
		words := fmt.Sprintf("this machine has come to need %s -> %s %s (%s) since the step in force was frozen; it is held open until %s. "+
			"If that is right, freeze the step again: weir request --step %s; if not, find out who said so, and end it: weir unblock --end %s",
			a.From, a.To, a.Service, a.Name, a.At.Add(addedFor).In(d.machine.Plan().Timezone).Format("2006-01-02 15:04"), f.Step.Name, a.Exception)
		if !now.Before(a.At.Add(addedFor)) {
			words = fmt.Sprintf("this machine has come to need %s -> %s %s (%s); it was held open for a day and is denied now. If that is right, freeze the step again: weir request --step %s",
				a.From, a.To, a.Service, a.Name, f.Step.Name)
		}
		out = append(out, finding.Finding{Fingerprint: finding.Fingerprint("lifeline", a.Exception), Kind: finding.Lifeline, Severity: finding.Warning,
			Destination: a.To.String(), Service: a.Service.String(), First: a.At, Last: a.Seen, Count: 1, State: finding.New, Words: words})
	}
	return out
}

// needs fills in what arming wants to know of the machine: what the frozen step
// would deny of its lifelines, after what can be held open was, and what its
// configuration names.
func (d *Daemon) needs(ctx context.Context, now time.Time, digest string, facts *phases.Facts) error {
	p := d.machine.Plan()
	machine, err := host.Look("/")
	if err != nil {
		return err
	}
	facts.Floor = lifeline.Floor(p, machine)
	f, err := d.frozenStep(digest)
	if err != nil || !f.Step.Denies() || !d.machine.Look().Present || !hostHook(p.Scope.Hooks) {
		return err
	}
	facts.Missing, err = d.holdOpen(ctx, now, f, machine)
	return err
}
