package plans

import (
	"fmt"
	"net/netip"
	"slices"
)

// waves reads the block steps and checks that each group is blocked wholly
// once, after its parts.
func (d *decoder) waves(enforce *node) {
	e := &d.p.Enforce
	seen := map[string]*node{}
	whole := map[string]string{} // group → the wave that blocks all of it
	share := map[string]int{}    // group → largest share so far
	part := map[string]*node{}   // group → last mention in a wave for a part
	for _, v := range items(enforce.get("waves"), mapping) {
		w := Wave{Name: d.named(v, seen), Pos: d.pos(v), Share: d.percent(v.get("share"), 100),
			Deny: strOr(v.get("deny"), e.Deny), Established: strOr(v.get("established"), e.Established), Brownouts: e.Brownouts}
		if b := v.get("brownouts"); b != nil {
			w.Brownouts = d.brownouts(b)
		}
		w.Prefixes, _ = d.side(v)
		unclear := d.hurt(v.get("share")) || d.hurt(v.get("prefixes"))
		if unclear {
			w.Share = 1 // a part, but who knows which
		}
		for _, g := range items(v.get("groups"), text) {
			if !d.knownGroup(g) {
				continue
			}
			w.Groups = append(w.Groups, g.text)
			if before, ok := whole[g.text]; ok {
				d.add(g, fmt.Sprintf("the wave %s blocks the group %s wholly before this one", before, g.text), "keep one of them, or put waves for parts of a group first")
				continue
			}
			if unclear {
				continue
			}
			if w.Share == 100 && len(w.Prefixes) == 0 {
				whole[g.text] = w.Name
				continue
			}
			if w.Share < 100 && len(w.Prefixes) == 0 {
				if w.Share <= share[g.text] {
					d.add(orNode(v.get("share"), g), fmt.Sprintf("%d%% of %s is no more than an earlier wave blocks", w.Share, g.text), fmt.Sprintf("write more than %d%%", share[g.text]))
				}
				share[g.text] = w.Share
			}
			part[g.text] = g
			d.partOf(v, w, g)
		}
		e.Waves = append(e.Waves, w)
	}
	open := texts(enforce.get("leaveOpen"))
	for name, at := range part {
		if whole[name] == "" && !slices.Contains(open, name) {
			d.add(at, fmt.Sprintf("only a part of the group %s is ever blocked", name), fmt.Sprintf("add a later wave {name: …, groups: [%s]}, or list %s in leaveOpen to leave the rest in alert", name, name))
		}
	}
}

// partOf checks a wave for a part of a group.
func (d *decoder) partOf(v *node, w Wave, at *node) {
	g := d.groups[at.text]
	if w.Share < 100 && g != nil && g.group.Self {
		d.add(orNode(v.get("share"), at), fmt.Sprintf("%s is this machine: it has no share", at.text), "remove share")
	}
	if g == nil || len(w.Prefixes) == 0 || len(g.group.MACs) > 0 || len(g.group.Ifaces) > 0 {
		return
	}
	if !slices.ContainsFunc(w.Prefixes, func(p netip.Prefix) bool { return overlapsAny(p, g.group.Members) }) {
		d.add(at, fmt.Sprintf("none of this wave's prefixes is in the group %s", at.text), "write prefixes of its members")
	}
}

// leaveOpen reads which groups stay in alert, and finds groups that are named
// nowhere.
func (d *decoder) leaveOpen(enforce *node) {
	e := &d.p.Enforce
	blocked := map[string]string{}
	named := map[string]bool{}
	for _, w := range e.Waves {
		for _, g := range w.Groups {
			named[g] = true
			if w.Share == 100 && len(w.Prefixes) == 0 {
				blocked[g] = w.Name
			}
		}
	}
	for _, v := range items(enforce.get("leaveOpen"), text) {
		if !d.knownGroup(v) {
			continue
		}
		if wave, ok := blocked[v.text]; ok {
			d.add(v, fmt.Sprintf("the group %s is left open and blocked by the wave %s", v.text, wave), "keep one of them")
		}
		named[v.text] = true
		e.LeaveOpen = append(e.LeaveOpen, v.text)
	}
	if !named[Unassigned] {
		e.LeaveOpen = append(e.LeaveOpen, Unassigned)
	}
	slices.Sort(e.LeaveOpen)
	if enforce == nil {
		return // the schema check has said that enforce is missing
	}
	for _, gn := range d.inFileOrder(d.groupList()) {
		if name := gn.group.Name; !named[name] {
			d.add(gn.key, fmt.Sprintf("the group %s is in no wave", name), fmt.Sprintf("name it in a wave under enforce, or in leaveOpen: [%s]", name))
		}
	}
}
