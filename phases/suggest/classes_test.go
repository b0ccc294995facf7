package suggest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
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
	for seed := range uint64(5) {
		w := newWorld(seed, 6000)
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
		merged, err := plans.Insert([]byte(planText), s.Entries())
		if err != nil {
			t.Fatal(err)
		}
		q, err := plans.Parse("merged", merged)
		if err != nil {
			t.Fatalf("level %d: %v", level, err)
		}
		if _, err := expect.Plan(q, now); err != nil {
			t.Fatal(err)
		}
		pol, _ := enforce.Build(q, nil, nil, now)
		rulesOnly := policy.Policy{}
		for _, r := range q.Refactor {
			if pol, err = refactor.Apply(pol, *q, r); err != nil {
				t.Fatal(err)
			}
			if rulesOnly, err = refactor.Apply(rulesOnly, *q, r); err != nil {
				t.Fatal(err)
			}
		}
		index, rules, c := policy.NewIndex(pol), policy.NewIndex(rulesOnly), plans.NewClassifier(q)
		denied := 0
		type reach struct {
			server  netip.Addr
			service flow.Service
		}
		clients, reaches, seen := map[netip.Addr]bool{}, map[reach]bool{}, map[Observation]bool{}
		for _, o := range all {
			f := flow.Flow{Client: o.Client, Server: o.Server, Proto: o.Service.Proto, Port: o.Service.Lo}
			group := c.Group(o.Client, "", "")
			if _, ok := index.Allows(group, f); !ok {
				if denied++; denied < 5 {
					t.Errorf("level %d: %s of %s was seen and is denied", level, f, group)
				}
			}
			o.Group = ""
			clients[o.Client], reaches[reach{o.Server, o.Service}], seen[o] = true, true, true
		}
		var granted, used uint64
		for a := range clients {
			group := c.Group(a, "", "")
			for r := range reaches {
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
			t.Errorf("level %d: the rules allow %d combinations, %d of them seen; the ledger says %d and %d", level, granted, used, saysGranted, saysSeen)
		}
		fmt.Fprintf(t.Output(), "level %d: %d classes, %d entries, %d bytes\n", level, len(s.Classes), len(s.Entries()), len(merged))
	}
}

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
