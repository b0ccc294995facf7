package infer

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/diagram"
	"weir/phases/policy/rules"
)

// Result is what a chain amounts to.
type Result struct {
	Chain   string
	Policy  Policy         // no rules where even their number would be above the input's complexity, or memory was too little: see Kept
	Before  int            // complexity of the input; see Policy.Complexity
	After   int            // complexity of the policy, or of Kept
	Bound   int            // no policy of boxes for this chain has fewer rules
	Minimal bool           // Bound rules are enough: these are as few as can be
	Kept    *rules.Ruleset // where a policy would be more complex than the input: the input without the rules that do nothing; else nil
	Classes map[string]int // number of classes of each dimension that has more than one: "src", "dst", "service" …
	Dead    Inspection     // rules of the input that do nothing
	Notes   []rules.Note   // of the reader
}

// Infer returns what a hooked chain allows, or, where its default is to
// accept (by its policy or by a last rule for all), what it denies. The result is proven to be the same function of
// packets; an error says that it is not, or that a chain is missing, loops or
// is too large.
func Infer(rs rules.Ruleset, chain string) (Result, error) {
	a, err := analyse(rs, chain)
	if err != nil {
		return Result{}, err
	}
	res := Result{Chain: chain, Before: ComplexityOf(rs, chain), Notes: rs.Notes, Classes: map[string]int{}}
	res.Policy.Families = a.families
	values := a.f.Values(a.root)
	some := func(v uint32) bool { return slices.Contains(values, v) }
	res.Policy.Denies = a.otherwise() == rules.Accept && some(diagram.Accepted) && some(diagram.Dropped)
	want := diagram.Accepted
	if res.Policy.Denies {
		want = diagram.Dropped
	}
	regions, err := a.regions(a.root, want)
	if err != nil {
		return Result{}, err
	}
	if res.Dead, err = a.inspect(); err != nil {
		return Result{}, err
	}
	for _, r := range regions {
		matches, bound, err := a.boxes(r.set, res.Classes, res.Before)
		if errors.Is(err, errTooMany) || errors.Is(err, diagram.ErrTooLarge) {
			res.Policy.Rules, res.Bound = nil, 0
			return a.keeps(res), nil
		}
		if err != nil {
			return Result{}, err
		}
		res.Bound += bound
		for _, cube := range r.cubes {
			for _, m := range matches {
				res.Policy.Rules = append(res.Policy.Rules, Rule{Match: m, If: cube})
			}
		}
	}
	res.Minimal = len(res.Policy.Rules) == res.Bound
	if err := a.proves(res.Policy); err != nil {
		return Result{}, err
	}
	if err := a.origins(&res.Policy); err != nil {
		return Result{}, err
	}
	res.Policy.name()
	if res.After = res.Policy.Complexity(); res.After > res.Before {
		return a.keeps(res), nil
	}
	return res, nil
}

// keeps returns the result with the input itself, less what does nothing.
func (a *analysis) keeps(res Result) Result {
	res.Kept = a.kept(res.Dead)
	res.After = ComplexityOf(*res.Kept, a.chain)
	return res
}

// analysis is a chain as a diagram.
type analysis struct {
	rs       rules.Ruleset
	chain    string
	flat     []rules.FlatRule
	families []flow.Family
	space    *diagram.Space
	f        *diagram.Forest
	root     diagram.Node // Accepted, Dropped or Outside
}

// analyse builds a chain's diagram, in a space that also has the cuts of
// questions about it.
func analyse(rs rules.Ruleset, chain string, questions ...rules.Match) (*analysis, error) {
	a := &analysis{rs: rs, chain: chain, families: families(rs)}
	var err error
	if a.flat, err = rules.Flatten(rs, chain); err != nil {
		return nil, err
	}
	var cuts []rules.FlatRule
	for _, q := range questions {
		cuts = append(cuts, rules.FlatRule{Match: q})
	}
	a.space, a.f = diagram.NewSpace(a.flat, cuts), diagram.NewForest(0)
	a.root, err = a.space.Build(a.f, a.flat, diagram.Allowed, a.families...)
	return a, err
}

// otherwise is what happens to packets that no rule names: the action of the
// first rule that matches everything. Where the families differ in it, it is
// Drop.
func (a *analysis) otherwise() rules.Action {
	actions := map[rules.Action]bool{}
	for _, fam := range a.families {
		for _, r := range a.flat {
			m := r.Match
			if m.Family == fam {
				m.Family = ""
			}
			if r.Except == nil && matchItems(m) == 0 {
				actions[r.Action] = true
				break
			}
		}
	}
	if len(actions) == 1 && actions[rules.Accept] {
		return rules.Accept
	}
	return rules.Drop
}

func families(rs rules.Ruleset) (out []flow.Family) {
	for _, f := range []flow.Family{flow.IPv4, flow.IPv6} {
		if rs.Judges(f) {
			out = append(out, f)
		}
	}
	return out
}

// region is packets with the same outcome: under each of the cubes they are
// what is wanted. One empty cube is always.
type region struct {
	set   diagram.Node
	cubes [][]rules.Test
}

