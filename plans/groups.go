package plans

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"weir/phases/flow"
)

type groupNode struct {
	key, val *node
	group    *Group
	done     bool // inherited values are filled
}

// groupNames notes which groups there are, so that everything else may name
// them before they are read.
func (d *decoder) groupNames(n *node) {
	d.groups = map[string]*groupNode{}
	if n == nil || n.kind != mapping {
		return
	}
	for i, key := range n.keys {
		if key.text == Unassigned {
			d.add(key, "unassigned is there by itself: the rest of inside", "remove it; a wave may name it")
			continue
		}
		name := d.name(key)
		if name == "" {
			continue
		}
		d.groups[name] = &groupNode{key: key, val: n.vals[i], group: &Group{Name: name, Pos: d.pos(key)}}
	}
}

// readGroups reads every group, then what it has from its parent, then checks
// the groups against each other.
func (d *decoder) readGroups() {
	names := slices.Sorted(maps.Keys(d.groups))
	for _, name := range names {
		d.ownFields(d.groups[name])
	}
	for _, name := range names {
		d.inherit(d.groups[name], nil)
	}
	for _, name := range names {
		d.checkFamilies(d.groups[name])
	}
	d.overlaps(names)
	for _, name := range names {
		d.p.Groups = append(d.p.Groups, *d.groups[name].group)
	}
	allow := "observed"
	if d.p.Environment == "new" {
		allow = "declared"
	}
	fams := d.p.Scope.Families()
	if slices.Contains(d.p.Scope.Hooks, "output") {
		fams = slices.Clone(bothFamilies)
	}
	d.p.Groups = append(d.p.Groups, Group{Name: Unassigned, Families: fams, Allow: allow,
		RulesBy: d.p.Enforce.RulesBy, Owner: d.p.Owner, Pos: Pos{File: d.file}})
	slices.SortFunc(d.p.Groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
}

func (d *decoder) ownFields(gn *groupNode) {
	g, n, scope := gn.group, gn.val, d.p.Scope
	for _, v := range items(n.get("members"), text) {
		p, f := parsePrefix(v.text)
		if f != nil {
			d.fail(v, f)
			continue
		}
		switch {
		case slices.Contains(g.Members, p):
			d.add(v, fmt.Sprintf("%s is here twice", v.text), "remove one of them")
		case len(scope.Inside) > 0 && len(scope.InsideIfaces) == 0 && !within(p, scope.Inside):
			d.add(v, fmt.Sprintf("%s is not inside", v.text), "write addresses from scope.inside, or widen scope.inside")
		}
		g.Members = append(g.Members, p)
	}
	for _, v := range items(n.get("macs"), text) {
		mac, f := parseMAC(v.text)
		if f != nil {
			d.fail(v, f)
			continue
		}
		if slices.Contains(g.MACs, mac) {
			d.add(v, fmt.Sprintf("%s is here twice", v.text), "remove one of them")
		}
		g.MACs = append(g.MACs, mac)
	}
	for _, v := range items(n.get("interfaces"), text) {
		switch {
		case slices.Contains(scope.OutsideIfaces, v.text):
			d.add(v, fmt.Sprintf("the interface %s is outside", clip(v.text)), "write an inside interface")
		case len(scope.Inside) == 0 && len(scope.InsideIfaces) > 0 && !slices.Contains(scope.InsideIfaces, v.text):
			d.add(v, fmt.Sprintf("the interface %s is not inside", clip(v.text)), didYouMean(v.text, scope.InsideIfaces, "write one of "))
		}
		g.Ifaces = append(g.Ifaces, v.text)
	}
	for _, v := range items(n.get("uids"), number) {
		if v.num >= 0 && v.num < 1<<32-1 {
			g.UIDs = append(g.UIDs, uint32(v.num))
		}
	}
	g.Self = truth(n.get("self"))
	g.Families = families(n.get("families"))
	g.Allow = str(n.get("allow"))
	g.RulesBy = d.rulesBy(n.get("rulesBy"))
	g.Owner = str(n.get("owner"))
	sortPrefixes(g.Members)
	slices.Sort(g.MACs)
	slices.Sort(g.Ifaces)
	slices.Sort(g.UIDs)
	d.who(gn)
	if a := n.get("allow"); str(a) == "observed" && d.p.Environment == "new" {
		d.add(a, "in a new environment there is nothing to observe", "write allow: declared, or environment: operational")
	}
}

// who checks that a group has endpoints, of a kind that the hooks can see.
func (d *decoder) who(gn *groupNode) {
	g, n := gn.group, gn.val
	forward, output := slices.Contains(d.p.Scope.Hooks, "forward"), slices.Contains(d.p.Scope.Hooks, "output")
	others := n.get("members") != nil || n.get("macs") != nil || n.get("interfaces") != nil
	switch {
	case n.kind != mapping:
	case g.Self && others:
		d.add(gn.key, "a group is either this machine (self) or others", "make two groups of it")
	case g.Self && !output:
		d.add(n.key("self"), "this machine's own traffic is not in the scope", "write hooks: [forward, output], or remove the group")
	case !g.Self && n.get("uids") != nil:
		d.add(n.key("uids"), "uids are only known of this machine's own traffic", "add self: true, or remove uids")
	case !g.Self && !others:
		d.add(gn.key, fmt.Sprintf("the group %s has no members", g.Name), "add members, macs or interfaces (or self: true for this machine)")
	case !g.Self && !forward && output:
		d.add(gn.key, fmt.Sprintf("the group %s is never seen: the only hook is output", g.Name), "write hooks: [forward, output], or self: true for this machine")
	}
}

// inherit fills what a group has from its parent, and refuses circles.
func (d *decoder) inherit(gn *groupNode, path []string) {
	if gn.done {
		return
	}
	g, at := gn.group, gn.val.get("extends")
	if slices.Contains(path, g.Name) {
		return
	}
	if name := str(at); name != "" {
		parent := d.groups[name]
		switch {
		case parent == nil:
			d.add(at, fmt.Sprintf("the plan has no group %q", clip(name)), didYouMean(name, d.groupList(), "write one of "))
		case name == g.Name || slices.Contains(path, name):
			d.add(at, fmt.Sprintf("the group %s extends itself: %s", g.Name, strings.Join(append(slices.Clone(path), g.Name, name), " → ")), "remove one extends of the circle")
		default:
			d.inherit(parent, append(path, g.Name))
			if !parent.done {
				break // part of a circle that is noted already
			}
			g.Extends = name
			from := parent.group
			if from.Self != g.Self {
				d.add(at, "one of the two groups is this machine, the other is not", "remove extends")
			}
			if g.Families == nil && from.Families != nil {
				g.Families = slices.Clone(from.Families)
			}
			g.Allow, g.Owner = orElse(g.Allow, from.Allow), orElse(g.Owner, from.Owner)
			if g.RulesBy == nil {
				g.RulesBy = slices.Clone(from.RulesBy)
			}
		}
	}
	gn.done = true
	def := "observed"
	if d.p.Environment == "new" {
		def = "declared"
	}
	g.Allow, g.Owner = orElse(g.Allow, def), orElse(g.Owner, d.p.Owner)
	if g.RulesBy == nil {
		g.RulesBy = slices.Clone(d.p.Enforce.RulesBy)
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// checkFamilies fills the families and asks for a word where a group has fewer
// than the scope: an address family that was forgotten is the mistake that
// nobody notices.
func (d *decoder) checkFamilies(gn *groupNode) {
	g, at := gn.group, gn.val.get("families")
	scope := d.p.Scope.Families()
	if g.Self {
		scope = bothFamilies
	}
	stated := len(g.Families) > 0
	if !stated {
		g.Families = slices.Clone(scope)
	}
	if at == nil {
		at = gn.key
	}
	for _, f := range g.Families {
		if !slices.Contains(scope, f) {
			d.add(at, fmt.Sprintf("the scope has no %s", f), fmt.Sprintf("remove %s here, or add an %s prefix to scope.inside", f, f))
		}
	}
	if s := d.p.Scope; len(s.Hooks) == 0 || slices.Contains(s.Hooks, "forward") && len(s.Inside)+len(s.InsideIfaces) == 0 {
		return // the scope is not known
	}
	if d.hurt(gn.val.get("members")) || d.hurt(gn.key) || len(g.Members) == 0 || len(g.MACs) > 0 || len(g.Ifaces) > 0 {
		return
	}
	have := familiesOf(g.Members)
	for _, f := range scope {
		has, says := slices.Contains(have, f), slices.Contains(g.Families, f)
		switch {
		case has && !says:
			d.add(at, fmt.Sprintf("the group %s has %s members, its families do not", g.Name, f), fmt.Sprintf("write families: [%s], or remove the members", join(append(slices.Clone(g.Families), f))))
		case !has && says && stated:
			d.add(at, fmt.Sprintf("the group %s has no %s members, its families say so", g.Name, f), fmt.Sprintf("add members, or write families: [%s]", join(have)))
		case !has && says:
			d.add(gn.key, fmt.Sprintf("the group %s has no %s members, the scope has %s", g.Name, f, f), fmt.Sprintf("add its %s members, or write families: [%s]", f, join(have)))
		}
	}
}

func join(fs []flow.Family) string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = string(f)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// overlaps finds what is in two groups. A longer prefix in a shorter one is
// fine: the longer one decides.
func (d *decoder) overlaps(names []string) {
	prefixes, macs, ifaces, uids := map[netip.Prefix]string{}, map[string]string{}, map[string]string{}, map[int64]string{}
	note := func(v *node, what, other, mine string) {
		if other != mine {
			d.add(v, fmt.Sprintf("%s is in the group %s too", what, other), "keep it in one group")
		}
	}
	wholeSelf := ""
	for _, gn := range d.inFileOrder(names) {
		name, n := gn.group.Name, gn.val
		for _, v := range items(n.get("members"), text) {
			if p, f := parsePrefix(v.text); f == nil {
				if other, ok := prefixes[p]; ok {
					note(v, v.text, other, name)
				}
				prefixes[p] = name
			}
		}
		for _, v := range items(n.get("macs"), text) {
			if m, f := parseMAC(v.text); f == nil {
				if other, ok := macs[m]; ok {
					note(v, m, other, name)
				}
				macs[m] = name
			}
		}
		for _, v := range items(n.get("interfaces"), text) {
			if other, ok := ifaces[v.text]; ok {
				note(v, "the interface "+clip(v.text), other, name)
			}
			ifaces[v.text] = name
		}
		for _, v := range items(n.get("uids"), number) {
			if other, ok := uids[v.num]; ok {
				note(v, "the uid "+v.text, other, name)
			}
			uids[v.num] = name
		}
		if gn.group.Self && len(gn.group.UIDs) == 0 && !d.hurt(gn.key) {
			if wholeSelf != "" {
				d.add(gn.key, fmt.Sprintf("both %s and %s are the whole of this machine", wholeSelf, name), "give one of them uids, or join them")
			}
			wholeSelf = name
		}
	}
}

func (d *decoder) inFileOrder(names []string) []*groupNode {
	var out []*groupNode
	for _, n := range names {
		out = append(out, d.groups[n])
	}
	slices.SortStableFunc(out, func(a, b *groupNode) int {
		if a.key.line != b.key.line {
			return a.key.line - b.key.line
		}
		return a.key.col - b.key.col
	})
	return out
}

func (d *decoder) groupList() []string { return slices.Sorted(maps.Keys(d.groups)) }

// rulesBy reads how narrow rules are; nil where it is not given or wrong.
func (d *decoder) rulesBy(n *node) []string {
	by := texts(n)
	if len(by) == 0 {
		return nil
	}
	order := []string{"group", "endpoint", "destination", "service"}
	var out []string
	for _, o := range order {
		if slices.Contains(by, o) {
			out = append(out, o)
		}
	}
	hint := "write [group, service], [group, destination, service] or [endpoint, destination, service]"
	switch {
	case len(out) < 2:
		return nil
	case !slices.Contains(out, "service"):
		d.add(n, "rules without a service", hint)
		return nil
	case slices.Contains(out, "group") == slices.Contains(out, "endpoint"):
		d.add(n, "rules are for the group or for each endpoint", hint)
		return nil
	}
	return out
}

// Group returns the group of that name, or nil.
func (p *Plan) Group(name string) *Group {
	i, ok := slices.BinarySearchFunc(p.Groups, name, func(g Group, n string) int { return strings.Compare(g.Name, n) })
	if !ok {
		return nil
	}
	return &p.Groups[i]
}

// Heirs returns the group and every group that extends it, by name: what holds
// for the group holds for them.
func (p *Plan) Heirs(name string) []string {
	out := []string{name}
	for i := 0; i < len(out); i++ {
		for _, g := range p.Groups {
			if g.Extends == out[i] && !slices.Contains(out, g.Name) {
				out = append(out, g.Name)
			}
		}
	}
	slices.Sort(out)
	return out
}
