package diagram

import (
	"net/netip"
	"slices"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

var anywhere4, anywhere6 = netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)

// spans returns the atoms of a match in each dimension; nil is all of them.
func (s *Space) spans(m rules.Match) [][]Span {
	out := make([][]Span, len(s.Dims))
	limit := func(k int, not bool, list []Span) {
		list = tidy(list)
		if not {
			list = invert(list, uint32(s.Dims[k].Atoms()))
		}
		if out[k] != nil {
			list = intersect(out[k], list)
		}
		out[k] = list
	}
	src, dst := m.Src, m.Dst
	if m.Family != "" {
		src = append(src[:len(src):len(src)], familyAddrs[m.Family]...)
	}
	for k, list := range map[Kind][]rules.Addrs{Src: src, Dst: dst} {
		for _, a := range list {
			var at []Span
			for _, r := range a.Ranges {
				at = append(at, Span{s.Dims[k].find(address(r.Lo)), s.Dims[k].find(address(r.Hi))})
			}
			limit(int(k), a.Not, at)
		}
	}
	for _, x := range m.Services {
		var at []Span
		for _, r := range x.Ranges {
			at = append(at, Span{s.Dims[Service].find(service(r.Lo)), s.Dims[Service].find(service(r.Hi))})
		}
		limit(int(Service), x.Not, at)
	}
	for _, x := range m.SrcPorts {
		var at []Span
		for _, r := range x.Ranges {
			at = append(at, Span{s.Dims[SrcPort].find(port(r.Lo)), s.Dims[SrcPort].find(port(r.Hi))})
		}
		limit(int(SrcPort), x.Not, at)
	}
	for k, list := range map[Kind][]rules.Interfaces{In: m.In, Out: m.Out} {
		for _, x := range list {
			var at []Span
			for _, n := range x.Names {
				at = append(at, s.Dims[k].named(n))
			}
			limit(int(k), x.Not, at)
		}
	}
	if m.States != 0 {
		var at []Span
		for i := range rules.StateNames {
			if m.States&(1<<i) != 0 {
				at = append(at, Span{uint32(i), uint32(i)})
			}
		}
		limit(int(State), false, at)
	}
	for _, t := range m.Tests {
		a := uint32(1)
		if t.Not {
			a = 0
		}
		limit(s.tests[t.Key()], false, []Span{{a, a}})
	}
	return out
}

func (d *Dim) named(n string) Span {
	p := names(n)
	if p == nil {
		return Span{0, uint32(d.Atoms() - 1)}
	}
	return Span{d.find(p[0]), d.find(p[1]) - 1}
}

// tidy sorts spans and joins those that touch. It never returns nil.
func tidy(list []Span) []Span {
	slices.SortFunc(list, func(a, b Span) int { return int(a.Lo) - int(b.Lo) })
	out := make([]Span, 0, len(list))
	for _, x := range list {
		if n := len(out); n > 0 && x.Lo <= out[n-1].Hi+1 {
			out[n-1].Hi = max(out[n-1].Hi, x.Hi)
			continue
		}
		out = append(out, x)
	}
	return out
}

func invert(list []Span, atoms uint32) []Span {
	out, at := []Span{}, uint32(0)
	for _, x := range list {
		if x.Lo > at {
			out = append(out, Span{at, x.Lo - 1})
		}
		at = x.Hi + 1
	}
	if at < atoms {
		out = append(out, Span{at, atoms - 1})
	}
	return out
}

func intersect(a, b []Span) []Span {
	out := []Span{}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		if lo, hi := max(a[i].Lo, b[j].Lo), min(a[i].Hi, b[j].Hi); lo <= hi {
			out = append(out, Span{lo, hi})
		}
		if a[i].Hi < b[j].Hi {
			i++
		} else {
			j++
		}
	}
	return out
}

// Family returns the atoms of addresses of one family.
func (s *Space) Family(k Kind, f flow.Family) Span {
	at := s.Dims[k].find(six)
	if f == flow.IPv4 {
		return Span{0, at - 1}
	}
	return Span{at, uint32(s.Dims[k].Atoms() - 1)}
}

// Atoms returns the atoms of a match in one dimension.
func (s *Space) Atoms(m rules.Match, dim int) []Span {
	if list := s.spans(m)[dim]; list != nil {
		return list
	}
	return []Span{{0, uint32(s.Dims[dim].Atoms() - 1)}}
}
