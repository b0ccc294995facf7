package phases

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/nft"
	"weir/nft/fake"
	"weir/phases/compile"
	"weir/phases/enforce"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
	"weir/plans"
)

var ctx = context.Background()

var errCut = errors.New("cut off here")

// cutter fails at the nth call of anything, and then at every call: a crash.
type cutter struct {
	n, at int  // at 0: never
	after bool // the call that fails is done all the same
}

func (c *cutter) cut() (before, after error) {
	c.n++
	switch {
	case c.at == 0 || c.n < c.at:
		return nil, nil
	case c.n == c.at && c.after:
		return nil, errCut
	}
	return errCut, nil
}

// world is a kernel, a journal and files that outlive a machine.
type world struct {
	cut  cutter
	now  time.Time
	k    *fake.Kernel
	last nft.Confirm // the last one

	records []Record
	frozen  map[string][]byte
	out     map[string]string
	writes  int // of the kernel

	snapshot, choice []byte // of the boot
}

func newWorld() *world {
	w := &world{now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), frozen: map[string][]byte{}, out: map[string]string{}}
	w.k = fake.New(func() time.Time { return w.now })
	return w
}

// holds is what the kernel holds.
func (w *world) holds() (stable, trial string, back []string) {
	l, err := w.k.Look(ctx)
	if err != nil {
		panic(err)
	}
	stable, _ = Held(l.Stable)
	trial, _ = Held(l.Trial)
	return stable, trial, l.Back
}

func (w *world) running() string {
	_, trial, _ := w.holds()
	return trial
}

func (w *world) stable() string {
	stable, _, _ := w.holds()
	return stable
}

func (w *world) backed() []string {
	_, _, back := w.holds()
	return back
}

func (w *world) Look(context.Context) (nft.Look, error) {
	if b, a := w.cut.cut(); b != nil || a != nil {
		return nft.Look{}, errors.Join(b, a)
	}
	return w.k.Look(ctx)
}

func (w *world) do(f func() error) error {
	before, after := w.cut.cut()
	if before != nil {
		return before
	}
	if err := f(); err != nil {
		return err
	}
	w.writes++
	return after
}

func (w *world) Load(_ context.Context, r nft.Revision) error {
	return w.do(func() error { return w.k.Load(ctx, r) })
}

func (w *world) Arm(_ context.Context, a nft.Arm) error {
	return w.do(func() error { return w.k.Arm(ctx, a) })
}

func (w *world) Confirm(_ context.Context, c nft.Confirm) error {
	w.last = c
	return w.do(func() error { return w.k.Confirm(ctx, c) })
}

func (w *world) Rollback(_ context.Context, r nft.Rollback) error {
	return w.do(func() error { return w.k.Rollback(ctx, r) })
}

func (w *world) Back(_ context.Context, group string, on bool, tx string) error {
	return w.do(func() error { return w.k.Back(ctx, group, on, tx) })
}

func (w *world) EncodeRollback(r nft.Rollback) ([]byte, error) { return json.Marshal(r) }

func (w *world) Append(r Record) (Record, error) {
	err := w.do(func() error {
		w.writes--
		r.Seq = uint64(len(w.records) + 1)
		w.records = append(w.records, r)
		return nil
	})
	return r, err
}

func (w *world) Records() ([]Record, error) { return slices.Clone(w.records), nil }

func (w *world) PutFrozen(d string, b []byte) error {
	return w.do(func() error { w.writes--; w.frozen[d] = b; return nil })
}

func (w *world) GetFrozen(d string) ([]byte, error) {
	if b, ok := w.frozen[d]; ok {
		return b, nil
	}
	return nil, errors.New("no such file")
}

func (w *world) PutBackout(from, to string, msg, text []byte) error {
	return w.do(func() error { w.writes--; w.out[from+"/"+to] = string(msg); return nil })
}

func (w *world) PutBoot(snapshot, choice []byte) error {
	return w.do(func() error { w.writes--; w.snapshot, w.choice = snapshot, choice; return nil })
}

func (w *world) GetBoot() (snapshot, choice []byte, err error) {
	if w.snapshot == nil {
		return nil, nil, fs.ErrNotExist
	}
	return w.snapshot, w.choice, nil
}

func (w *world) GetChoice() ([]byte, error) { return w.choice, nil }

func (w *world) DropBoot() error {
	return w.do(func() error { w.writes--; w.snapshot, w.choice = nil, nil; return nil })
}

