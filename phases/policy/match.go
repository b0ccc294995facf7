package policy

import (
	"net/netip"
	"slices"
	"time"

	"weir/phases/flow"
)

// Allows says whether the policy allows a flow whose client is in the group,
// and by which rule: the first that matches. Many flows are better asked of an
// Index.
func Allows(p Policy, group string, f flow.Flow) (Rule, bool) {
	for _, r := range p.Rules {
		if r.Group == group && r.Matches(f) {
			return r, true
		}
	}
	return Rule{}, false
}

// Matches says whether the rule allows the flow, its group left aside.
func (r Rule) Matches(f flow.Flow) bool {
	fam := f.Family()
	if len(r.Families) > 0 && !slices.Contains(r.Families, fam) || !f.Proto.Fits(fam) {
		return false
	}
	return holds(r.Endpoints, f.Client) && holds(r.To, f.Server) &&
		slices.ContainsFunc(r.Services, func(s flow.Service) bool { return s.Contains(f.Service()) })
}

// holds says whether a is in one of the prefixes; every address is in none.
func holds(list []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap()
	return len(list) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool { return clean(p).Contains(a) })
}

// clean masks a prefix and writes IPv4 in IPv6 as IPv4.
func clean(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// At returns the policy without the rules that have expired.
func (p Policy) At(now time.Time) Policy {
	var out Policy
	for _, r := range p.Rules {
		if r.Expires.IsZero() || now.Before(r.Expires) {
			out.Rules = append(out.Rules, r)
		}
	}
	return out
}

// Index answers Allows in a time that does not depend on the number of rules,
// only on how many lengths of prefixes they have. It may be used by several
// goroutines at once.
type Index struct {
	rules   []Rule
	entries map[indexKey][]indexEntry
	shapes  map[shapeKey][]shape
}

type indexKey struct {
	group    string
	src, dst netip.Prefix
}

type indexEntry struct {
	svc  flow.Service
	rule int
}

type shapeKey struct {
	group string
	fam   flow.Family
}

// shape is a pair of prefix lengths that rules of a group have.
type shape struct{ src, dst int }

// NewIndex prepares a policy for many questions.
func NewIndex(p Policy) *Index {
	x := &Index{rules: p.Rules, entries: map[indexKey][]indexEntry{}, shapes: map[shapeKey][]shape{}}
	for i, r := range p.Rules {
		eachBox(r, func(b Box) {
			k := indexKey{r.Group, b.Client, b.Server}
			if _, ok := x.entries[k]; !ok {
				sk, s := shapeKey{r.Group, b.Family}, shape{b.Client.Bits(), b.Server.Bits()}
				if !slices.Contains(x.shapes[sk], s) {
					x.shapes[sk] = append(x.shapes[sk], s)
				}
			}
			x.entries[k] = append(x.entries[k], indexEntry{b.Service, i})
		})
	}
	return x
}

// Allows is as the function Allows.
func (x *Index) Allows(group string, f flow.Flow) (Rule, bool) {
	best, svc := -1, f.Service()
	client, server := f.Client.Unmap(), f.Server.Unmap()
	if client.Is4() != server.Is4() {
		return Rule{}, false
	}
	for _, s := range x.shapes[shapeKey{group, f.Family()}] {
		src, _ := client.Prefix(s.src)
		dst, _ := server.Prefix(s.dst)
		for _, e := range x.entries[indexKey{group, src, dst}] {
			if (best < 0 || e.rule < best) && e.svc.Contains(svc) {
				best = e.rule
			}
		}
	}
	if best < 0 {
		return Rule{}, false
	}
	return x.rules[best], true
}
