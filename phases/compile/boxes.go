package compile

import (
	"cmp"
	"net/netip"
	"slices"

	"weir/phases/flow"
)

// box is one rectangle of packets of one family: clients, servers, and a range
// of one protocol's ports or types, or protocols themselves when any is set.
// An address part that the kind does not have is the invalid prefix.
type box struct {
	src, dst netip.Prefix
	proto    flow.Proto
	lo, hi   uint16
}

// part says what a box's service is matched by.
type part string

const (
	byPort  part = "ports" // protocol and port
	byProto part = "bare"  // protocol alone: bare protocols, every port, every type
	byType  part = "types" // ICMP type
)

// kind is a shape of set: one lookup rule reads all boxes of a kind.
type kind struct {
	fam      int // 0 IPv4, 1 IPv6, 2 both (only without addresses)
	src, dst bool
	part     part
	exact    bool // every field is a single value: a hash set
}

// compareKinds orders lookups: the cheap hash sets first.
func compareKinds(a, b kind) int {
	flag := func(v bool) int {
		if v {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(flag(a.exact), flag(b.exact)), cmp.Compare(a.fam, b.fam),
		cmp.Compare(flag(a.dst), flag(b.dst)), cmp.Compare(flag(a.src), flag(b.src)))
}

// tuple is a rule of the input in the form that all of them share: allow rules,
// lifelines, never rules and inbound rules.
type tuple struct {
	from, to []netip.Prefix // empty: any
	services []flow.Service // empty: any
	fams     []flow.Family  // empty: both
}

// smallRange is the widest port range between exact addresses that is written
// as single ports.
const smallRange = 8

// split sorts the boxes of tuples by kind.
func split(tuples []tuple) map[kind][]box {
	out := map[kind][]box{}
	for _, t := range tuples {
		both := len(t.from)+len(t.to)+len(t.fams) == 0
		for fi, f := range families {
			if len(t.fams) > 0 && !slices.Contains(t.fams, f.fam) {
				continue
			}
			from, ok1 := only(t.from, f)
			to, ok2 := only(t.to, f)
			if !ok1 || !ok2 {
				continue
			}
			for _, s := range from {
				for _, d := range to {
					if len(t.services) == 0 {
						add(out, fi, f, s, d, flow.Service{}, both)
					}
					for _, svc := range t.services {
						if svc.Proto.Fits(f.fam) {
							add(out, fi, f, s, d, svc, both)
						}
					}
				}
			}
		}
	}
	return out
}

// only returns the prefixes of one family; a list of the invalid prefix where
// any address will do, and false where none of the family's is meant.
func only(list []netip.Prefix, f family) ([]netip.Prefix, bool) {
	if len(list) == 0 {
		return []netip.Prefix{{}}, true
	}
	var out []netip.Prefix
	for _, p := range list {
		if p = clean(p); familyOf(p).fam != f.fam {
			continue
		}
		if p.Bits() == 0 {
			return []netip.Prefix{{}}, true
		}
		out = append(out, p)
	}
	return out, len(out) > 0
}

// clean masks a prefix and writes IPv4 in IPv6 as IPv4.
func clean(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

func add(out map[kind][]box, fi int, f family, s, d netip.Prefix, svc flow.Service, both bool) {
	k := kind{fam: fi, src: s.IsValid(), dst: d.IsValid()}
	single := (!k.src || s.IsSingleIP()) && (!k.dst || d.IsSingleIP())
	b := box{src: s, dst: d, proto: svc.Proto, lo: svc.Lo, hi: svc.Hi}
	switch {
	case svc.Proto == 0:
		k.part, b.lo, b.hi = byProto, 0, 255
	case svc == flow.All(svc.Proto):
		k.part, b.lo, b.hi = byProto, uint16(svc.Proto), uint16(svc.Proto)
	case svc.Proto.IsICMP():
		k.part = byType
	default:
		k.part = byPort
	}
	if k.part == byProto {
		b.proto = 0
	}
	if !k.src && !k.dst && k.part != byType && both && !(k.part == byProto && svc.Proto.IsICMP()) {
		if fi != 0 {
			return // written once for both families
		}
		k.fam = 2
	}
	if single && b.hi-b.lo < smallRange {
		k.exact = true
		for v := int(b.lo); v <= int(b.hi); v++ {
			e := b
			e.lo, e.hi = uint16(v), uint16(v)
			out[k] = append(out[k], e)
		}
		return
	}
	out[k] = append(out[k], b)
}
