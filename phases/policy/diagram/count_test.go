package diagram

import (
	"math/big"
	"math/rand/v2"
	"net/netip"
	"testing"

	"weir/phases/flow"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/sample"
)

func TestCount(t *testing.T) {
	m := rules.Match{
		Src:      []rules.Addrs{{Ranges: []rules.AddrRange{rules.PrefixRange(netip.MustParsePrefix("10.0.0.0/24"))}}},
		Dst:      []rules.Addrs{{Ranges: []rules.AddrRange{rules.PrefixRange(netip.MustParsePrefix("fd20::/64"))}}},
		Services: []rules.Services{{Ranges: []rules.ServiceRange{rules.PortsOf(flow.TCP, 80, 89)}}},
		SrcPorts: []rules.Ports{{Ranges: []rules.PortRange{{Lo: 1024, Hi: 1025}}}},
		States:   rules.New,
	}
	s, f := NewSpace([]rules.FlatRule{{Match: m}}), NewForest(0)
	n, err := s.Set(f, m)
	if err != nil {
		t.Fatal(err)
	}
	want := new(big.Int).Lsh(big.NewInt(256*10*2), 64)
	if got := s.Count(f, n); got.Cmp(want) != 0 {
		t.Errorf("%v, want %v", got, want)
	}
	if got := s.Count(f, None); got.Sign() != 0 {
		t.Errorf("nothing counts %v", got)
	}
}

// TestCountAddsUp: what is in a and what is not are all there is.
func TestCountAddsUp(t *testing.T) {
	for seed := range uint64(20) {
		rs := sample.Ruleset(rand.New(rand.NewPCG(seed, 3)), sample.Shape{Rules: 40, Tests: true, Devices: true})
		f := NewForest(0)
		s, n := build(t, f, rs)
		is := func(want bool) *big.Int {
			m, err := f.Map(n, func(v uint32) uint32 {
				if (v == Accepted) == want {
					return 1
				}
				return 0
			})
			if err != nil {
				t.Fatal(err)
			}
			return s.Count(f, m)
		}
		if sum, all := new(big.Int).Add(is(true), is(false)), s.Count(f, n); sum.Cmp(all) != 0 {
			t.Errorf("seed %d: %v in all, want %v", seed, sum, all)
		}
	}
}
