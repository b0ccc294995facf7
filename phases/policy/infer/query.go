package infer

import (
	"fmt"
	"io"
	"strings"

	"weir/phases/policy/diagram"
	"weir/phases/policy/rules"
)

// Answer says which packets of a question are allowed.
type Answer struct {
	All, None    bool              // all of the question's packets are allowed, or none; both are false for some
	Minimal      bool              // Parts are as few as can be
	Parts        []Part            // those allowed, as boxes; ByA are the rules that say so
	Sources      []rules.AddrRange // of those allowed; what is undecided counts
	Destinations []rules.AddrRange
	Denied       *rules.Packet // one that is denied, or nil
	DeniedBy     []rules.Rule  // rules that deny some; the default is not listed
}

// Query asks which packets of a match a hooked chain allows.
func Query(rs rules.Ruleset, chain string, q rules.Match) (Answer, error) {
	a, err := analyse(rs, chain, q)
	if err != nil {
		return Answer{}, err
	}
	ask, err := a.space.Set(a.f, q)
	if err != nil {
		return Answer{}, fmt.Errorf("%w; ask of tests that the rules have", err)
	}
	of := func(want uint32) (diagram.Node, error) {
		n, err := a.f.Map(a.root, func(v uint32) uint32 {
			if v == want {
				return 1
			}
			return 0
		})
		if err != nil {
			return 0, err
		}
		return a.f.Within(n, ask)
	}
	yes, err := of(diagram.Accepted)
	if err != nil {
		return Answer{}, err
	}
	no, err := of(diagram.Dropped)
	if err != nil {
		return Answer{}, err
	}
	who, err := a.space.Build(a.f, a.flat, diagram.Ordinal, a.families...)
	if err != nil {
		return Answer{}, err
	}
	ans := Answer{All: no == diagram.None, None: yes == diagram.None}
	h := hostsOf(a.flat, []rules.FlatRule{{Match: q}})
	var bound int
	if ans.Parts, bound, err = a.parts(yes, nil); err != nil {
		return Answer{}, err
	}
	ans.Minimal = len(ans.Parts) == bound
	for i := range ans.Parts {
		p := &ans.Parts[i]
		m := p.whole()
		var ok bool
		if p.Example, ok = h.example(m, a.families); !ok {
			return Answer{}, fmt.Errorf("cannot answer: found no example packet of %s; this is a mistake in weir, please report it with the ruleset", p.Rule)
		}
		if p.ByA, err = a.deciders(who, m); err != nil {
			return Answer{}, err
		}
	}
	denied, _, err := a.parts(no, nil)
	if err != nil {
		return Answer{}, err
	}
	for _, p := range denied {
		if x, ok := h.example(p.whole(), a.families); ok && ans.Denied == nil {
			ans.Denied = &x
		}
		by, err := a.deciders(who, p.whole())
		if err != nil {
			return Answer{}, err
		}
		ans.DeniedBy = append(ans.DeniedBy, by...)
	}
	ans.DeniedBy = distinct(ans.DeniedBy)
	if ans.Sources, err = a.side(yes, diagram.Src); err != nil {
		return Answer{}, err
	}
	ans.Destinations, err = a.side(yes, diagram.Dst)
	return ans, err
}

func distinct(list []rules.Rule) (out []rules.Rule) {
	seen := map[place]bool{}
	for _, r := range list {
		if k := placeOf(r); !seen[k] {
			seen[k] = true
			out = append(out, r)
		}
	}
	return out
}

// side returns the addresses of a set on one side.
func (a *analysis) side(set diagram.Node, k diagram.Kind) (out []rules.AddrRange, err error) {
	n, err := a.f.Exists(set, func(d int) bool { return d != int(k) })
	if err != nil {
		return nil, err
	}
	at := make(diagram.Point, len(a.space.Dims))
	for i := range a.space.Dims[k].Atoms() {
		at[k] = uint32(i)
		if a.f.At(n, at) == 0 {
			continue
		}
		r := a.space.Addrs(k, uint32(i))
		if n := len(out); n > 0 && out[n-1].Hi.Next() == r.Lo {
			out[n-1].Hi = r.Hi
			continue
		}
		out = append(out, r)
	}
	return out, nil
}

// Text writes the answer.
func (a Answer) Text(w io.Writer) error {
	var b strings.Builder
	switch {
	case a.None:
		b.WriteString("no: all of it is denied\n")
	case a.All:
		b.WriteString("yes: all of it is allowed\n")
	default:
		b.WriteString("in part; allowed is\n")
	}
	for _, p := range a.Parts {
		for _, l := range p.Lines() {
			fmt.Fprintf(&b, "    %s\n", l)
		}
		for _, r := range p.ByA {
			fmt.Fprintf(&b, "      by %s  %s\n", r.Where(), r.Text)
		}
		if len(p.ByA) == 0 {
			b.WriteString("      by the chain's default\n")
		}
	}
	if a.Denied != nil {
		fmt.Fprintf(&b, "denied is such as %s\n", *a.Denied)
		for _, r := range a.DeniedBy {
			fmt.Fprintf(&b, "      by %s  %s\n", r.Where(), r.Text)
		}
		if len(a.DeniedBy) == 0 {
			b.WriteString("      by the chain's default\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
