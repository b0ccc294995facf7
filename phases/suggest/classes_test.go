package suggest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/phases/enforce"
	"weir/phases/expect"
	"weir/phases/flow"
	"weir/phases/policy"
	"weir/phases/refactor"
	"weir/plans"
)

func gather(t testing.TB, w *world) *Input {
	var in Input
	w.flows(func(o Observation) { add(t, &in, o) })
	return &in
}

func add(t testing.TB, in *Input, o Observation) {
	if err := in.Add(o); err != nil {
		t.Fatal(err)
	}
}

// worldPlan has the world's groups, each as large as all of inside: who is in
// which group is the observations' business.
func worldPlan(t testing.TB, more string) *plans.Plan {
	t.Helper()
	p, err := plans.Parse("plan.yaml", []byte(planText+more))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const planText = `apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: w, owner: a@b}
scope: {hooks: [forward], inside: {prefixes: [10.0.0.0/8, 20.0.0.0/8]}}
groups:
  desks: {members: [10.0.0.0/8]}
  servers: {members: [20.0.0.0/9]}
  devices: {members: [20.128.0.0/9]}
enforce:
  waves: [{name: all, groups: [desks, servers, devices]}]
  leaveOpen: [unassigned]
`

// found is the class of each endpoint by its address.
func found(m *model, of []int) map[netip.Addr]int {
	out := map[netip.Addr]int{}
	for e, ep := range m.endpoints {
		out[ep.Addr] = of[m.habits.of[e]]
	}
	return out
}

func compared(w *world, at map[netip.Addr]int) float64 {
	var a, b []int
	for e, c := range w.class {
		if x, ok := at[w.address(uint32(e))]; ok {
			a, b = append(a, x), append(b, c)
		}
	}
	return agreement(a, b)
}

func whole3(string) bool { return false }

// TestKnownClasses: the classes that a network was made of are found again, at
// the level that is taken where nothing is said.
func TestKnownClasses(t *testing.T) {
	for seed := range uint64(6) {
		w := newWorld(seed, 6000)
		for i := range w.classes {
			k := &w.classes[i]
			if seed%2 == 1 { // nobody has sorted the endpoints into groups
				k.group = "all"
			}
			for j := range k.core {
				if seed >= 4 { // everybody lacks a part of what is usual
					k.core[j].usual -= 0.15
				}
			}
		}
		m := newHabits(gather(t, w).facts(), nil).model(whole3)
		classes, of := m.at(levels[Default-1])
		if got := compared(w, found(m, of)); got < 0.98 {
			t.Errorf("seed %d: the classes found agree by %.3f with those that there are", seed, got)
		}
		if n := len(classes); n < 36 || n > 60 {
			t.Errorf("seed %d: %d classes of 40", seed, n)
		}
	}
}

// TestOrderAndNumbersDoNotMatter: the same network in another order, or with
// other addresses, has the same classes and the same curve.
func TestOrderAndNumbersDoNotMatter(t *testing.T) {
	curve := func(in *Input) ([]Point, *model, []int) {
		m := newHabits(in.facts(), nil).model(whole3)
		var out []Point
		for i, l := range levels {
			classes, of := m.at(l)
			out = append(out, m.point(i+1, classes, of))
		}
		_, of := m.at(levels[Default-1])
		return out, m, of
	}
	var all []Observation
	w := newWorld(7, 4000)
	w.flows(func(o Observation) { all = append(all, o) })
	in := &Input{}
	for _, o := range all {
		add(t, in, o)
	}
	want, m, of := curve(in)
	classes := found(m, of)

	r := rand.New(rand.NewPCG(3, 3))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	in = &Input{}
	for _, o := range append(all, all[:1000]...) { // some are seen again
		add(t, in, o)
	}
	got, m, of := curve(in)
	if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(found(m, of), classes) {
		t.Errorf("in another order:\n got  %+v\n want %+v", got, want)
	}

	// Addresses scattered by a bijection; servers keep their networks apart.
	other := func(a netip.Addr, inside bool) netip.Addr {
		b := a.As4()
		x := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		if inside {
			x = x ^ 0x00a5a5a5
			x = x&^0xffffff | (x*0x9e3779b1)&0xffffff
		} else {
			x = x&0xff | (((x >> 8) * 0x9e3779b1) & 0xffffff << 8)
		}
		return v4(0)(x)
	}
	in = &Input{}
	for _, o := range all {
		o.Client, o.Server = other(o.Client, true), other(o.Server, false)
		add(t, in, o)
	}
	got, m, of = curve(in)
	again := found(m, of)
	var a, b []int
	for _, addr := range slices.SortedFunc(mapsKeys(classes), netip.Addr.Compare) {
		a, b = append(a, classes[addr]), append(b, again[other(addr, true)])
	}
	if agree := agreement(a, b); agree < 0.999 {
		t.Errorf("with other addresses the classes agree by %.4f", agree)
	}
	if got[Default-1].Classes != want[Default-1].Classes || got[Default-1].Rules != want[Default-1].Rules {
		t.Errorf("with other addresses:\n got  %+v\n want %+v", got[Default-1], want[Default-1])
	}
}

func mapsKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// placed gives the world's endpoints addresses in their groups' prefixes.
func placed(w *world, o Observation) Observation {
	b := o.Client.As4()
	switch o.Group {
	case "servers":
		o.Client = netip.AddrFrom4([4]byte{20, b[1], b[2], b[3]})
	case "devices":
		o.Client = netip.AddrFrom4([4]byte{20, b[1] | 128, b[2], b[3]})
	}
	return o
}

// merge puts a proposal into a plan's text.
func merge(t *testing.T, text string, s *Proposal) *plans.Plan {
	t.Helper()
	merged, err := plans.Insert([]byte(text), s.Entries())
	if err != nil {
		t.Fatal(err)
	}
	q, err := plans.Parse("merged.yaml", merged)
	if err != nil {
		t.Fatalf("level %d: %v", s.Level, err)
	}
	results, err := expect.Plan(q, now)
	if err != nil {
		t.Fatal(err)
	}
	if bad := expect.Failures(results); len(bad) > 0 {
		t.Errorf("%s\n%s", strings.Join(bad, "\n"), merged)
	}
	return q
}

// denied lists what was seen and a plan denies when all its steps are taken; at
// most ten.
func denied(t *testing.T, q *plans.Plan, all []Observation) (out []Observation) {
	t.Helper()
	pol, _ := enforce.Build(q, nil, nil, now)
	for _, r := range q.Refactor {
		var err error
		if pol, err = refactor.Apply(pol, *q, r); err != nil {
			t.Fatal(err)
		}
	}
	index, c := policy.NewIndex(pol), plans.NewClassifier(q)
	for _, o := range all {
		f := flow.Flow{Client: o.Client, Server: o.Server, Proto: o.Service.Proto, Port: o.Service.Lo}
		group := c.Group(o.Client, "", "")
		if g := q.Group(o.Group); g != nil && g.Self {
			group = g.Name
		}
		if _, ok := index.Allows(group, f); !ok && len(out) < 10 {
			out = append(out, o)
		}
	}
	return out
}

// TestNothingSeenIsDenied merges proposals of several levels into the plan and
// asks the plan about everything that was seen: all of it is allowed, or named
// as taken away; and the rules allow what the ledger says, combination by
// combination.
func TestNothingSeenIsDenied(t *testing.T) {
	p := worldPlan(t, "")
	for _, level := range []int{1, Default, 9} {
		w := newWorld(11, 400)
		in := &Input{}
		var all []Observation
		w.flows(func(o Observation) {
			o = placed(w, o)
			all = append(all, o)
			add(t, in, o)
		})
		s, err := Suggest(p, in, Options{Level: level})
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Named) > 0 {
			t.Errorf("level %d: recognised %+v", level, s.Named)
		}
		q := merge(t, planText, s)
		for _, o := range denied(t, q, all) {
			t.Errorf("level %d: %s -> %s %s was seen and is denied", level, o.Client, o.Server, o.Service)
		}
		ledger(t, q, s, all)
	}
}

