package diagram

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// Kind is what a dimension is about. Dimensions lie in the order of their
// kinds.
type Kind int

// The kinds. There is one dimension of each, except that every question has a
// dimension of kind Test of its own.
const (
	Out Kind = iota
	In
	State
	Src
	Dst
	Service
	SrcPort
	Test
)

func (k Kind) String() string {
	return [...]string{"out", "in", "state", "src", "dst", "service", "srcport", "test"}[k]
}

// Dim is one dimension: its points, cut into atoms. Points are bytes whose
// order is the dimension's: "4" or "6" with an address, a name, a number.
type Dim struct {
	Kind   Kind
	Test   string   // the question's key, for Test
	starts []string // first point of each atom; starts[0] is the first point of all
}

// Atoms returns how many atoms the dimension has.
func (d *Dim) Atoms() int { return len(d.starts) }

// find returns the atom of a point.
func (d *Dim) find(p string) uint32 {
	return uint32(sort.Search(len(d.starts), func(i int) bool { return d.starts[i] > p }) - 1)
}

// Space is the dimensions that some rules need. It is built once for all
// rulesets that are to be compared, and read-only afterwards.
type Space struct {
	Dims  []Dim
	tests map[string]int // key → dimension
	names [2][]string    // interface names and wildcards that rules have, of Out and In
}

// FirstTest returns the number of the first dimension of kind Test: all before
// it are decided by the header.
func (s *Space) FirstTest() int { return int(Test) }

// NewSpace numbers the atoms of every dimension that the rules cut.
func NewSpace(lists ...[]rules.FlatRule) *Space {
	s := &Space{tests: map[string]int{}}
	for k := Out; k < Test; k++ {
		s.Dims = append(s.Dims, Dim{Kind: k, starts: []string{first[k]}})
	}
	s.cut(Src, six)
	s.cut(Dst, six)
	for _, p := range []flow.Proto{flow.ICMP, flow.ICMPv6} {
		s.cut(Service, service(rules.ServiceOf(p, 0)), service(rules.ServiceOf(p+1, 0)))
	}
	for i := range rules.StateNames {
		s.cut(State, string([]byte{byte(i)}))
	}
	seen := map[*rules.Except]bool{}
	for _, list := range lists {
		for _, r := range list {
			s.match(r.Match)
			for e := r.Except; e != nil && !seen[e]; e = e.Before {
				seen[e] = true
				s.match(e.Match)
			}
		}
	}
	for i := range s.Dims {
		slices.Sort(s.Dims[i].starts)
		s.Dims[i].starts = slices.Compact(s.Dims[i].starts)
	}
	for k := range s.names {
		slices.Sort(s.names[k])
		s.names[k] = slices.Compact(s.names[k])
	}
	keys := make([]string, 0, len(s.tests))
	for k := range s.tests {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		s.tests[k] = int(Test) + i
		s.Dims = append(s.Dims, Dim{Kind: Test, Test: k, starts: []string{"\x00", "\x01"}})
	}
	return s
}

// four and six are the first addresses of each family.
const four, six = "4\x00\x00\x00\x00", "6\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// first is the first point of each dimension.
var first = [...]string{Out: "", In: "", State: "\x00", Src: four, Dst: four, Service: service(0), SrcPort: "\x00\x00"}

func (s *Space) cut(k Kind, points ...string) {
	for _, p := range points {
		if p != "" && p > first[k] {
			s.Dims[k].starts = append(s.Dims[k].starts, p)
		}
	}
}

// match cuts the dimensions where a match begins and ends.
func (s *Space) match(m rules.Match) {
	for k, list := range map[Kind][]rules.Addrs{Src: m.Src, Dst: m.Dst} {
		for _, a := range list {
			for _, r := range a.Ranges {
				s.cut(k, address(r.Lo), after(r.Hi))
			}
		}
	}
	for _, x := range m.Services {
		for _, r := range x.Ranges {
			s.cut(Service, service(r.Lo))
			if r.Hi < rules.MaxService {
				s.cut(Service, service(r.Hi+1))
			}
		}
	}
	for _, x := range m.SrcPorts {
		for _, r := range x.Ranges {
			s.cut(SrcPort, port(r.Lo))
			if r.Hi < 65535 {
				s.cut(SrcPort, port(r.Hi+1))
			}
		}
	}
	for k, list := range map[Kind][]rules.Interfaces{In: m.In, Out: m.Out} {
		for _, x := range list {
			for _, n := range x.Names {
				s.cut(k, names(n)...)
				s.names[k] = append(s.names[k], n)
			}
		}
	}
	for _, t := range m.Tests {
		s.tests[t.Key()] = 0
	}
}