// regions splits what is wanted of a diagram by the condition under which it is
// so. What is certain comes first.
func (a *analysis) regions(root diagram.Node, want uint32) ([]region, error) {
	const certain, undecided = 1, 16
	var conditions []diagram.Node
	number := map[diagram.Node]uint32{}
	cut, err := a.f.Cut(root, a.space.FirstTest(), func(n diagram.Node) uint32 {
		if v, leaf := n.Value(); leaf {
			if v == want {
				return certain
			}
			return 0
		}
		i, ok := number[n]
		if !ok {
			i = undecided + uint32(len(conditions))
			number[n] = i
			conditions = append(conditions, n)
		}
		return i
	})
	if err != nil {
		return nil, err
	}
	pick := func(v uint32) (diagram.Node, error) {
		return a.f.Map(cut, func(x uint32) uint32 {
			if x == v {
				return 1
			}
			return 0
		})
	}
	set, err := pick(certain)
	if err != nil {
		return nil, err
	}
	out := []region{{set, [][]rules.Test{nil}}}
	for i, n := range conditions {
		if set, err = pick(undecided + uint32(i)); err != nil {
			return nil, err
		}
		out = append(out, region{set, a.cubes(n, want)})
	}
	return out, nil
}

// boxes covers a set with matches, of both families where they agree.
// limit is the number of them above which it gives up; 0 is none.
func (a *analysis) boxes(set diagram.Node, classes map[string]int, limit int) ([]rules.Match, int, error) {
	var parts [][]rules.Match
	bound := 0
	for _, fam := range a.families {
		g, err := newGrid(a.space, a.f, set, fam)
		if err != nil {
			return nil, 0, err
		}
		for d, n := range g.atoms {
			if k := a.space.Dims[d].Kind.String(); n > 1 && classes != nil {
				classes[k] = max(classes[k], n)
			}
		}
		list, least, err := g.cover(limit)
		if err != nil {
			return nil, 0, err
		}
		bound = max(bound, least)
		matches, err := g.cut(list)
		if err != nil {
			return nil, 0, err
		}
		parts = append(parts, matches)
	}
	if len(parts) == 2 {
		return pair(parts[0], parts[1]), bound, nil
	}
	return parts[0], bound, nil
}

// proves builds the policy again and compares it with the input.
func (a *analysis) proves(p Policy) error {
	flat, err := rules.Flatten(p.Ruleset("policy", "forward"), "policy")
	if err != nil {
		return err
	}
	n, err := a.space.Build(a.f, flat, diagram.Allowed, a.families...)
	if err != nil {
		return err
	}
	if n != a.root {
		return fmt.Errorf("cannot infer from chain %s: the policy found is not the same; this is a mistake in weir, please report it with the ruleset", a.chain)
	}
	return nil
}

// origins notes for each rule which rules of the input decide its packets.
func (a *analysis) origins(p *Policy) error {
	who, err := a.space.Build(a.f, a.flat, diagram.Ordinal, a.families...)
	if err != nil {
		return err
	}
	for i := range p.Rules {
		if p.Rules[i].From, err = a.deciders(who, p.Rules[i].whole()); err != nil {
			return err
		}
	}
	return nil
}

// kept returns the input without the rules that do nothing.
func (a *analysis) kept(dead Inspection) *rules.Ruleset {
	less := rules.Ruleset{Families: a.rs.Families}
	gone := func(r rules.Rule) bool {
		for _, list := range [][]rules.Rule{dead.Unmatched, dead.Shadowed, dead.Redundant} {
			for _, x := range list {
				if placeOf(x) == placeOf(r) {
					return true
				}
			}
		}
		return r.Action == rules.Continue
	}
	reached := map[string]bool{a.chain: true}
	for _, r := range a.flat {
		for _, j := range r.Path {
			reached[j.Target] = true
		}
	}
	for _, c := range a.rs.Chains {
		if reached[c.Name] {
			x := *c
			x.Rules = slices.DeleteFunc(slices.Clone(c.Rules), gone)
			less.Chains = append(less.Chains, &x)
		}
	}
	return &less
}

// Text writes the result for a person.
func (r Result) Text(w io.Writer) error {
	var b strings.Builder
	if r.Kept != nil {
		fmt.Fprintf(&b, "No policy is simpler than the rules themselves. Those that matter, in order:\n")
		for _, c := range r.Kept.Chains {
			for _, x := range c.Rules {
				fmt.Fprintf(&b, "    %s  %s\n", x.Where(), x.Text)
			}
		}
	} else if err := r.Policy.Text(&b); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\ncomplexity %d before, %d after", r.Before, r.After)
	if len(r.Policy.Rules) > 0 {
		fmt.Fprintf(&b, "; %d rules", len(r.Policy.Rules))
	}
	switch {
	case r.Kept != nil && len(r.Policy.Rules) == 0:
	case r.Kept != nil:
		b.WriteString(" would be needed without priorities")
	case r.Minimal:
		b.WriteString(", proven to be the fewest")
	default:
		fmt.Fprintf(&b, ", at least %d are needed", r.Bound)
	}
	b.WriteString("\n")
	for _, x := range []struct {
		what string
		list []rules.Rule
	}{{"never matched, whatever comes before", r.Dead.Unmatched}, {"shadowed by rules before", r.Dead.Shadowed}, {"redundant", r.Dead.Redundant}} {
		for _, y := range x.list {
			fmt.Fprintf(&b, "%s: %s  %s\n", x.what, y.Where(), y.Text)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
