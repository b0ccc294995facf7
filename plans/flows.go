package plans

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/phases/flow"
)

// lifelines reads what no step may cut.
func (d *decoder) lifelines(n *node) {
	seen := map[string]*node{}
	for _, v := range items(n, mapping) {
		l := Lifeline{Name: d.named(v, seen), Services: d.serviceList(v.get("services")), Pos: d.pos(v)}
		l.From, l.To = d.targetOr(v.get("from"), Target{Any: true}), d.targetOr(v.get("to"), Target{Any: true})
		if v.get("services") == nil && l.From.Any && l.To.Any {
			d.add(v, "a lifeline for everything", "name services, or who (from) reaches whom (to)")
		}
		l.Families = d.flowFamilies(v, l.From, l.To, l.Services)
		d.p.Lifelines = append(d.p.Lifelines, l)
	}
}

func (d *decoder) targetOr(n *node, otherwise Target) Target {
	if n == nil {
		return otherwise
	}
	return d.target(n)
}

// declared reads flows that are known but not seen.
func (d *decoder) declared(n *node) {
	seen := map[string]*node{}
	for _, v := range items(n, mapping) {
		e := Declared{Name: d.named(v, seen), Pos: d.pos(v), Owner: strOr(v.get("owner"), d.p.Owner), Reason: str(v.get("reason"))}
		from, to := v.get("from"), v.get("to")
		e.From, e.To = d.target(from), d.target(to)
		e.Services = d.serviceList(v.get("services"))
		e.Families = d.flowFamilies(v, e.From, e.To, e.Services)
		if c := v.get("exercise"); str(c) != "" {
			if _, f := parseCron(c.text, ""); f != nil {
				d.fail(c, f)
			}
			e.Exercise = c.text
		}
		if day := d.date(v.get("expires")); !day.IsZero() {
			e.Expires = endOf(day)
		}
		if w := v.get("window"); w != nil && w.kind == mapping {
			win := d.window(w)
			e.Window = &win
		}
		d.direction(from, to, e.From, e.To)
		d.p.Declared = append(d.p.Declared, e)
	}
}

// direction checks that a declared flow is one that weir judges: from inside
// to outside, or with inbound: refuse the reverse.
func (d *decoder) direction(from, to *node, f, t Target) {
	s := d.p.Scope
	inward := t.Inside || len(t.Groups) > 0
	for _, p := range t.Prefixes {
		inward = inward || within(p, s.Inside)
	}
	outer := f.Outside
	for _, p := range f.Prefixes {
		outer = outer || len(s.Inside) > 0 && len(s.InsideIfaces) == 0 && !overlapsAny(p, s.Inside)
	}
	switch {
	case t.Self:
		d.add(to, "what goes to this machine itself is not judged", "remove the entry, or write a lifeline")
	case f.Self && !d.p.output():
		d.add(from, "this machine's own traffic is not in the scope", "write hooks: [forward, output], or name who opens the connection")
	case outer && inward && s.Inbound != "refuse":
		d.add(from, fmt.Sprintf("with inbound: %s nothing from outside needs an entry", s.Inbound), "remove it, or write inbound: refuse")
	case outer && !inward:
		d.add(from, "from is outside: it is always who opens the connection", "write an address, a prefix or a group from inside; turn from and to around if need be")
	case inward && !outer && !f.Self && !f.Any:
		d.add(to, "both ends are inside: weir judges only what goes from inside to outside", "remove the entry, or name a destination outside")
	}
}

// never reads what is not allowed even if seen.
func (d *decoder) never(n *node) {
	seen := map[string]*node{}
	for _, v := range items(n, mapping) {
		e := Never{Name: d.named(v, seen), Pos: d.pos(v), Reason: str(v.get("reason")), Deny: strOr(v.get("deny"), d.p.Enforce.Deny)}
		e.From, e.To = d.targetOr(v.get("from"), Target{Any: true}), d.targetOr(v.get("to"), Target{Outside: true})
		e.Services = d.serviceList(v.get("services"))
		d.outward(v.get("to"), e.To)
		switch from := v.get("from"); {
		case e.From.Self && !d.p.output():
			d.add(from, "this machine's own traffic is not in the scope", "write hooks: [forward, output], or name who opens the connection")
		case !d.hurt(from) && len(d.p.Clients(e.From)) == 0:
			d.add(from, "from is nobody inside: it is always who opens the connection", "write an address, a prefix or a group from inside, or leave from out")
		}
		if v.get("services") == nil && e.From.Any && (e.To.Any || e.To.Outside) {
			d.add(v, "never for everything", "name services, from or to")
		}
		if len(common(common(d.p.targetFamilies(e.From), d.p.targetFamilies(e.To)), serviceFamilies(e.Services))) == 0 && !e.From.Empty() && !e.To.Empty() {
			d.add(v, "from, to and services have no address family in common", "write addresses and services of one family")
		}
		d.p.Never = append(d.p.Never, e)
	}
}

