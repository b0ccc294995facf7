package faults

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/cmd/weir/internal/boot"
	"weir/nft"
	"weir/phases"
	"weir/phases/compile"
	"weir/phases/enforce"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/plans"
	"weir/store"
)

const planText = `apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: faults, owner: netsec@example.net}
timezone: UTC
environment: operational
scope:
  hooks: [forward]
  inside: {prefixes: [10.20.0.0/16, "fd20::/48"]}
  outside: {interfaces: [wan0]}
groups:
  desks: {members: [10.20.16.0/25, "fd20:0:0:16::/112"], allow: observed, owner: desktop@example.net}
  srv: {members: [10.20.16.128/26, "fd20:0:0:16::1:0/112"], allow: observed, owner: ops@example.net}
monitor: {minimum: 1s}
enforce:
  rulesBy: [group, service]
  alert: {minimum: 1s, quiet: 0s}
  waves:
    - {name: desks, groups: [desks]}
    - {name: srv, groups: [srv]}
  leaveOpen: [unassigned]
  deny: reject
  established: cut
  soak: 0s
watch: {report: "0 7 * * MON"}
unblock: {longest: 24h, widest4: 24, widest6: 64}
confirmWithin: LEASE
`

// world is a rollout on a ground: a state folder, a clock, and the machine that
// works on them until it is killed.
type world struct {
	t     testing.TB
	dir   string
	g     ground
	now   time.Time
	lease time.Duration
	plan  string
	p     points
	j     *store.Journal
	m     *phases.Machine

	armed     time.Time                // real time before the last call that may have armed
	confirmed string                   // what the plain history says, for a boot
	looked    time.Time                // and before the last look
	lame      bool                     // a restore said that not every way back is loaded
	inputs    map[string]compile.Input // of each revision that was frozen
	seen      map[string]bool          // files whose inputs are there
}

var (
	anna = phases.Actor{UID: 1001, LoginUID: 1001, Name: "anna"}
	ben  = phases.Actor{UID: 1002, LoginUID: 1002, Name: "ben"}
)

// newWorld begins with an empty folder and an empty kernel.
func newWorld(t testing.TB, g ground, lease time.Duration) *world {
	w := &world{t: t, g: g, dir: folder(t), now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), lease: lease}
	w.forget()
	w.plan = strings.Replace(planText, "LEASE", plans.FormatDuration(lease), 1)
	if f, ok := g.(*imagined); ok {
		*f = *newGround(t, false, func() time.Time { return w.now }).(*imagined)
	} else if err := g.(*lab).Remove(ctx); err != nil {
		t.Fatal(err)
	}
	w.start()
	return w
}

// forget drops what was read of files.
func (w *world) forget() { w.inputs, w.seen = map[string]compile.Input{}, map[string]bool{} }

