package infer

import (
	"weir/phases/policy/diagram"
	"weir/phases/policy/rules"
)

// Inspection is the rules that do nothing. Taking out all of them at once
// changes nothing. A rule reached by several jumps is listed where it does
// nothing in any of them.
type Inspection struct {
	Unmatched []rules.Rule // match no packet, even alone
	Shadowed  []rules.Rule // all their packets are decided by rules before
	Redundant []rules.Rule // without them, rules after decide the same
}

// Inspect finds the rules of a chain that do nothing.
func Inspect(rs rules.Ruleset, chain string) (Inspection, error) {
	a, err := analyse(rs, chain)
	if err != nil {
		return Inspection{}, err
	}
	return a.inspect()
}

func (a *analysis) inspect() (Inspection, error) {
	w := inspector{a: a, f: diagram.NewForest(0)}
	n := len(a.flat)
	for i, r := range a.flat {
		set, err := a.space.Build(w.f, []rules.FlatRule{r}, diagram.Allowed, a.families...)
		if err != nil {
			return Inspection{}, err
		}
		// inside the families only: what is Outside is decided before all rules
		set, err = w.f.Map(set, func(v uint32) uint32 {
			if v == diagram.Outside {
				return 0
			}
			return v
		})
		if err != nil {
			return Inspection{}, err
		}
		w.each = append(w.each, set)
		w.state = append(w.state, live)
		if set == diagram.None {
			w.state[i] = unmatched
		}
	}
	// A line that several jumps reach is several rules here: it stays if one of
	// them must, and then what the others do counts too.
	w.stays = map[place]bool{}
	for again := true; again; {
		if err := w.rest(0, n, diagram.None, diagram.None); err != nil {
			return Inspection{}, err
		}
		again = false
		for i, r := range a.flat {
			k := placeOf(r.Rule)
			if w.state[i] == live && !r.Default() && !w.stays[k] {
				w.stays[k] = true
				again = again || w.several(k)
			}
		}
	}
	worst := map[place]int{}
	var order []rules.Rule
	for i, r := range a.flat {
		if r.Default() {
			continue
		}
		k := placeOf(r.Rule)
		if old, ok := worst[k]; !ok {
			worst[k] = w.state[i]
			order = append(order, r.Rule)
		} else {
			worst[k] = max(old, w.state[i])
		}
	}
	var out Inspection
	for _, r := range order {
		switch worst[placeOf(r)] {
		case unmatched:
			out.Unmatched = append(out.Unmatched, r)
		case shadowed:
			out.Shadowed = append(out.Shadowed, r)
		case redundant:
			out.Redundant = append(out.Redundant, r)
		}
	}
	return out, nil
}

const (
	unmatched = iota
	shadowed
	redundant
	live
)

type inspector struct {
	a     *analysis
	f     *diagram.Forest
	each  []diagram.Node // each rule alone
	state []int
	stays map[place]bool // lines that do something
}

// place is where a rule is written.
type place struct {
	file string
	line int
	text string // two files may have one name
}

func placeOf(r rules.Rule) place { return place{r.File, r.Line, r.Text} }

// several says whether a line is several rules, of which some do nothing yet;
// all of those become live.
func (w *inspector) several(k place) bool {
	found := false
	for i, r := range w.a.flat {
		if s := w.state[i]; placeOf(r.Rule) == k && (s == shadowed || s == redundant) {
			w.state[i] = live
			found = true
		}
	}
	return found
}

// first returns the diagram of some rules, without those that do nothing.
func (w *inspector) first(lo, hi int, all bool) (diagram.Node, error) {
	if hi-lo == 1 {
		if !all && w.state[lo] != live {
			return diagram.None, nil
		}
		return w.each[lo], nil
	}
	mid := (lo + hi) / 2
	a, err := w.first(lo, mid, all)
	if err != nil {
		return 0, err
	}
	b, err := w.first(mid, hi, all)
	if err != nil {
		return 0, err
	}
	return w.f.First(a, b)
}

// rest judges the rules from lo to hi, the later ones first; before is what
// all earlier rules say, after what the later ones that matter say.
func (w *inspector) rest(lo, hi int, before, after diagram.Node) error {
	if hi-lo == 1 {
		i := lo
		if r := w.a.flat[i]; w.state[i] == unmatched || r.Default() || w.stays[placeOf(r.Rule)] { // a default cannot be taken out
			return nil
		}
		w.state[i] = live
		open, err := w.f.Without(w.each[i], before)
		if err != nil {
			return err
		}
		if open == diagram.None {
			w.state[i] = shadowed
			return nil
		}
		then, err := w.f.Within(after, open)
		if err != nil {
			return err
		}
		if then == open {
			w.state[i] = redundant
		}
		return nil
	}
	mid := (lo + hi) / 2
	left, err := w.first(lo, mid, true)
	if err != nil {
		return err
	}
	if left, err = w.f.First(before, left); err != nil {
		return err
	}
	if err := w.rest(mid, hi, left, after); err != nil {
		return err
	}
	right, err := w.first(mid, hi, false)
	if err != nil {
		return err
	}
	if right, err = w.f.First(right, after); err != nil {
		return err
	}
	return w.rest(lo, mid, before, right)
}
