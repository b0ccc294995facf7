package rules

import "fmt"

// FlatRule is a rule of a first-match list without jumps: a packet that has
// Match, and none of Except (the rules that returned before this one was
// reached), gets Action.
type FlatRule struct {
	Match  Match
	Except *Except // nil is none
	Action Action  // Accept, Drop or Reject
	Rule   Rule    // it came from; the zero value for the chain's default
	Path   []Rule  // the jumps that led to it
}

// Except is a list of matches, the last one first, so that later rules share
// the list of earlier ones.
type Except struct {
	Match  Match
	Before *Except
}

// Matches says whether one of the list matches a packet.
func (e *Except) Matches(p Packet) bool {
	for ; e != nil; e = e.Before {
		if e.Match.Matches(p) {
			return true
		}
	}
	return false
}

// Applies says whether the rule is for a packet, were it the first.
func (f FlatRule) Applies(p Packet) bool { return f.Match.Matches(p) && !f.Except.Matches(p) }

// Default says whether this is the chain's default.
func (f FlatRule) Default() bool { return f.Rule.Action == "" }

// Flatten makes one first-match list of a hooked chain and all it jumps to.
// Its last rule is the chain's default and matches everything. It returns an
// error for a chain that is missing or a loop of jumps.
func Flatten(rs Ruleset, chain string) ([]FlatRule, error) {
	c := rs.Chain(chain)
	if c == nil || !c.Default.Final() {
		return nil, fmt.Errorf("cannot flatten chain %q: no such hooked chain; there are %v", chain, Hooked(rs))
	}
	f := flattener{rs: rs}
	if err := f.chain(c, FlatRule{}); err != nil {
		return nil, err
	}
	return append(f.out, FlatRule{Action: c.Default}), nil
}

type flattener struct {
	rs  Ruleset
	out []FlatRule
}

// chain appends the rules of c as they apply to packets of the context.
func (f *flattener) chain(c *Chain, ctx FlatRule) error {
	if len(ctx.Path) > len(f.rs.Chains) {
		return fmt.Errorf("cannot flatten: chain %s jumps to itself, by %s", c.Name, ctx.Path[len(ctx.Path)-1].Where())
	}
	for _, r := range c.Rules {
		m := ctx.Match.And(r.Match)
		switch r.Action {
		case Accept, Drop, Reject:
			f.out = append(f.out, FlatRule{m, ctx.Except, r.Action, r, ctx.Path})
		case Return:
			ctx.Except = &Except{m, ctx.Except}
		case Jump, Goto:
			to := f.rs.Chain(r.Target)
			if to == nil {
				return fmt.Errorf("cannot flatten: %s jumps to %q, which does not exist", r.Where(), r.Target)
			}
			if err := f.chain(to, FlatRule{Match: m, Except: ctx.Except, Path: join(ctx.Path, []Rule{r})}); err != nil {
				return err
			}
			if r.Action == Goto { // the end of the target is the end of this chain
				ctx.Except = &Except{m, ctx.Except}
			}
		case Continue:
		default:
			return fmt.Errorf("cannot flatten: %s has the action %q", r.Where(), r.Action)
		}
	}
	return nil
}