// folder makes a state folder in memory, where fsync costs nothing: what is
// killed here are processes, not the machine.
func folder(t testing.TB) string {
	t.Helper()
	parent := "/dev/shm"
	if st, err := os.Stat(parent); err != nil || !st.IsDir() {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "weir-faults-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start is a new process on what the last one left.
func (w *world) start() {
	w.t.Helper()
	if err := w.open(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() error {
	j, err := store.OpenJournal(filepath.Join(w.dir, "journal.db"))
	if err != nil {
		return err
	}
	files, err := store.OpenFiles(w.dir)
	if err != nil {
		return errors.Join(err, j.Close())
	}
	boots, err := store.OpenBoots(w.dir)
	if err != nil {
		return errors.Join(err, j.Close())
	}
	m, err := phases.Open(phases.Parts{
		Kernel: brittleKernel{w.g, &w.p, w}, Journal: brittleJournal{j, &w.p}, Files: brittleFiles{files, &w.p}, Boots: brittleBoots{boots, &w.p},
		Parse: func(text []byte) (plans.Plan, error) {
			p, err := plans.Parse("plan", text)
			if err != nil {
				return plans.Plan{}, err
			}
			return *p, nil
		},
		Compile: compile.Compile, Rand: rand.Reader,
	})
	if err != nil {
		return errors.Join(err, j.Close())
	}
	w.j, w.m = j, m
	if err := m.ReadBoot(); err != nil && !errors.Is(err, phases.ErrBoot) {
		return err
	}
	return nil
}

// stop throws away what is in memory.
func (w *world) stop() {
	if w.j != nil {
		if err := w.j.Close(); err != nil {
			w.t.Error(err)
		}
	}
	w.j, w.m = nil, nil
}

func facts(now time.Time) phases.Facts {
	return phases.Facts{
		Observed: []monitor.Span{{From: now.AddDate(-1, 0, 0), To: now}}, Moved: map[string]time.Time{}, Census: now,
		Held: &enforce.Held{}, Unanswered: []monitor.Unanswered{}, Heartbeat: now, Surroundings: []phases.Surrounding{},
	}
}

func (w *world) material() phases.Material {
	var p policy.Policy
	web, _ := flow.ParseService("tcp/443")
	for _, g := range []string{"desks", "srv"} {
		p.Rules = append(p.Rules, policy.Rule{Group: g, Services: []flow.Service{web}, Reason: policy.Observed})
	}
	return phases.Material{Policy: p, UpTo: w.now, Facts: facts(w.now)}
}

// run does words that must succeed.
func (w *world) run(row string) {
	w.t.Helper()
	for _, word := range strings.Fields(row) {
		if err := w.do(word); err != nil {
			w.t.Fatalf("%s in %q: %v", word, row, err)
		}
	}
}

// do does one word:
//
//	apply[:COMMENT]  register the plan, with a comment another one
//	drill  req[:STEP]  ok  arm  yes  resume  restore  look
//	back[:TO]        roll back          group:G   put one group back to alert
//	hand[:TO]        nft -f the file    raw[:TO]  send its bytes, without the machine
//	keep             the boot snapshot  boot      the machine is started again, and so is weir
//	delete           the table          lapse     wait until the lease is over
//	to:STEP          whatever leads to a confirmed step
func (w *world) do(word string) error {
	w.now = w.now.Add(2 * time.Second) // longer than any gate wants
	word, arg, _ := strings.Cut(word, ":")
	m := w.m
	switch word {
	case "apply":
		text := []byte(w.plan + "# " + arg + "\n")
		p, err := plans.Parse("plan", text)
		if err != nil {
			return err
		}
		return m.Apply(ctx, w.now, anna, *p, text)
	case "drill":
		return m.Drilled(ctx, w.now, anna, time.Second)
	case "req":
		_, _, err := m.Request(ctx, w.now, anna, arg, w.material())
		return err
	case "ok":
		return m.Approve(ctx, w.now, ben, "")
	case "arm":
		w.armed = time.Now()
		_, err := m.Advance(ctx, w.now, anna, "", 0, facts(w.now))
		return err
	case "yes":
		return m.Confirm(ctx, w.now, anna)
	case "back":
		return m.Rollback(ctx, w.now, ben, arg)
	case "group":
		return m.RollbackGroup(ctx, w.now, ben, arg)
	case "resume":
		return m.Resume(ctx, w.now, ben)
	case "restore":
		return m.Restore(ctx, w.now, ben)
	case "look":
		_, err := m.Recover(ctx, w.now)
		return err
	case "hand", "raw":
		if arg == "" {
			arg = "default"
		}
		l, err := w.g.Look(ctx)
		if err != nil {
			return err
		}
		file := filepath.Join(w.dir, "backout", decides(l), strings.ReplaceAll(arg, "/", "+"))
		if word == "hand" {
			return w.g.byHand(file)
		}
		raw, err := os.ReadFile(file + ".msg")
		if err != nil {
			return err
		}
		return w.g.sendRaw(raw)
	case "delete":
		return w.g.delete()
	case "keep":
		return m.KeepBoot(w.now)
	case "boot":
		r := w.boot()
		if r.Outcome != boot.Restored && r.Outcome != boot.Nothing {
			return fmt.Errorf("%s: %s: %s", r.Outcome, r.Words, strings.Join(r.Problems, "; "))
		}
		w.start()
		return w.do("look")
	case "lapse":
		return w.lapse()
	case "to":
		for {
			if name, hash, _, _ := m.State().Current(); name == arg && hash == m.Plan().Hash {
				return nil
			}
			for _, step := range []string{"req", "ok", "arm", "yes"} {
				if err := w.do(step); err != nil {
					return fmt.Errorf("%s on the way to %s: %w", step, arg, err)
				}
			}
		}
	}
	w.t.Fatalf("no such word: %s", word)
	return nil
}

// attempt does a word and survives the death of its process, of which it says
// where.
func (w *world) attempt(word string) (dead string, err error) {
	defer func() {
		if p := recover(); p != nil {
			k, ok := p.(killed)
			if !ok {
				panic(p)
			}
			dead = k.at
		}
	}()
	err = w.do(word)
	w.lame = w.lame || err != nil && strings.Contains(err.Error(), "not every way back")
	return "", err
}

// lapse waits, in the kernel's time, until no trial is left.
func (w *world) lapse() error {
	if !w.g.real() {
		w.now = w.now.Add(w.lease)
		return nil
	}
	for end := time.Now().Add(w.lease + 2*time.Second); ; {
		l, err := w.g.Look(ctx)
		if err != nil {
			return err
		}
		if l.Left == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the trial has %v left, long after its lease", l.Left)
		}
		time.Sleep(l.Left + time.Millisecond)
	}
}

// look is what the kernel holds.
func (w *world) look() nft.Look {
	w.t.Helper()
	w.looked = time.Now()
	l, err := w.g.Look(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// history is the journal in short, for messages.
func (w *world) history() string {
	if w.j == nil {
		return "(closed)"
	}
	records, err := w.j.Records()
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, r := range records[max(0, len(records)-12):] {
		r.PlanText, r.Head = nil, nil
		line, _ := json.Marshal(r)
		b.Write(append(line, '\n'))
	}
	return b.String()
}

func sorted(s []string) string { return strings.Join(slices.Sorted(slices.Values(s)), ",") }
