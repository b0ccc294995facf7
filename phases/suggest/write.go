package suggest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/plans"
)

// Entries are what the proposal adds to the plan, each with its reasons.
func (p *Proposal) Entries() []plans.Entry {
	var out []plans.Entry
	var fresh []string
	for _, c := range p.Classes {
		if !c.New || len(c.Rules) == 0 {
			continue
		}
		fresh = append(fresh, c.Name)
		text := c.Name + ": {members: [" + prefixWords(c.Members) + "]"
		if len(c.Families) > 0 {
			text += ", families: [" + familyWords(c.Families) + "]"
		}
		if c.Of != plans.Unassigned {
			text += ", extends: " + c.Of
		} else {
			text += ", allow: observed"
		}
		out = append(out, plans.Entry{Path: []string{"groups"}, Text: text + "}", Comment: c.reasons()})
	}
	for _, n := range p.Named {
		if n.Never {
			text := fmt.Sprintf("{name: %s, from: [%s], to: [outside], reason: %q}", p.neverName(n), strings.Join(n.Groups, ", "), n.Words)
			if len(n.Services) > 0 {
				text = fmt.Sprintf("{name: %s, from: [%s], to: [outside], services: [%s], reason: %q}", p.neverName(n), strings.Join(n.Groups, ", "), serviceList(n.Services), n.Words)
			}
			out = append(out, plans.Entry{Path: []string{"never"}, List: true, Text: text, Comment: n.reasons()})
		}
	}
	for i, x := range p.Exceptions {
		var from []string
		for _, a := range x.From {
			from = append(from, prefixWord(netip.PrefixFrom(a, a.BitLen())))
		}
		if g := p.plan.Group(x.Of); g != nil && g.Self {
			from = []string{x.Of} // an address does not say which of its users it was
		}
		out = append(out, plans.Entry{Path: []string{"declared"}, List: true,
			Text: fmt.Sprintf("{name: %s, from: [%s], to: [%s], services: [%s], reason: %q}", p.free(fmt.Sprintf("exception-%d", i+1)), strings.Join(from, ", "), strings.Join(x.To, ", "), serviceList(x.Services),
				"seen of "+many(len(x.From), "endpoint")+" of "+x.Of+", beside what its class does")})
	}
	for _, c := range p.Classes {
		if !c.step || len(c.Rules) == 0 {
			continue
		}
		var allow []string
		for _, r := range c.Rules {
			to := "outside"
			if len(r.To) > 0 {
				to = strings.Join(r.To, ", ")
			}
			allow = append(allow, fmt.Sprintf("{to: [%s], services: [%s]}", to, serviceList(r.Services)))
		}
		out = append(out, plans.Entry{Path: []string{"refactor", "steps"}, List: true, Comment: c.ledger(p),
			Text: fmt.Sprintf("{name: %s, groups: [%s], allow: [%s]}", p.stepName(c.Name), c.Name, strings.Join(allow, ", "))})
	}
	for _, n := range p.Named {
		if !n.Never {
			continue
		}
		services := "tcp, udp"
		if len(n.Services) > 0 {
			services = serviceList(n.Services)
		}
		if len(p.plan.Lifelines) == 0 { // a lifeline passes before it is denied
			out = append(out, plans.Entry{Path: []string{"tests"}, List: true, Text: fmt.Sprintf("{from: [%s], services: [%s], expect: denied}", strings.Join(n.Groups, ", "), services)})
		}
	}
	if len(fresh) > 0 {
		out = append(out, plans.Entry{Path: []string{"enforce", "waves"}, List: true, Text: fmt.Sprintf("{name: %s, groups: [%s]}", p.waveName(), strings.Join(fresh, ", ")),
			Comment: []string{"the new groups go through alert again before they are blocked"}})
	}
	return out
}

// reasons says why a new group is one.
func (c Class) reasons() []string {
	out := []string{fmt.Sprintf("%s of %s behave alike: purity %.2f", many(c.Seen, "endpoint"), c.Of, c.Purity)}
	if c.Holds > uint64(c.Seen) {
		out[0] += fmt.Sprintf("; these prefixes hold %d addresses that were not seen", c.Holds-uint64(c.Seen))
	}
	return append(out, c.misfits()...)
}

func (c Class) misfits() []string {
	if len(c.Misfits) == 0 {
		return nil
	}
	var worst []string
	for _, m := range c.Misfits[:min(len(c.Misfits), some5)] {
		worst = append(worst, fmt.Sprintf("%s %.2f", m.Addr, m.Fit))
	}
	return []string{fmt.Sprintf("%s fit badly, the worst: %s", many(len(c.Misfits), "member"), strings.Join(worst, ", "))}
}

