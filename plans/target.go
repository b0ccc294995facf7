package plans

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/phases/flow"
)

// target reads a list of addresses, prefixes, groups and the words any,
// inside, outside and self.
func (d *decoder) target(n *node) Target {
	var t Target
	for _, v := range items(n, text) {
		switch s := v.text; {
		case s == "any":
			t.Any = true
		case s == "inside":
			t.Inside = true
		case s == "outside":
			t.Outside = true
		case s == "self":
			t.Self = true
		case s == Unassigned || d.groups[s] != nil:
			t.Groups = append(t.Groups, s)
		case startsLikeAddress(s):
			p, f := parsePrefix(s)
			if f != nil {
				d.fail(v, f)
				continue
			}
			if p.Bits() == 0 {
				d.add(v, fmt.Sprintf("%s is everything", s), "write any or outside")
				continue
			}
			t.Prefixes = append(t.Prefixes, p)
		default:
			known := append(d.groupList(), "any", "inside", "outside", "self", Unassigned)
			d.add(v, fmt.Sprintf("the plan has no group %q", clip(s)), didYouMean(s, known, "write an address, a prefix, or one of "))
		}
	}
	slices.Sort(t.Groups)
	sortPrefixes(t.Prefixes)
	return t
}

func startsLikeAddress(s string) bool {
	return s != "" && (s[0] >= '0' && s[0] <= '9' || strings.Contains(s, ":") || strings.Contains(s, "/"))
}

// Empty says whether the target is nobody: the zero value.
func (t Target) Empty() bool {
	return !t.Any && !t.Inside && !t.Outside && !t.Self && len(t.Groups) == 0 && len(t.Prefixes) == 0
}

// String lists the target as a plan writes it.
func (t Target) String() string {
	var out []string
	for _, w := range []struct {
		is   bool
		word string
	}{{t.Any, "any"}, {t.Inside, "inside"}, {t.Outside, "outside"}, {t.Self, "self"}} {
		if w.is {
			out = append(out, w.word)
		}
	}
	out = append(out, t.Groups...)
	for _, p := range t.Prefixes {
		if p.IsSingleIP() {
			out = append(out, p.Addr().String())
		} else {
			out = append(out, p.String())
		}
	}
	return strings.Join(out, ", ")
}

// Resolve gives the prefixes of a target. All is true where they say too
// little: any; outside where the scope names no outside prefixes; inside where
// it names interfaces; a group known by MAC, by interface or as this machine;
// unassigned. An empty result with all false is nobody.
func (p *Plan) Resolve(t Target) (prefixes []netip.Prefix, all bool) {
	all = t.Any || t.Self
	prefixes = append(prefixes, t.Prefixes...)
	if t.Outside {
		prefixes = append(prefixes, p.Scope.Outside...)
		all = all || len(p.Scope.Outside) == 0
	}
	if t.Inside {
		prefixes = append(prefixes, p.Scope.Inside...)
		all = all || len(p.Scope.InsideIfaces) > 0 || len(p.Scope.Inside) == 0
	}
	for _, name := range t.Groups {
		for _, heir := range p.Heirs(name) {
			g := p.Group(heir)
			if g == nil || len(g.MACs) > 0 || len(g.Ifaces) > 0 || g.Self || heir == Unassigned {
				all = true
			}
			if g != nil {
				prefixes = append(prefixes, g.Members...)
			}
		}
	}
	sortPrefixes(prefixes)
	return slices.Compact(prefixes), all
}

// Clients is one group's part of a target.
type Clients struct {
	Group     string
	Endpoints []netip.Prefix // empty: the whole group
}

// Clients says who opens the flows of a target, by group: what a rule for the
// target must become, since each packet is judged by its own group's rules.
// Endpoints of a group may be wider than the group; who is in the group is
// decided first. The result is sorted by group.
func (p *Plan) Clients(from Target) []Clients {
	var out []Clients
	named, owners := map[string]bool{}, make([]string, len(from.Prefixes))
	for _, name := range from.Groups {
		for _, heir := range p.Heirs(name) {
			named[heir] = true
		}
	}
	for i, x := range from.Prefixes {
		owners[i] = p.owner(x)
	}
	for _, g := range p.Groups {
		if from.Any || from.Inside && !g.Self || from.Self && (g.Self || g.Name == Unassigned && p.output()) || named[g.Name] {
			out = append(out, Clients{Group: g.Name})
			continue
		}
		if ends := p.endpoints(g, from.Prefixes, owners); len(ends) > 0 {
			out = append(out, Clients{g.Name, ends})
		}
	}
	return out
}

func (p *Plan) output() bool { return slices.Contains(p.Scope.Hooks, "output") }

// endpoints are those of the prefixes that can hold a member of the group;
// owners are the owners of the prefixes.
func (p *Plan) endpoints(g Group, of []netip.Prefix, owners []string) []netip.Prefix {
	var out []netip.Prefix
	for i, x := range of {
		if !slices.Contains(g.Families, flow.FamilyOf(x.Addr())) {
			continue
		}
		if len(g.MACs) > 0 || len(g.Ifaces) > 0 || g.Name == Unassigned && owners[i] == Unassigned {
			if overlapsAny(x, p.Scope.Inside) || len(p.Scope.InsideIfaces) > 0 || len(p.Scope.Inside) == 0 {
				out = append(out, x)
				continue
			}
		}
		if g.Name != Unassigned && owners[i] == g.Name {
			out = append(out, x)
			continue
		}
		for _, m := range g.Members {
			if within(m, []netip.Prefix{x}) && m != x {
				out = append(out, m)
			}
		}
	}
	sortPrefixes(out)
	return slices.Compact(out)
}

// owner is the group whose member is the longest that holds the whole of x, or
// Unassigned. Parts of x may be in groups with longer members.
func (p *Plan) owner(x netip.Prefix) string {
	best, owner := -1, Unassigned
	for _, g := range p.Groups {
		for _, m := range g.Members {
			if m.Bits() <= x.Bits() && m.Overlaps(x) && m.Bits() > best {
				best, owner = m.Bits(), g.Name
			}
		}
	}
	return owner
}

// targetFamilies are the families that a target can have.
func (p *Plan) targetFamilies(t Target) []flow.Family {
	if t.Any || t.Outside || t.Self {
		return bothFamilies
	}
	var out []flow.Family
	add := func(fs []flow.Family) {
		for _, f := range fs {
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	add(familiesOf(t.Prefixes))
	if t.Inside {
		add(p.Scope.Families())
	}
	for _, name := range t.Groups {
		for _, heir := range p.Heirs(name) {
			if g := p.Group(heir); g != nil {
				add(g.Families)
			}
		}
	}
	slices.Sort(out)
	return out
}
