package infer

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"weir/phases/policy/diagram"
	"weir/phases/policy/rules"
)

// Part is a box of packets with an example.
type Part struct {
	Rule                 // the box; From is not set
	Example rules.Packet // one of its packets
	ByA     []rules.Rule // the rules of the first ruleset that decide its packets; the default is not listed
	ByB     []rules.Rule // of the second
}

// Difference is what only one of two rulesets allows: exact, in few boxes, none
// contained in another.
type Difference struct {
	OnlyA, OnlyB []Part
}

// Equal says whether there is no difference.
func (d Difference) Equal() bool { return len(d.OnlyA)+len(d.OnlyB) == 0 }

// Compare compares what two rulesets do in a hooked chain each, for the
// families that both judge. Drop and reject are the same.
func Compare(a, b rules.Ruleset, chainA, chainB string) (Difference, error) {
	flatA, err := rules.Flatten(a, chainA)
	if err != nil {
		return Difference{}, err
	}
	flatB, err := rules.Flatten(b, chainB)
	if err != nil {
		return Difference{}, err
	}
	c := comparison{hosts: hostsOf(flatA, flatB), a: analysis{rs: a, chain: chainA, flat: flatA}, b: analysis{rs: b, chain: chainB, flat: flatB}}
	for _, f := range families(a) {
		if b.Judges(f) {
			c.a.families = append(c.a.families, f)
		}
	}
	if len(c.a.families) == 0 {
		return Difference{}, fmt.Errorf("cannot compare: one ruleset judges %v alone, the other %v", families(a), families(b))
	}
	c.a.space, c.a.f = diagram.NewSpace(flatA, flatB), diagram.NewForest(0)
	c.b.space, c.b.f, c.b.families = c.a.space, c.a.f, c.a.families
	for _, x := range []*analysis{&c.a, &c.b} {
		if x.root, err = x.space.Build(x.f, x.flat, diagram.Allowed, x.families...); err != nil {
			return Difference{}, err
		}
	}
	if c.a.root == c.b.root {
		return Difference{}, nil
	}
	both, err := c.a.f.Pair(c.a.root, c.b.root)
	if err != nil {
		return Difference{}, err
	}
	var d Difference
	if d.OnlyA, err = c.only(both, diagram.Accepted<<4|diagram.Dropped); err != nil {
		return Difference{}, err
	}
	d.OnlyB, err = c.only(both, diagram.Dropped<<4|diagram.Accepted)
	return d, err
}

type comparison struct {
	hosts hosts
	a, b  analysis
	who   [2]diagram.Node // who decides; None until asked for
}

func (c *comparison) only(both diagram.Node, want uint32) ([]Part, error) {
	set, err := c.a.f.Map(both, func(v uint32) uint32 {
		if v == want {
			return 1
		}
		return 0
	})
	if err != nil || set == diagram.None {
		return nil, err
	}
	list, _, err := c.a.parts(set, &c.b)
	if err != nil {
		return nil, err
	}
	for i := range list {
		p := &list[i]
		m := p.whole()
		var ok bool
		if p.Example, ok = c.hosts.example(m, c.a.families); !ok {
			return nil, fmt.Errorf("cannot compare: found no example packet of %s; this is a mistake in weir, please report it with the rulesets", p.Rule)
		}
		for k, x := range []*analysis{&c.a, &c.b} {
			if c.who[k] == 0 {
				if c.who[k], err = x.space.Build(x.f, x.flat, diagram.Ordinal, x.families...); err != nil {
					return nil, err
				}
			}
			from, err := x.deciders(c.who[k], m)
			if err != nil {
				return nil, err
			}
			if k == 0 {
				p.ByA = from
			} else {
				p.ByB = from
			}
		}
	}
	return list, nil
}

// whole is the match with what must hold besides.
func (r Rule) whole() rules.Match {
	m := r.Match
	m.Tests = slices.Concat(m.Tests, r.If)
	return m
}

// parts covers a set (value 1) with boxes, and says below which number there
// can be none; tests may be of another analysis' rules too.
func (a *analysis) parts(set diagram.Node, other *analysis) (out []Part, bound int, err error) {
	x := *a
	if other != nil {
		x.flat = slices.Concat(a.flat, other.flat)
	}
	regions, err := x.regions(set, 1)
	if err != nil {
		return nil, 0, err
	}
	for _, r := range regions {
		if r.set == diagram.None {
			continue
		}
		matches, least, err := x.boxes(r.set, nil, 0)
		if err != nil {
			return nil, 0, err
		}
		bound += least
		for _, cube := range r.cubes {
			for _, m := range matches {
				out = append(out, Part{Rule: Rule{Match: m, If: cube}})
			}
		}
	}
	return out, bound, nil
}

// deciders returns the rules that decide packets of a match, by a diagram of
// ordinals.
func (a *analysis) deciders(who diagram.Node, m rules.Match) (out []rules.Rule, err error) {
	set, err := a.space.Set(a.f, m)
	if err == nil {
		set, err = a.f.Within(who, set)
	}
	if err != nil {
		return nil, err
	}
	for _, v := range a.f.Values(set) {
		if v < 16 {
			continue
		}
		r := a.flat[v-16].Rule
		known := func(x rules.Rule) bool { return placeOf(x) == placeOf(r) }
		if r.Action != "" && !slices.ContainsFunc(out, known) {
			out = append(out, r)
		}
	}
	return out, nil
}

// Text writes the difference; a and b are the rulesets' names.
func (d Difference) Text(w io.Writer, a, b string) error {
	var s strings.Builder
	for _, x := range []struct {
		name string
		list []Part
	}{{a, d.OnlyA}, {b, d.OnlyB}} {
		if len(x.list) == 0 {
			continue
		}
		fmt.Fprintf(&s, "Only %s allows:\n", x.name)
		for i, p := range x.list {
			for j, l := range p.Lines() {
				fmt.Fprintf(&s, "%-4s%s\n", map[bool]string{true: letter(i) + "."}[j == 0], l)
			}
			fmt.Fprintf(&s, "      such as %s\n", p.Example)
			for _, y := range []struct {
				name string
				list []rules.Rule
			}{{a, p.ByA}, {b, p.ByB}} {
				for n, r := range y.list {
					if n == 3 {
						fmt.Fprintf(&s, "      and %d more rules of %s\n", len(y.list)-n, y.name)
						break
					}
					fmt.Fprintf(&s, "      by %s  %s\n", r.Where(), r.Text)
				}
			}
		}
	}
	if d.Equal() {
		fmt.Fprintf(&s, "%s and %s allow the same packets.\n", a, b)
	}
	_, err := io.WriteString(w, s.String())
	return err
}
