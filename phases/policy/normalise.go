package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"weir/phases/flow"
)

// Normalise returns the same policy in its one order: prefixes masked, sorted
// and without those that another of the rule contains, services merged, rules
// that differ only in services joined, equal rules once.
func (p Policy) Normalise() Policy {
	at := map[string]int{}
	var out Policy
	for _, r := range p.Rules {
		r.Endpoints, r.To = tidy(r.Endpoints), tidy(r.To)
		r.Families = slices.Compact(slices.Sorted(slices.Values(r.Families)))
		if len(r.Families) == 2 {
			r.Families = nil
		}
		r.Services = flow.MergeServices(r.Services)
		key := fmt.Sprintf("%q %v %v %v %q %q %q %d", r.Group, r.Endpoints, r.To, r.Families, r.Reason, r.Name, r.Owner, expiry(r))
		if i, ok := at[key]; ok {
			o := &out.Rules[i]
			o.Services = flow.MergeServices(slices.Concat(o.Services, r.Services))
			continue
		}
		at[key] = len(out.Rules)
		out.Rules = append(out.Rules, r)
	}
	slices.SortFunc(out.Rules, compareRules)
	return out
}

func expiry(r Rule) int64 {
	if r.Expires.IsZero() {
		return 0
	}
	return r.Expires.UnixNano()
}

func compareRules(a, b Rule) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group),
		slices.CompareFunc(a.To, b.To, comparePrefixes),
		slices.CompareFunc(a.Endpoints, b.Endpoints, comparePrefixes),
		slices.CompareFunc(a.Services, b.Services, flow.CompareServices),
		slices.Compare(a.Families, b.Families),
		cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Owner, b.Owner),
		cmp.Compare(expiry(a), expiry(b)))
}

func tidy(in []netip.Prefix) []netip.Prefix {
	if len(in) == 0 {
		return nil
	}
	list := make([]netip.Prefix, 0, len(in))
	for _, p := range in {
		list = append(list, clean(p))
	}
	slices.SortFunc(list, comparePrefixes)
	out := list[:0]
	for _, p := range list {
		if n := len(out); n > 0 && out[n-1].Contains(p.Addr()) && out[n-1].Bits() <= p.Bits() {
			continue
		}
		out = append(out, p)
	}
	return out
}