// outward checks a destination of which only what is outside can count.
func (d *decoder) outward(n *node, t Target) {
	inside := t.Inside || len(t.Groups) > 0
	for _, p := range t.Prefixes {
		inside = inside || within(p, d.p.Scope.Inside)
	}
	switch {
	case t.Self:
		d.add(n, "what goes to this machine itself is not judged", "name a destination outside")
	case inside:
		d.add(n, "the destination is inside: weir judges only what goes from inside to outside", "name a destination outside")
	}
}

// flowFamilies are the families in which a flow can exist. Those that the plan
// states must be among them.
func (d *decoder) flowFamilies(n *node, from, to Target, services []flow.Service) []flow.Family {
	stated := families(n.get("families"))
	if from.Empty() || to.Empty() {
		return stated
	}
	f, t, s := d.p.targetFamilies(from), d.p.targetFamilies(to), serviceFamilies(services)
	can := common(common(f, t), s)
	at := n.get("families")
	if len(can) == 0 {
		d.add(n, fmt.Sprintf("no packet can match: from has %s, to has %s, services have %s", orNone(f), orNone(t), orNone(s)), "write from, to and services of one address family")
		return nil
	}
	for _, x := range stated {
		if !slices.Contains(can, x) {
			d.add(at, fmt.Sprintf("this flow cannot be %s", x), fmt.Sprintf("write families: [%s]", join(can)))
			return can
		}
	}
	if len(stated) > 0 {
		return stated
	}
	return can
}

func orNone(fs []flow.Family) string {
	if len(fs) == 0 {
		return "none"
	}
	return join(fs)
}

// contradictions finds declared flows that a never rule forbids, in whole or
// in part: never wins, so the declared flow would not work. Of a refactoring,
// which may well be wider than a never rule, only rules that never forbids as a
// whole are found.
func (d *decoder) contradictions(root *node) {
	entries, nevers := items(root.get("declared"), mapping), items(root.get("never"), mapping)
	from := make([][]Clients, len(nevers))
	for j, n := range d.p.Never {
		from[j] = d.p.Clients(n.From)
	}
	for i, e := range d.p.Declared {
		if d.hurt(entries[i]) {
			continue
		}
		clients := d.p.Clients(e.From)
		for j, n := range d.p.Never {
			if !d.hurt(nevers[j]) && servicesMeet(e.Services, n.Services) && d.p.meet(e.To, n.To) && clientsMeet(clients, from[j]) {
				d.addAt(e.Pos.Line, e.Pos.Col, fmt.Sprintf("%s is forbidden by never %s (line %d)", e.Name, n.Name, n.Pos.Line), "narrow one of them: never wins")
			}
		}
	}
	steps := items(root.get("refactor").get("steps"), mapping)
	for i, r := range d.p.Refactor {
		rules := items(steps[i].get("allow"), mapping)
		for j, a := range r.Allow {
			if d.hurt(steps[i]) || d.hurt(root.get("never")) {
				continue
			}
			for k, n := range d.p.Never {
				if d.p.forbids(n, from[k], r.Groups, a) {
					d.addAt(rules[j].line, rules[j].col, fmt.Sprintf("all of this is forbidden by never %s (line %d)", n.Name, n.Pos.Line), "remove one of them: never wins")
				}
			}
		}
	}
}

// forbids says whether never leaves nothing of a rule, for all of the groups.
func (p *Plan) forbids(n Never, clients []Clients, groups []string, a AllowRule) bool {
	x, y := grant{services: n.Services, families: bothFamilies}, grant{services: a.Services, families: bothFamilies}
	x.to, x.everywhere = p.Resolve(n.To)
	y.to, y.everywhere = p.Resolve(a.To)
	if len(groups) == 0 || !x.covers(y) {
		return false
	}
	for _, name := range groups {
		if !slices.ContainsFunc(clients, func(c Clients) bool { return c.Group == name && len(c.Endpoints) == 0 }) {
			return false
		}
	}
	return true
}

// servicesMeet says whether a never rule's services, all where there are none,
// and a flow's have one in common.
func servicesMeet(of, never []flow.Service) bool {
	return len(never) == 0 || slices.ContainsFunc(of, func(s flow.Service) bool { return slices.ContainsFunc(never, s.Overlaps) })
}

// meet says whether two destinations have an address in common.
func (p *Plan) meet(a, b Target) bool {
	x, allX := p.Resolve(a)
	y, allY := p.Resolve(b)
	if allX && len(y)+btoi(allY) > 0 || allY && len(x)+btoi(allX) > 0 {
		return true
	}
	return slices.ContainsFunc(x, func(q netip.Prefix) bool { return overlapsAny(q, y) })
}

// clientsMeet says whether an endpoint may be in both; both are sorted by group.
func clientsMeet(a, b []Clients) bool {
	for _, x := range a {
		i, ok := slices.BinarySearchFunc(b, x.Group, func(c Clients, name string) int { return strings.Compare(c.Group, name) })
		if !ok {
			continue
		}
		if len(x.Endpoints) == 0 || len(b[i].Endpoints) == 0 ||
			slices.ContainsFunc(x.Endpoints, func(q netip.Prefix) bool { return overlapsAny(q, b[i].Endpoints) }) {
			return true
		}
	}
	return false
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
