package phases

import (
	"fmt"
	"reflect"
	"slices"

	"weir/phases/compile"
	"weir/phases/policy"
)

// Narrower lists the groups of "to" that may be denied something that passes
// under "from". It errs to the side of listing: where inclusion cannot be seen
// from the two inputs, the group is listed, and a rollback puts it in alert.
func Narrower(from, to compile.Input) []string {
	if to.Off {
		return nil
	}
	place := sameDispatch(from, to)
	var out []string
	for _, t := range to.Groups {
		if !t.Treatment.Denies() {
			continue
		}
		i := slices.IndexFunc(from.Groups, func(g compile.Group) bool { return g.Name == t.Name })
		if i < 0 || !place {
			out = append(out, t.Name)
			continue
		}
		f := from.Groups[i]
		a := Target{Treatment: t.Treatment, Share: t.Share, Prefixes: t.Prefixes}
		b := Target{Treatment: f.Treatment, Share: f.Share, Prefixes: f.Prefixes}
		if narrower(a, b) || denies(from, to, t.Name) || t.Share != 0 && f.Share != 0 && (t.ShareBy != f.ShareBy || t.Seed != f.Seed) || !covers(to.Policy, from.Policy, t.Name) {
			out = append(out, t.Name)
		}
	}
	return out
}

// denies says whether "to" has a never for the group that "from" has not.
func denies(from, to compile.Input, group string) bool {
	return slices.ContainsFunc(to.Never, func(n compile.Never) bool {
		return (n.Group == "" || n.Group == group) &&
			!slices.ContainsFunc(from.Never, func(o compile.Never) bool { return reflect.DeepEqual(n, o) })
	})
}

// sameDispatch says whether every endpoint is judged in the same group, and
// what passes before the groups passes in "to" as well.
func sameDispatch(from, to compile.Input) bool {
	if !reflect.DeepEqual(from.Scope, to.Scope) || !reflect.DeepEqual(from.Links, to.Links) || len(from.Groups) != len(to.Groups) {
		return false
	}
	for _, l := range from.Lifelines {
		if !slices.ContainsFunc(to.Lifelines, func(o compile.Lifeline) bool { return reflect.DeepEqual(l, o) }) {
			return false
		}
	}
	for i, g := range from.Groups {
		o := to.Groups[i]
		if g.Name != o.Name || !slices.Equal(g.Members, o.Members) || !slices.Equal(g.MACs, o.MACs) || !slices.Equal(g.Ifaces, o.Ifaces) ||
			g.Self != o.Self || !slices.Equal(g.UIDs, o.UIDs) || !slices.Equal(g.Families, o.Families) {
			return false
		}
	}
	return true
}

// diffRules is how many rules of a group are compared as sets of packets; of
// more, each rule must be there as it is.
const diffRules = 2000

// covers says whether every flow that "small" allows a group is allowed in
// "big", too.
func covers(big, small policy.Policy, group string) bool {
	have, n := map[string]bool{}, 0
	for _, r := range big.Rules {
		if r.Group == group {
			have[ruleKey(r)] = true
			n++
		}
	}
	same := true
	for _, r := range small.Rules {
		if r.Group == group {
			same = same && have[ruleKey(r)]
			n++
		}
	}
	if same || n > diffRules {
		return same
	}
	return policy.Within(small, big, group)
}

// ruleKey is a text of what a rule allows.
func ruleKey(r policy.Rule) string {
	return fmt.Sprint(r.Group, r.Endpoints, r.To, r.Services, r.Families)
}
