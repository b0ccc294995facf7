package nft

import (
	"fmt"
	"reflect"
	"slices"
)

// Merge joins rulesets of one table to one, in order: a skeleton and the
// revision upon it become the text of the whole. What stands in several
// equally is kept once; a set or chain of the same name and another content is
// an error.
func Merge(parts ...Ruleset) (Ruleset, error) {
	var out Ruleset
	sets, chains := map[string]*Set{}, map[string]*Chain{}
	for _, r := range parts {
		if out.Table == "" {
			out.Family, out.Table = r.Family, r.Table
		}
		if r.Table != "" && (r.Family != out.Family || r.Table != out.Table) {
			return Ruleset{}, fmt.Errorf("cannot merge table %s %s with table %s %s", out.Family, out.Table, r.Family, r.Table)
		}
		for _, c := range r.Counters {
			if !slices.Contains(out.Counters, c) {
				out.Counters = append(out.Counters, c)
			}
		}
		for i := range r.Sets {
			s := &r.Sets[i]
			if old := sets[s.Name]; old == nil {
				sets[s.Name] = s
				out.Sets = append(out.Sets, *s)
			} else if !reflect.DeepEqual(old, s) {
				return Ruleset{}, fmt.Errorf("cannot merge: set %s has two contents", s.Name)
			}
		}
		for i := range r.Chains {
			c := &r.Chains[i]
			if old := chains[c.Name]; old == nil {
				chains[c.Name] = c
				out.Chains = append(out.Chains, *c)
			} else if !reflect.DeepEqual(old, c) {
				return Ruleset{}, fmt.Errorf("cannot merge: chain %s has two contents", c.Name)
			}
		}
	}
	return out, nil
}
