package phases

import (
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
		if narrower(a, b) || t.Share != 0 && (t.ShareBy != f.ShareBy || t.Seed != f.Seed) || !covers(to.Policy, from.Policy, t.Name) {
			out = append(out, t.Name)
		}
	}
	return out
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
	for _, n := range to.Never {
		if !slices.ContainsFunc(from.Never, func(o compile.Never) bool { return reflect.DeepEqual(n, o) }) {
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

// covers says whether every rule of a group in "small" is in "big".
func covers(big, small policy.Policy, group string) bool {
	plain := func(r policy.Rule) policy.Rule {
		return policy.Rule{Group: r.Group, Endpoints: r.Endpoints, To: r.To, Services: r.Services, Families: r.Families}
	}
	for _, r := range small.Rules {
		if r.Group == group && !slices.ContainsFunc(big.Rules, func(o policy.Rule) bool { return reflect.DeepEqual(plain(r), plain(o)) }) {
			return false
		}
	}
	return true
}