// boot empties the kernel and restores what the snapshot says.
func (w *world) boot() error {
	w.k.Reboot()
	if w.snapshot == nil {
		return nil
	}
	b, err := DecodeBoot(w.snapshot)
	if err != nil {
		return err
	}
	f, err := b.Main()
	if err != nil {
		return err
	}
	load := []nft.Revision{f.OffRev, f.Rules}
	for _, back := range f.Backouts {
		if b.Digest != "" && back.Digest != "" {
			way, err := b.Way(back.Digest)
			if err != nil {
				return err
			}
			load = append(load, way.Rules)
		}
	}
	for _, r := range load {
		if err := w.k.Load(ctx, r); err != nil {
			return err
		}
	}
	return w.k.Rollback(ctx, b.Rollback(f, hex.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(w.now.UnixNano())))[:12]))
}

// counting is a source of transaction ids that never repeats.
type counting struct{ n uint64 }

func (c *counting) Read(p []byte) (int, error) {
	c.n++
	s := sha256.Sum256([]byte(fmt.Sprint(c.n)))
	return copy(p, s[:]), nil
}

var ids counting

// failer is what testing.T and rapid.T share.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func (w *world) open(t failer) *Machine {
	t.Helper()
	m, err := Open(Parts{Kernel: w, Journal: w, Files: w, Boots: w, Rand: &ids,
		Parse:   func(b []byte) (plans.Plan, error) { return testPlans[string(b)], nil },
		Compile: testCompile,
	})
	if err == nil {
		err = m.ReadBoot()
	}
	if err != nil && !errors.Is(err, ErrBoot) {
		t.Fatal(err)
	}
	return m
}

// testCompile names a revision by its input, as the compiler does, and has the
// skeleton that switching needs.
func testCompile(in compile.Input) (nft.Revision, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nft.Revision{}, err
	}
	s := sha256.Sum256(b)
	id := "r" + hex.EncodeToString(s[:6])
	rev := nft.Revision{ID: id, Entry: map[string]string{"f": id + "_f", "o": id + "_o"}}
	for _, g := range in.Groups {
		if g.Treatment == compile.Honeypot {
			rev.Entry["n"] = id + "_n"
		}
	}
	verdicts := func(name string) nft.Set {
		return nft.Set{Name: name, Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType}
	}
	sk := &rev.Skeleton
	rules := []nft.Rule{{Stmts: []nft.Stmt{nft.Count{}, nft.Accept()}}}
	sk.Chains = append(sk.Chains, nft.Chain{Name: "w_spare", Rules: rules})
	for h, c := range rev.Entry {
		sk.Sets = append(sk.Sets, verdicts(nft.TrialMap(h)), verdicts(nft.StableMap(h)))
		rev.Ruleset.Chains = append(rev.Ruleset.Chains, nft.Chain{Name: c, Rules: rules})
	}
	for _, g := range in.Groups {
		sk.Sets = append(sk.Sets, verdicts(nft.BackMap(g.Name)), verdicts(nft.SpareMap(g.Name)))
		sk.Chains = append(sk.Chains, nft.Chain{Name: nft.AlertChain(g.Name), Rules: rules})
	}
	for _, r := range []*nft.Ruleset{&rev.Skeleton, &rev.Ruleset} {
		r.Family, r.Table = "inet", "weir"
		slices.SortFunc(r.Sets, func(a, b nft.Set) int { return strings.Compare(a.Name, b.Name) })
		slices.SortFunc(r.Chains, func(a, b nft.Chain) int { return strings.Compare(a.Name, b.Name) })
	}
	return rev, nil
}

var testPlans = map[string]plans.Plan{}