// ledger asks the rules of a merged proposal about every combination of an
// endpoint with a service and destination that anybody used, and compares with
// what the proposal says of them.
func ledger(t *testing.T, q *plans.Plan, s *Proposal, all []Observation) {
	t.Helper()
	rulesOnly := policy.Policy{}
	for _, r := range q.Refactor {
		var err error
		if rulesOnly, err = refactor.Apply(rulesOnly, *q, r); err != nil {
			t.Fatal(err)
		}
	}
	rules, c := policy.NewIndex(rulesOnly), plans.NewClassifier(q)
	type reach struct {
		server  netip.Addr
		service flow.Service
	}
	clients, reaches, seen := map[netip.Addr]bool{}, map[reach]bool{}, map[Observation]bool{}
	for _, o := range all {
		o.Group = ""
		clients[o.Client], reaches[reach{o.Server, o.Service}], seen[o] = true, true, true
	}
	var granted, used uint64
	for a := range clients {
		group := c.Group(a, "", "")
		for r := range reaches {
			if a.Is4() != r.server.Is4() {
				continue
			}
			if _, ok := rules.Allows(group, flow.Flow{Client: a, Server: r.server, Proto: r.service.Proto, Port: r.service.Lo}); ok {
				granted++
				if seen[Observation{Client: a, Server: r.server, Service: r.service}] {
					used++
				}
			}
		}
	}
	var saysGranted, saysSeen uint64
	for _, c := range s.Classes {
		for _, r := range c.Rules {
			saysGranted, saysSeen = saysGranted+r.Granted, saysSeen+r.Seen
		}
	}
	if granted != saysGranted || used != saysSeen {
		t.Errorf("level %d: the rules allow %d combinations, %d of them seen; the ledger says %d and %d", s.Level, granted, used, saysGranted, saysSeen)
	}
}

