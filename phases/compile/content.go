package compile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"weir/nft"
)

// Sizes of content sets.
const (
	rangesPerSet    = 1000 // elements of one concatenated interval set
	countedElements = 4096 // a set with more has no element counters
)

// content holds the sets that are named by what is in them. Equal content
// gives equal names, in two groups and in two revisions.
type content struct {
	sets map[string]nft.Set
	sums map[string][32]byte
	err  error
}

func newContent() *content {
	return &content{sets: map[string]nft.Set{}, sums: map[string][32]byte{}}
}

// put names a set by its content and keeps it. Elements must be sorted.
func (c *content) put(prefix string, s nft.Set) string {
	h := sha256.New()
	fmt.Fprintf(h, "%v %q %t %t %d\n", s.Key, s.Data, s.Interval, s.Counter, s.Size)
	var n [4]byte
	for _, e := range s.Elements {
		binary.BigEndian.PutUint32(n[:], uint32(len(e.Key)))
		h.Write(n[:])
		h.Write(e.Key)
		h.Write(e.KeyEnd)
	}
	var sum [32]byte
	h.Sum(sum[:0])
	s.Name = prefix + hex.EncodeToString(sum[:6])
	if old, ok := c.sums[s.Name]; ok && old != sum {
		c.err = fmt.Errorf("cannot name set %s: two contents have this digest; change one of the rules", s.Name)
	}
	c.sets[s.Name], c.sums[s.Name] = s, sum
	return s.Name
}

func (c *content) sorted() []nft.Set {
	out := make([]nft.Set, 0, len(c.sets))
	for _, s := range c.sets {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b nft.Set) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return out
}

// prefixes makes an interval set of prefixes, joined where they touch, and
// returns its name.
func (c *content) prefixes(list []netip.Prefix, f family) string {
	s := nft.Set{Key: []nft.Type{f.addr}, Interval: true}
	for _, r := range joined(list) {
		s.Elements = append(s.Elements, span(r.lo, r.hi))
	}
	return c.put("p"+f.suffix, s)
}

// span is an element from one address to another; one address has no end.
func span(lo, hi netip.Addr) nft.Element {
	e := nft.Element{Key: lo.AsSlice()}
	if lo != hi {
		e.KeyEnd = hi.AsSlice()
	}
	return e
}

// flat is a list of keys of equal length in one piece of memory.
type flat struct {
	stride int
	b, tmp []byte
}

func (f *flat) Len() int           { return len(f.b) / f.stride }
func (f *flat) at(i int) []byte    { return f.b[i*f.stride : (i+1)*f.stride : (i+1)*f.stride] }
func (f *flat) Less(i, j int) bool { return bytes.Compare(f.at(i), f.at(j)) < 0 }
func (f *flat) Swap(i, j int) {
	copy(f.tmp, f.at(i))
	copy(f.at(i), f.at(j))
	copy(f.at(j), f.tmp)
}

// keyTypes returns the fields of a kind's sets.
func (k kind) keyTypes() []nft.Type {
	var out []nft.Type
	if k.src {
		out = append(out, families[k.fam].addr)
	}
	if k.dst {
		out = append(out, families[k.fam].addr)
	}
	switch k.part {
	case byPort:
		out = append(out, nft.InetProto, nft.InetService)
	case byProto:
		out = append(out, nft.InetProto)
	case byType:
		out = append(out, families[k.fam].icmpType)
	}
	return out
}

// appendKey writes one corner of a box; each field of a concatenation is padded
// to four bytes.
func (k kind) appendKey(out []byte, b box, upper bool) []byte {
	addr := func(p netip.Prefix) {
		if upper {
			out = append(out, last(p).AsSlice()...)
		} else if p.Addr().Is4() {
			a := p.Addr().As4()
			out = append(out, a[:]...)
		} else {
			a := p.Addr().As16()
			out = append(out, a[:]...)
		}
	}
	v := b.lo
	if upper {
		v = b.hi
	}
	if k.src {
		addr(b.src)
	}
	if k.dst {
		addr(b.dst)
	}
	if k.part == byPort {
		return append(out, byte(b.proto), 0, 0, 0, byte(v>>8), byte(v), 0, 0)
	}
	if k.src || k.dst {
		return append(out, byte(v), 0, 0, 0)
	}
	return append(out, byte(v))
}

// exact makes one hash set of boxes that are single tuples.
func (c *content) exact(k kind, boxes []box) []string {
	f := &flat{}
	f.stride = len(k.appendKey(nil, boxes[0], false))
	f.tmp = make([]byte, f.stride)
	f.b = make([]byte, 0, f.stride*len(boxes))
	for _, b := range boxes {
		f.b = k.appendKey(f.b, b, false)
	}
	sort.Sort(f)
	s := nft.Set{Key: k.keyTypes(), Elements: make([]nft.Element, 0, f.Len())}
	for i := range f.Len() {
		if i > 0 && bytes.Equal(f.at(i-1), f.at(i)) {
			continue
		}
		s.Elements = append(s.Elements, nft.Element{Key: f.at(i)})
	}
	n := len(s.Elements)
	s.Size = uint32(n + n/4 + 1)
	s.Counter = n <= countedElements
	return []string{c.put("x"+k.suffix(), s)}
}

// ranges makes interval sets: no element overlaps another of its set, and each
// set has at most rangesPerSet of them.
func (c *content) ranges(k kind, boxes []box) []string {
	var names []string
	for _, layer := range layers(boxes) {
		for chunk := range slices.Chunk(layer, rangesPerSet) {
			s := nft.Set{Key: k.keyTypes(), Interval: true, Counter: true}
			for _, b := range chunk {
				e := nft.Element{Key: k.appendKey(nil, b, false), KeyEnd: k.appendKey(nil, b, true)}
				if len(s.Key) == 1 && bytes.Equal(e.Key, e.KeyEnd) {
					e.KeyEnd = nil
				}
				s.Elements = append(s.Elements, e)
			}
			slices.SortFunc(s.Elements, func(a, b nft.Element) int { return bytes.Compare(a.Key, b.Key) })
			names = append(names, c.put("v"+k.suffix(), s))
		}
	}
	return names
}

func (k kind) suffix() string { return [...]string{"4", "6", "0"}[k.fam] }