// ledger says what a step would allow beyond what was seen.
func (c Class) ledger(p *Proposal) []string {
	var granted, seen uint64
	for _, r := range c.Rules {
		granted, seen = granted+r.Granted, seen+r.Seen
	}
	out := []string{fmt.Sprintf("%s seen; allows %d combinations of endpoint, service and destination, of which %d were seen (%s): %d beyond", many(c.Seen, "endpoint"), granted, seen, percent(seen, granted), granted-seen)}
	if !c.New {
		out[0] = fmt.Sprintf("%s; purity %.2f", out[0], c.Purity)
		out = append(out, c.misfits()...)
	}
	for _, r := range c.Rules {
		line := serviceText(r.Services) + " to "
		switch {
		case len(r.To) == 0:
			line += "anywhere outside"
		case len(r.Names) > 0:
			line += strings.Join(r.Names, ", ")
		case len(r.To) > 3:
			line += many(len(r.To), "destination")
		default:
			line += strings.Join(r.To, ", ")
		}
		line += fmt.Sprintf(": used by up to %d of %d, %s of it", r.Users, c.Seen, percent(r.Seen, r.Granted))
		if len(r.To) == 0 {
			line += " (counted over the destinations ever seen)"
		}
		for _, role := range p.Roles {
			if slices.Contains(role.Classes, c.Name) && role.has(r) {
				line += fmt.Sprintf("; role %d", role.Number)
			}
		}
		out = append(out, line)
	}
	return out
}

// has says whether a role is part of a rule.
func (r Role) has(x Rule) bool {
	to := "anywhere outside"
	if len(x.To) > 0 {
		to = strings.Join(x.To, ", ")
	}
	for _, s := range x.Services {
		if slices.ContainsFunc(r.Services, func(t string) bool {
			service, place, _ := strings.Cut(t, " to ")
			return service == s.String() && (place == to || slices.Contains(x.To, place))
		}) {
			return true
		}
	}
	return false
}

func (n Named) reasons() []string {
	out := []string{n.Words}
	if n.Endpoints > 0 {
		var who []string
		for _, a := range n.Examples {
			who = append(who, a.String())
		}
		out = append(out, fmt.Sprintf("denies what %s did: %s", many(n.Endpoints, "endpoint"), strings.Join(who, ", ")))
	}
	return out
}

// Header says in lines what the proposal is: the curve, the roles, what is not
// proposed.
func (p *Proposal) Header() []string {
	out := []string{
		fmt.Sprintf("A proposal, level %d of %d. Generalising is always widening: read what each rule allows beyond", p.Level, len(levels)),
		"what was seen. Combinations are of endpoint, service and destination; anywhere is endpoints",
		"times services that may go anywhere.",
		"",
		" level  classes  rules  exceptions   anywhere  combinations        beyond  seen",
	}
	for _, c := range p.Curve {
		mark := " "
		if c.Level == p.Level {
			mark = "*"
		}
		out = append(out, fmt.Sprintf("%s %4d %8d %6d %11d %10d %13d %13d  %s", mark, c.Level, c.Classes, c.Rules, c.Exceptions, c.Anywhere, c.Granted, c.Beyond, percent(c.Seen, c.Granted)))
	}
	if len(p.Roles) > 0 {
		out = append(out, "", "Roles that several classes have:")
		for _, r := range p.Roles {
			out = append(out, fmt.Sprintf("  %d: %s (%s)", r.Number, strings.Join(r.Services, "; "), strings.Join(r.Classes, ", ")))
		}
	}
	for _, n := range p.Named {
		out = append(out, "", "Recognised: "+n.Words+".")
		out = append(out, n.reasons()[1:]...)
	}
	if len(p.Notes) > 0 {
		out = append(out, "", "Not proposed:")
		for _, n := range p.Notes {
			out = append(out, "  "+n)
		}
	}
	return out
}

func (p *Proposal) free(name string) string {
	for i := 0; ; i++ {
		n := name
		if i > 0 {
			n = fmt.Sprintf("%s-%d", name, i)
		}
		if !slices.ContainsFunc(p.plan.Declared, func(d plans.Declared) bool { return d.Name == n }) {
			return n
		}
	}
}

func (p *Proposal) neverName(n Named) string {
	name := n.Kind
	if len(n.Groups) == 1 {
		name = clip(n.Groups[0]+"-"+n.Kind, n.Kind)
	}
	for i := 2; slices.ContainsFunc(p.plan.Never, func(x plans.Never) bool { return x.Name == name }); i++ {
		name = clip(fmt.Sprintf("%s-%d", n.Kind, i), "x")
	}
	return name
}

func (p *Proposal) stepName(group string) string {
	name := group
	for i := 2; slices.ContainsFunc(p.plan.Refactor, func(x plans.Refactor) bool { return x.Name == name }); i++ {
		name = fmt.Sprintf("%s-%d", clip(group, "step"), i)
	}
	return name
}

func (p *Proposal) waveName() string {
	name := "suggested"
	for i := 2; slices.ContainsFunc(p.plan.Enforce.Waves, func(x plans.Wave) bool { return x.Name == name }); i++ {
		name = fmt.Sprintf("suggested-%d", i)
	}
	return name
}

func clip(name, otherwise string) string {
	if len(name) > 31 {
		return otherwise
	}
	return name
}

func percent(part, of uint64) string {
	if of == 0 {
		return "-"
	}
	x := 100 * float64(part) / float64(of)
	if x < 1 {
		return fmt.Sprintf("%.2g %%", x)
	}
	return fmt.Sprintf("%.0f %%", x)
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func prefixWords(list []netip.Prefix) string {
	var out []string
	for _, p := range list {
		out = append(out, prefixWord(p))
	}
	return strings.Join(out, ", ")
}

func familyWords(list []flow.Family) string {
	var out []string
	for _, f := range list {
		out = append(out, string(f))
	}
	return strings.Join(out, ", ")
}

func serviceList(list []flow.Service) string { return servicesText(list) }

func serviceText(list []flow.Service) string {
	if len(list) > 6 {
		return many(len(list), "service")
	}
	return servicesText(list)
}