// TestCovers writes addresses as prefixes: more than half of each was seen, and
// nobody else's is in it.
func TestCovers(t *testing.T) {
	addrs := func(text string) (out []netip.Addr) {
		for _, f := range strings.Fields(text) {
			out = append(out, netip.MustParseAddr(f))
		}
		return out
	}
	within := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00::/64")}
	for _, c := range []struct{ own, others, want string }{
		{"10.0.0.8 10.0.0.9 10.0.0.10", "", "[10.0.0.8/30]"},
		{"10.0.0.8 10.0.0.9 10.0.0.10", "10.0.0.11", "[10.0.0.8/31 10.0.0.10/32]"},
		{"10.0.0.8 10.0.0.10", "", "[10.0.0.8/32 10.0.0.10/32]"},
		{"10.0.0.8 10.0.0.9 10.0.0.10 10.0.0.11 10.0.0.13", "", "[10.0.0.8/29]"},
		{"10.0.0.9 10.0.0.10 10.0.0.11", "10.0.0.8", "[10.0.0.9/32 10.0.0.10/31]"},
		{"fd00::8 fd00::9", "", "[fd00::8/128 fd00::9/128]"},
	} {
		if got := fmt.Sprint(covers(addrs(c.own), addrs(c.others), within)); got != c.want {
			t.Errorf("%s, not %s: %s, want %s", c.own, c.others, got, c.want)
		}
	}
}