func address(a netip.Addr) string {
	if a.Is4() {
		b := a.As4()
		return "4" + string(b[:])
	}
	b := a.As16()
	return "6" + string(b[:])
}

// after returns the point after an address; after the last one of IPv4 comes
// IPv6, after the last one of that nothing.
func after(a netip.Addr) string {
	if n := a.Next(); n.IsValid() {
		return address(n)
	}
	if a.Is4() {
		return six
	}
	return ""
}

func service(s rules.Service) string { return string(binary.BigEndian.AppendUint32(nil, uint32(s))) }
func port(p uint16) string           { return string(binary.BigEndian.AppendUint16(nil, p)) }

// names returns the first point of a name or wildcard and the first after it.
func names(n string) []string {
	if n[len(n)-1] != '+' {
		return []string{n, n + "\x00"}
	}
	n = n[:len(n)-1]
	if n == "" {
		return nil
	}
	end := []byte(n)
	end[len(end)-1]++ // names are ASCII
	return []string{n, string(end)}
}

// Point is an atom of every dimension: all packets that no rule tells apart
// from one another.
type Point []uint32

// Locate returns the point of a packet.
func (s *Space) Locate(p rules.Packet) Point {
	at := make(Point, len(s.Dims))
	state := 0
	for p.State>>(state+1) != 0 {
		state++
	}
	for i, v := range []string{Out: p.Out, In: p.In, State: string([]byte{byte(state)}), Src: address(p.Src), Dst: address(p.Dst),
		Service: service(p.Service), SrcPort: port(p.SrcPort)} {
		at[i] = s.Dims[i].find(v)
	}
	for k, yes := range p.Tests {
		if i, known := s.tests[k]; known && yes {
			at[i] = 1
		}
	}
	return at
}

// At returns the value of a diagram at a point.
func (f *Forest) At(n Node, at Point) uint32 {
	for n&terminal == 0 {
		x := f.nodes[n]
		a := at[x.dim]
		lo, hi := x.off, x.off+x.n-1
		for lo < hi {
			if mid := (lo + hi) / 2; f.edges[mid].hi >= a {
				hi = mid
			} else {
				lo = mid + 1
			}
		}
		n = f.edges[lo].child
	}
	return uint32(n &^ terminal)
}

// check says whether a match can be put into the space.
func (s *Space) check(m rules.Match) error {
	for _, t := range m.Tests {
		if _, ok := s.tests[t.Key()]; !ok {
			return fmt.Errorf("cannot build: the space was made without the test %q", t.Key())
		}
	}
	return nil
}

// Services returns the services of an atom of that dimension.
func (s *Space) Services(atom uint32) rules.ServiceRange {
	d := s.Dims[Service]
	r := rules.ServiceRange{Lo: rules.Service(binary.BigEndian.Uint32([]byte(d.starts[atom]))), Hi: rules.MaxService}
	if int(atom)+1 < len(d.starts) {
		r.Hi = rules.Service(binary.BigEndian.Uint32([]byte(d.starts[atom+1]))) - 1
	}
	return r
}

// SrcPorts returns the ports of an atom of that dimension.
func (s *Space) SrcPorts(atom uint32) rules.PortRange {
	d := s.Dims[SrcPort]
	r := rules.PortRange{Lo: binary.BigEndian.Uint16([]byte(d.starts[atom])), Hi: 65535}
	if int(atom)+1 < len(d.starts) {
		r.Hi = binary.BigEndian.Uint16([]byte(d.starts[atom+1])) - 1
	}
	return r
}

// Addrs returns the addresses of an atom of Src or Dst.
func (s *Space) Addrs(k Kind, atom uint32) rules.AddrRange {
	d := s.Dims[k]
	lo, _ := netip.AddrFromSlice([]byte(d.starts[atom][1:]))
	r := rules.AddrRange{Lo: lo}
	switch {
	case int(atom)+1 == len(d.starts):
		r.Hi = rules.PrefixRange(anywhere6).Hi
	case d.starts[atom+1] == six:
		r.Hi = rules.PrefixRange(anywhere4).Hi
	default:
		hi, _ := netip.AddrFromSlice([]byte(d.starts[atom+1][1:]))
		r.Hi = hi.Prev()
	}
	return r
}

// Names returns the interface names and wildcards that rules have in In or Out.
func (s *Space) Names(k Kind) []string { return s.names[k] }

// Named returns the atoms of an interface name or wildcard.
func (s *Space) Named(k Kind, name string) Span { return s.Dims[k].named(name) }

// Name returns the first interface name of an atom of In or Out: "" where it
// is the atom of names before all others.
func (s *Space) Name(k Kind, atom uint32) string { return s.Dims[k].starts[atom] }
