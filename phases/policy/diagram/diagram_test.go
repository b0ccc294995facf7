package diagram

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"weir/phases/flow"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/sample"
)

var meaning = map[rules.Action]uint32{rules.Accept: Accepted, rules.Drop: Dropped, rules.Reject: Rejected}

func build(t testing.TB, f *Forest, rs rules.Ruleset) (*Space, Node) {
	t.Helper()
	flat, err := rules.Flatten(rs, "FORWARD")
	if err != nil {
		t.Fatal(err)
	}
	s := NewSpace(flat)
	n, err := s.Build(f, flat, Outcomes, rs.Families...)
	if err != nil {
		t.Fatal(err)
	}
	return s, n
}

// TestAgreesWithTheInterpreter compares diagrams with the naive interpreter.
func TestAgreesWithTheInterpreter(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		shape := sample.Shape{Rules: 5 + r.IntN(60), Chains: r.IntN(4), Tests: seed%2 == 0, Devices: seed%3 == 0, Hosts: 12}
		if seed%5 == 0 {
			shape.Families = []flow.Family{flow.IPv4}
		}
		rs := sample.Ruleset(r, shape)
		f := NewForest(0)
		s, n := build(t, f, rs)
		packets := sample.NewPackets(r, rs)
		for range 6000 {
			p := packets.Next()
			v, err := rules.Decide(rs, "FORWARD", p)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.At(n, s.Locate(p)); got != meaning[v.Action] {
				t.Fatalf("seed %d: %s %v: the diagram says %d, the interpreter %s by %s", seed, p, p.Tests, got, v.Action, v.Rule.Where())
			}
		}
	}
}

// TestSetsAreCanonical: the same set made in different ways is the same node.
func TestSetsAreCanonical(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		rs := sample.Ruleset(r, sample.Shape{Rules: 30, Hosts: 10, Tests: true, Devices: true})
		flat, _ := rules.Flatten(rs, "FORWARD")
		s, f := NewSpace(flat), NewForest(0)
		var a, b, c Node = None, None, None
		for i, x := range flat {
			n, err := s.Set(f, x.Match)
			if err != nil {
				t.Fatal(err)
			}
			switch i % 3 {
			case 0:
				a, err = f.Union(a, n)
			case 1:
				b, err = f.Union(b, n)
			default:
				c, err = f.Union(c, n)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		do := func(n Node, err error) Node {
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		left := do(f.Union(do(f.Within(a, b)), do(f.Within(a, c))))
		right := do(f.Within(a, do(f.Union(b, c))))
		if left != right {
			t.Errorf("seed %d: a∧b ∨ a∧c is not a∧(b∨c)", seed)
		}
		if do(f.Without(a, b)) != do(f.Without(a, do(f.Within(b, a)))) {
			t.Errorf("seed %d: a−b is not a−(a∧b)", seed)
		}
		if do(f.Union(do(f.Without(a, b)), do(f.Within(a, b)))) != a {
			t.Errorf("seed %d: a−b ∨ a∧b is not a", seed)
		}
		kept := f.Keep(left, right)
		if kept[0] != kept[1] {
			t.Errorf("seed %d: Keep makes two of one", seed)
		}
	}
}

func TestExistsIsProjection(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	rs := sample.Ruleset(r, sample.Shape{Rules: 60, Tests: true, Hosts: 12})
	f := NewForest(0)
	s, n := build(t, f, rs)
	allowed, err := f.Map(n, func(v uint32) uint32 {
		if v == Accepted {
			return 1
		}
		return 0
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Exists(allowed, func(d int) bool { return d >= s.FirstTest() })
	if err != nil {
		t.Fatal(err)
	}
	packets := sample.NewPackets(r, rs)
	for range 5000 {
		x := packets.Next()
		want := uint32(0)
		at := s.Locate(x)
		tests := len(s.Dims) - s.FirstTest()
		for bits := range 1 << tests {
			for i := range tests {
				at[s.FirstTest()+i] = uint32(bits >> i & 1)
			}
			want |= f.At(allowed, at)
		}
		if got := f.At(p, at); got != want {
			t.Fatalf("%s: %d, want %d", x, got, want)
		}
	}
}

func TestStory28LimitIsAnError(t *testing.T) {
	rs := sample.Ruleset(rand.New(rand.NewPCG(3, 3)), sample.Shape{Rules: 500})
	flat, _ := rules.Flatten(rs, "FORWARD")
	if _, err := NewSpace(flat).Build(NewForest(2000), flat, Outcomes); err != ErrTooLarge {
		t.Errorf("%v, want ErrTooLarge", err)
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{1000, 5000, 10000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			rs := sample.Ruleset(rand.New(rand.NewPCG(1, uint64(n))), sample.Shape{Rules: n, Hosts: 1000, Narrow: true})
			flat, _ := rules.Flatten(rs, "FORWARD")
			for b.Loop() {
				s, f := NewSpace(flat), NewForest(0)
				if _, err := s.Build(f, flat, Outcomes); err != nil {
					b.Fatal(err)
				}
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.Sys)/(1<<20), "MB")
		})
	}
}

// busy is the time that processors worked for this process: unlike the clock it
// does not count what others do on the machine.
func busy(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// slower is by how much the process may be slower than its limits.
var slower = 1

// TestTenThousandRulesInTime holds the promise of time and memory: 1 s and
// 300 MB on one core.
func TestTenThousandRulesInTime(t *testing.T) {
	rs := sample.Ruleset(rand.New(rand.NewPCG(1, 10000)), sample.Shape{Rules: 10000, Hosts: 1000, Narrow: true})
	flat, err := rules.Flatten(rs, "FORWARD")
	if err != nil {
		t.Fatal(err)
	}
	start := busy(t)
	s, f := NewSpace(flat), NewForest(0)
	n, err := s.Build(f, flat, Outcomes)
	took := busy(t) - start
	if err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%v, %d MB from the system", took, m.Sys>>20)
	if took > time.Duration(slower)*time.Second || m.Sys > uint64(slower)*300<<20 {
		t.Errorf("%v and %d MB, want 1 s and 300 MB", took, m.Sys>>20)
	}
	packets := sample.NewPackets(rand.New(rand.NewPCG(2, 2)), rs)
	for range 500 {
		p := packets.Next()
		if v, err := rules.Decide(rs, "FORWARD", p); err != nil || f.At(n, s.Locate(p)) != meaning[v.Action] {
			t.Fatalf("%s: %v %v, the diagram says %d", p, v.Action, err, f.At(n, s.Locate(p)))
		}
	}
}
