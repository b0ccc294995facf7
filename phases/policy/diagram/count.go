package diagram

import "math/big"

// Count returns how many packets a diagram has with a value other than None,
// Outside included: each source, destination, service (of 2^16 for each
// protocol) and source port counts, and each atom of interfaces, states and
// tests once. Compare it with the count of another diagram of the same space.
func (s *Space) Count(f *Forest, n Node) *big.Int {
	sizes := make([][]*big.Int, len(s.Dims))
	whole := make([]*big.Int, len(s.Dims))
	for d := range s.Dims {
		whole[d] = new(big.Int)
		for a := range s.Dims[d].Atoms() {
			sizes[d] = append(sizes[d], s.size(d, uint32(a)))
			whole[d].Add(whole[d], sizes[d][a])
		}
	}
	free := func(v *big.Int, from, to int) *big.Int {
		for ; from < min(to, len(s.Dims)); from++ {
			v = new(big.Int).Mul(v, whole[from])
		}
		return v
	}
	memo := map[Node]*big.Int{None: new(big.Int)}
	var walk func(Node) *big.Int
	walk = func(n Node) *big.Int {
		if v, ok := memo[n]; ok {
			return v
		}
		if _, leaf := n.Value(); leaf {
			return big.NewInt(1)
		}
		sum, d := new(big.Int), f.Dim(n)
		f.Each(n, func(lo, hi uint32, child Node) {
			part := new(big.Int)
			for a := lo; a <= hi; a++ {
				part.Add(part, sizes[d][a])
			}
			sum.Add(sum, part.Mul(part, free(walk(child), d+1, f.Dim(child))))
		})
		memo[n] = sum
		return sum
	}
	return free(walk(n), 0, f.Dim(n))
}

// size is how many points an atom has.
func (s *Space) size(d int, a uint32) *big.Int {
	n := big.NewInt(1)
	switch k := s.Dims[d].Kind; k {
	case Src, Dst:
		r := s.Addrs(k, a)
		n.SetBytes(r.Hi.AsSlice())
		n.Sub(n, new(big.Int).SetBytes(r.Lo.AsSlice()))
		n.Add(n, big.NewInt(1))
	case Service:
		r := s.Services(a)
		n.SetInt64(int64(r.Hi) - int64(r.Lo) + 1)
	case SrcPort:
		r := s.SrcPorts(a)
		n.SetInt64(int64(r.Hi) - int64(r.Lo) + 1)
	}
	return n
}