// TestLevelsTellApart: 20 of 110 servers also do something of their own. At a
// narrow level they are a class, at a wide one what they do is an exception.
func TestLevelsTellApart(t *testing.T) {
	p := worldPlan(t, "")
	for level, want := range map[int]string{1: "2 classes, 0 exceptions", Default: "1 classes, 1 exceptions"} {
		in := &Input{}
		var all []Observation
		see := func(i int, server string, port uint16) {
			all = append(all, Observation{"servers", netip.AddrFrom4([4]byte{20, 0, 0, byte(i)}), netip.MustParseAddr(server), tcp(port)})
		}
		for i := range 110 {
			for j := range 5 {
				see(i, fmt.Sprintf("198.51.%d.7", j), 443)
			}
			if i >= 90 {
				see(i, "203.0.113.1", 9092)
			}
			// two of six servers of one network each: its prefix is the destination
			see(i, fmt.Sprintf("192.0.2.%d", 64+i%6), 8443)
			see(i, fmt.Sprintf("192.0.2.%d", 64+(i+1)%6), 8443)
		}
		for _, o := range all {
			add(t, in, o)
		}
		s, err := Suggest(p, in, Options{Level: level})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d classes, %d exceptions", len(s.Classes), len(s.Exceptions)); got != want {
			t.Errorf("level %d: %s, want %s", level, got, want)
		}
		q := merge(t, planText, s)
		for _, o := range denied(t, q, all) {
			t.Errorf("level %d: %v is denied", level, o)
		}
		ledger(t, q, s, all)
	}
}

// TestOwnTraffic: what this machine sends itself is a group without addresses;
// both of its users' groups keep what they did.
func TestOwnTraffic(t *testing.T) {
	const host = `apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: h, owner: a@b}
scope: {hooks: [output]}
groups:
  this-host: {self: true}
  backup: {self: true, uids: [34]}
enforce: {waves: [{name: a, groups: [this-host, backup]}], leaveOpen: [unassigned]}
`
	p, err := plans.Parse("host.yaml", []byte(host))
	if err != nil {
		t.Fatal(err)
	}
	in := &Input{}
	var all []Observation
	for _, o := range []struct{ group, client, server string }{
		{"this-host", "203.0.113.5", "192.0.2.53"}, {"this-host", "2001:db8:5::5", "2001:db8::53"}, {"this-host", "203.0.113.6", "198.51.100.1"},
		{"this-host", "203.0.113.5", "198.51.100.2"}, {"backup", "203.0.113.5", "198.51.100.3"},
	} {
		all = append(all, Observation{o.group, netip.MustParseAddr(o.client), netip.MustParseAddr(o.server), tcp(443)})
		add(t, in, all[len(all)-1])
	}
	s, err := Suggest(p, in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range denied(t, merge(t, host, s), all) {
		t.Errorf("%v is denied", o)
	}
}

// TestOccasionalVisitors: desks of which one saw few sites, and just those that
// all visit, are desks like the others, and both families are one group.
func TestOccasionalVisitors(t *testing.T) {
	in := &Input{}
	var all []Observation
	see := func(client, server string, s flow.Service) {
		all = append(all, Observation{"desks", netip.MustParseAddr(client), netip.MustParseAddr(server), s})
	}
	for i := range 30 {
		for _, fam := range []struct{ client, site, dns string }{
			{"10.20.16.%d", "100.%d.%d.1", "192.0.2.53"}, {"fd20:0:0:16::%x", "2001:db8:%x:%x::1", "2001:db8::53"}} {
			c := fmt.Sprintf(fam.client, 10+i)
			see(c, fam.dns, udp(53))
			if i >= 25 {
				see(c, fmt.Sprintf(fam.site, 64, 0), tcp(443))
				continue
			}
			for j := range 15 + len(fam.site)/5 { // the families differ in how many
				n := i*20 + j
				if j == 0 {
					n = 0
				}
				see(c, fmt.Sprintf(fam.site, 64+n/200, n%200), tcp(443))
			}
		}
	}
	for _, o := range all {
		add(t, in, o)
	}
	s, q := suggested(t, in, Options{})
	if len(s.Classes) != 1 || s.Classes[0].Seen != 60 || len(s.Exceptions) != 0 {
		t.Errorf("%+v %v", s.Classes, s.Exceptions)
	}
	ledger(t, q, s, all)
}

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