// planNamed makes and registers a plan that tests can apply.
func planNamed(name string, edit func(*plans.Plan)) plans.Plan {
	p := plans.Plan{
		Name: "hq", Timezone: time.UTC, Environment: "operational",
		Scope:         plans.Scope{Hooks: []string{"forward", "output"}, Inside: prefixes("10.0.0.0/8"), Inbound: "observe"},
		ConfirmWithin: 10 * time.Minute,
		Groups: []plans.Group{
			{Name: "cameras", Members: prefixes("10.1.0.0/16"), Families: []flow.Family{flow.IPv4}, Allow: "declared", RulesBy: []string{"group", "service"}},
			{Name: "desks", Members: prefixes("10.2.0.0/16"), Families: []flow.Family{flow.IPv4}, Allow: "observed", RulesBy: []string{"group", "service"}},
			{Name: "servers", Members: prefixes("10.3.0.0/16"), Families: []flow.Family{flow.IPv4}, Allow: "observed", RulesBy: []string{"group", "service"}},
			{Name: plans.Unassigned, Families: []flow.Family{flow.IPv4, flow.IPv6}},
		},
		Enforce: plans.Enforce{Deny: "reject", Established: "drain", DrainFor: time.Hour, LeaveOpen: []string{plans.Unassigned},
			Waves: []plans.Wave{
				{Name: "cameras", Groups: []string{"cameras"}, Share: 100, Deny: "drop", Established: "cut"},
				{Name: "pilot", Groups: []string{"desks"}, Share: 5, Deny: "reject", Established: "drain"},
				{Name: "desks", Groups: []string{"desks"}, Share: 100, Deny: "reject", Established: "drain"},
				{Name: "core", Groups: []string{"servers"}, Share: 100, Deny: "reject", Established: "drain"},
			}},
		Refactor: []plans.Refactor{{Name: "desks", Groups: []string{"desks"}, Allow: []plans.AllowRule{{To: plans.Target{Outside: true}, Services: services("tcp/443")}}}},
		Approvals: []plans.ApprovalRule{
			{Steps: "enforce/block:*", Quorum: 2, ExpireAfter: 240 * time.Hour},
			{Steps: "*", Quorum: 1, SelfApproval: true, ExpireAfter: 24 * time.Hour}},
	}
	if edit != nil {
		edit(&p)
	}
	p.Hash = "sha256:" + name
	testPlans[name] = p
	return p
}

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, x := range s {
		out = append(out, netip.MustParsePrefix(x))
	}
	return out
}

func services(s ...string) []flow.Service {
	var out []flow.Service
	for _, x := range s {
		v, err := flow.ParseService(x)
		if err != nil {
			panic(err)
		}
		out = append(out, v)
	}
	return out
}

// facts are those of a world in which everything was seen and is quiet.
func facts(w *world) Facts {
	return Facts{
		Observed: []monitor.Span{{From: w.now.AddDate(-1, 0, 0), To: w.now}}, Moved: map[string]time.Time{}, Census: w.now,
		Held: &enforce.Held{}, Unanswered: []monitor.Unanswered{}, Heartbeat: w.now, Surroundings: []Surrounding{},
	}
}

func material(w *world) Material {
	var p policy.Policy
	for _, g := range []string{"cameras", "desks", "servers"} {
		p.Rules = append(p.Rules, policy.Rule{Group: g, Services: services("tcp/443", "udp/53"), Reason: policy.Observed})
	}
	return Material{Policy: p, UpTo: w.now, Facts: facts(w)}
}

var (
	anna = Actor{UID: 1001, LoginUID: 1001, Name: "anna"}
	ben  = Actor{UID: 1002, LoginUID: 1002, Name: "ben"}
	cleo = Actor{UID: 0, LoginUID: 1003, Name: "cleo"}
	root = Actor{UID: 0, LoginUID: NoLogin, Name: "root"}
)

// words tells what a world holds in the words of steps.
func (w *world) words(m *Machine) string {
	name := func(id string) string {
		if id == "" {
			return "-"
		}
		if h := m.State().Heads[m.State().Stable]; h.Revision == id {
			return h.Step.Name // of equal revisions the one that was confirmed
		}
		for _, h := range m.State().Heads {
			if h.Revision == id {
				return h.Step.Name
			}
			if h.OffID == id {
				return "off"
			}
		}
		return id
	}
	stable, trial, back := w.holds()
	s := name(stable)
	if trial != "" {
		s += " trial " + name(trial)
	}
	if len(back) > 0 {
		s += " back " + strings.Join(back, ",")
	}
	return s
}

type planT = plans.Plan

func declared(group, service string) plans.Declared {
	return plans.Declared{Name: "d-" + service, From: plans.Target{Groups: []string{group}}, To: plans.Target{Outside: true}, Services: services(service)}
}

func neverFrom(group, service string) plans.Never {
	return plans.Never{Name: "n-" + service, From: plans.Target{Groups: []string{group}}, To: plans.Target{Outside: true}, Services: services(service), Deny: "reject"}
}

type (
	groupT    = plans.Group
	declaredT = plans.Declared
	neverT    = plans.Never
	lifelineT = plans.Lifeline
	targetT   = plans.Target
	waveT     = plans.Wave
)
