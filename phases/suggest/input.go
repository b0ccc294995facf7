package suggest

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/phases/flow"
)

// Observation is one flow that was seen and counts as normal: a client of a
// group that reached a server.
type Observation struct {
	Group   string
	Client  netip.Addr
	Server  netip.Addr
	Service flow.Service // of one port
}

// Input gathers observations. The zero value is empty. It holds eight bytes for
// each, whatever their order, and may see one several times.
type Input struct {
	endpoints map[Endpoint]uint32
	servers   map[netip.Addr]uint32
	services  map[flow.Service]uint32
	chunks    [][]uint64
}

// Endpoint is an inside address in its group.
type Endpoint struct {
	Group string
	Addr  netip.Addr
}

// An observation is packed as service, server, endpoint.
const (
	endpointBits = 24
	serverBits   = 24
	serviceBits  = 16
)

const chunk = 1 << 16

// Add takes one observation in. It fails where there are more endpoints,
// servers or services than can be counted.
func (in *Input) Add(o Observation) error {
	if in.endpoints == nil {
		in.endpoints, in.servers, in.services = map[Endpoint]uint32{}, map[netip.Addr]uint32{}, map[flow.Service]uint32{}
	}
	e, ok1 := number(in.endpoints, Endpoint{o.Group, o.Client.Unmap()}, 1<<endpointBits)
	d, ok2 := number(in.servers, o.Server.Unmap(), 1<<serverBits)
	s, ok3 := number(in.services, o.Service, 1<<serviceBits)
	if !ok1 || !ok2 || !ok3 {
		return fmt.Errorf("cannot take in more than %d endpoints, %d destinations and %d services", 1<<endpointBits, 1<<serverBits, 1<<serviceBits)
	}
	if n := len(in.chunks); n == 0 || len(in.chunks[n-1]) == chunk {
		in.chunks = append(in.chunks, make([]uint64, 0, chunk))
	}
	last := &in.chunks[len(in.chunks)-1]
	*last = append(*last, pack(s, d, e))
	return nil
}

func pack(s, d, e uint32) uint64 {
	return uint64(s)<<(serverBits+endpointBits) | uint64(d)<<endpointBits | uint64(e)
}

func unpack(o uint64) (s, d, e uint32) {
	return uint32(o >> (serverBits + endpointBits)), uint32(o>>endpointBits) & (1<<serverBits - 1), uint32(o) & (1<<endpointBits - 1)
}

func number[K comparable](m map[K]uint32, k K, limit int) (uint32, bool) {
	if n, ok := m[k]; ok {
		return n, true
	}
	n := uint32(len(m))
	if int(n) >= limit {
		return 0, false
	}
	m[k] = n
	return n, true
}

// facts are the observations numbered by what they are, not by when they came:
// every list is sorted, and every observation is there once.
type facts struct {
	endpoints []Endpoint
	servers   []netip.Addr
	services  []flow.Service
	seen      []uint64 // sorted by service, server, endpoint
}

func (in *Input) facts() facts {
	var f facts
	var es, ds, ss []uint32
	f.endpoints, es = ranked(in.endpoints, func(a, b Endpoint) int {
		if a.Group != b.Group {
			return compareStrings(a.Group, b.Group)
		}
		return a.Addr.Compare(b.Addr)
	})
	f.servers, ds = ranked(in.servers, netip.Addr.Compare)
	f.services, ss = ranked(in.services, flow.CompareServices)
	n := 0
	for _, c := range in.chunks {
		n += len(c)
	}
	f.seen = make([]uint64, 0, n)
	for _, c := range in.chunks {
		for _, o := range c {
			s, d, e := unpack(o)
			f.seen = append(f.seen, pack(ss[s], ds[d], es[e]))
		}
	}
	slices.Sort(f.seen)
	f.seen = slices.Compact(f.seen)
	return f
}

// ranked sorts the keys and returns the new number of each old one.
func ranked[K comparable](m map[K]uint32, compare func(a, b K) int) (keys []K, rank []uint32) {
	keys = make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	rank = make([]uint32, len(keys))
	for i, k := range keys {
		rank[m[k]] = uint32(i)
	}
	return keys, rank
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
