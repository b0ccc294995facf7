package infer

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// fewest finds the least number of boxes that cover the cells of a mask, by
// trying all: boxes are products of rows, columns and layers within the mask.
func fewest(cells uint32, x, y, z int) int {
	bit := func(i, j, k int) uint32 { return 1 << ((i*y+j)*z + k) }
	var boxes []uint32
	for a := 1; a < 1<<x; a++ {
		for b := 1; b < 1<<y; b++ {
			for c := 1; c < 1<<z; c++ {
				m := uint32(0)
				for i := range x {
					for j := range y {
						for k := range z {
							if a>>i&1 == 1 && b>>j&1 == 1 && c>>k&1 == 1 {
								m |= bit(i, j, k)
							}
						}
					}
				}
				if m&^cells == 0 {
					boxes = append(boxes, m)
				}
			}
		}
	}
	var prime []uint32
	for _, m := range boxes {
		inner := false
		for _, o := range boxes {
			inner = inner || m != o && m&^o == 0
		}
		if !inner {
			prime = append(prime, m)
		}
	}
	var try func(left uint32, n int) bool
	try = func(left uint32, n int) bool {
		if left == 0 {
			return true
		}
		first := uint32(1) << bits.TrailingZeros32(left)
		for _, m := range prime {
			if n > 0 && m&first != 0 && try(left&^m, n-1) {
				return true
			}
		}
		return false
	}
	for n := 0; ; n++ {
		if try(cells, n) {
			return n
		}
	}
}

// TestProvenMeansFewest compares the count, the bound and the claim of being
// minimal with what trying everything finds.
func TestProvenMeansFewest(t *testing.T) {
	const x, y, z = 4, 4, 2
	proven, best := 0, 0
	const trials = 150
	for seed := range uint64(trials) {
		r := rand.New(rand.NewPCG(seed, 41))
		cells := r.Uint32()
		if seed%2 == 0 {
			cells |= r.Uint32()
		}
		if seed%3 == 0 {
			cells |= cells<<1&0xaaaaaaaa | cells>>1&0x55555555 // both layers alike
		}
		rs := rules.Ruleset{Families: []flow.Family{flow.IPv4}, Chains: []*rules.Chain{{Name: "FORWARD", Hook: "forward", Default: rules.Drop}}}
		host := func(net, i int) []rules.Addrs {
			a := netip.AddrFrom4([4]byte{10, byte(net), 0, byte(1 + i)})
			return []rules.Addrs{{Ranges: []rules.AddrRange{{Lo: a, Hi: a}}}}
		}
		for i := range x {
			for j := range y {
				for k := range z {
					if cells>>((i*y+j)*z+k)&1 == 1 {
						port := []uint16{22, 80}[k]
						rs.Chains[0].Rules = append(rs.Chains[0].Rules, rules.Rule{File: "f", Line: len(rs.Chains[0].Rules) + 1, Action: rules.Accept, Match: rules.Match{
							Src: host(1, i), Dst: host(2, j), Services: []rules.Services{{Ranges: []rules.ServiceRange{rules.PortsOf(flow.TCP, port, port)}}}}})
					}
				}
			}
		}
		a, err := analyse(rs, "FORWARD")
		if err != nil {
			t.Fatal(err)
		}
		set, err := a.allowed(rules.Match{})
		if err != nil {
			t.Fatal(err)
		}
		list, bound, err := a.boxes(set, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		want := fewest(cells, x, y, z)
		if bound > want || len(list) < want {
			t.Fatalf("seed %d: %d boxes, at least %d are said to be needed; the fewest are %d", seed, len(list), bound, want)
		}
		if len(list) == bound {
			proven++
		}
		if len(list) == want {
			best++
		}
	}
	t.Logf("of %d: %d are the fewest, %d proven so", trials, best, proven)
	if best < trials*9/10 || proven < trials/3 {
		t.Errorf("of %d: %d are the fewest, %d proven so", trials, best, proven)
	}
}
