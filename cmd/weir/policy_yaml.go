package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/exit"
	"weir/phases/flow"
	"weir/phases/policy/infer"
	"weir/phases/policy/rules"
	"weir/plans"
)

// planOptions is what -o yaml needs to know beside the rules.
type planOptions struct {
	inside []string
	ifaces []string // that lead outside; none: all
	name   string
	owner  string
}

func (o *planOptions) flags(c *cobra.Command) {
	c.Flags().StringSliceVar(&o.inside, "inside", []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"}, "for -o yaml: the prefixes of your own network")
	c.Flags().StringSliceVar(&o.ifaces, "outside-iface", nil, "for -o yaml: the interfaces that lead outside; only what leaves by them is in the plan")
	c.Flags().StringVar(&o.name, "name", "inferred", "for -o yaml: the plan's name")
	c.Flags().StringVar(&o.owner, "owner", "me@example.net", "for -o yaml: who answers for the plan")
}

// inferPlan prints a plan whose declared flows are what the chain lets pass
// from inside to outside.
func (e *env) inferPlan(s source, o planOptions) error {
	var inside ranges
	for _, t := range o.inside {
		p, err := netip.ParsePrefix(t)
		if err != nil || p.Bits() == 0 {
			return exit.Errorf(exit.Usage, "--inside %s is no prefix", t)
		}
		inside = inside.plus(rangesOf(p.Masked()))
	}
	allow := allowing(judged(s), s.chain)
	res, err := infer.Infer(allow, s.chain)
	if err != nil {
		return exit.Errorf(exit.Failed, "%w", err)
	}
	if res.Kept != nil && len(res.Policy.Rules) == 0 {
		return exit.Errorf(exit.Refused, "the rules are too many boxes for a plan: no policy without priorities was found").WithHint("weir policy infer -o nft")
	}
	w := planWriter{options: o, fams: res.Policy.Families}
	for _, f := range w.fams {
		w.inside = w.inside.plus(inside.of(f))
	}
	for _, r := range res.Policy.Rules {
		w.add(r)
	}
	if len(w.flows) == 0 {
		return exit.Errorf(exit.Refused, "%s lets nothing pass from inside to outside that a plan can declare", s.name).WithHint("--inside says which prefixes are inside; now %s", strings.Join(o.inside, ", "))
	}
	text := w.text(s.name)
	p, err := plans.Parse("plan", []byte(text))
	if err != nil {
		return exit.Errorf(exit.Failed, "cannot read back the plan: %w", err)
	}
	if err := provePlan(p, allow, s.chain, len(w.left) == 0); err != nil {
		return err
	}
	for _, l := range w.left {
		fmt.Fprintf(e.err, "weir: note: not in the plan: %s\n", safe(l))
	}
	_, err = fmt.Fprint(e.out, plainText(text))
	return err
}

// allowing writes a chain so that its default is to drop: what is accepted
// without a condition, by a rule or by default, is accepted by halves, so that
// the policy lists what is allowed and not what is denied.
func allowing(rs rules.Ruleset, chain string) rules.Ruleset {
	out := rules.Ruleset{Families: rs.Families}
	for _, c := range rs.Chains {
		x := &rules.Chain{Name: c.Name, Hook: c.Hook, Default: c.Default}
		list := c.Rules
		if c.Name == chain && c.Default == rules.Accept {
			x.Default, list = rules.Drop, append(slices.Clone(list), rules.Rule{Text: "the chain's default", Action: rules.Accept})
		}
		for _, r := range list {
			m := r.Match
			if r.Action != rules.Accept || len(m.Src)+len(m.Dst)+len(m.Services)+len(m.SrcPorts)+len(m.In)+len(m.Out)+len(m.Tests) > 0 || m.States != 0 {
				x.Rules = append(x.Rules, r)
				continue
			}
			for _, half := range halves {
				if m.Family == "" || m.Family == flow.FamilyOf(half.Addr()) {
					one := r
					one.Match.Family = flow.FamilyOf(half.Addr())
					one.Match.Src = []rules.Addrs{{Ranges: rangesOf(half)}}
					x.Rules = append(x.Rules, one)
				}
			}
		}
		out.Chains = append(out.Chains, x)
	}
	return out
}

var halves = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1"), netip.MustParsePrefix("::/1"), netip.MustParsePrefix("8000::/1")}

// provePlan reads a plan as rules and compares it with the rules that it was
// made from: the same, or, where some were left out, nothing more.
func provePlan(p *plans.Plan, want rules.Ruleset, chain string, exact bool) error {
	have, err := planRules(p, nil, time.Time{})
	if err != nil {
		return err
	}
	asked := bounded(want, chain, p)
	onlyHave, onlyWant, err := differences(have, rules.Hooked(have)[0], asked, chain)
	switch {
	case err != nil:
		return exit.Errorf(exit.Failed, "%w", err)
	case onlyHave, exact && onlyWant:
		return exit.Errorf(exit.Failed, "the plan is not the same set of packets as the rules: nothing is printed")
	}
	return nil
}

// bounded puts before a chain's rules what a plan says nothing about.
func bounded(rs rules.Ruleset, chain string, p *plans.Plan) rules.Ruleset {
	out := rules.Ruleset{Families: rs.Families, Notes: rs.Notes, Chains: slices.Clone(rs.Chains)}
	for i, c := range out.Chains {
		if c.Name == chain {
			x := *c
			x.Rules = append(notJudged(p), c.Rules...)
			out.Chains[i] = &x
		}
	}
	return out
}

// planWriter gathers groups, services and declared flows.
type planWriter struct {
	inside  ranges
	options planOptions
	fams    []flow.Family
	flows   []planFlow
	left    []string // what a plan cannot say
}

type planFlow struct {
	src      ranges
	to       []string
	services []string
	fam      flow.Family
	reason   string
}

func (w *planWriter) add(r infer.Rule) {
	m := r.Match
	if m.States != 0 && m.States&rules.New == 0 {
		return // replies: weir passes them by itself
	}
	if leaves, decided := w.leaves(m.Out); decided && !leaves {
		return
	} else if decided {
		m.Out = nil
	}
	for _, fam := range w.fams {
		if m.Family != "" && m.Family != fam {
			continue
		}
		outside := allAddrs.of(fam).minus(w.inside).minus(special)
		src := addrsOf(m.Src, fam).within(w.inside)
		dst := addrsOf(m.Dst, fam).within(outside)
		if len(src) == 0 || len(dst) == 0 {
			continue
		}
		services, ok := planServices(m.Services, fam)
		if len(services) == 0 && ok {
			continue
		}
		if !ok || len(m.SrcPorts)+len(m.In)+len(m.Out)+len(m.Tests)+len(r.If) > 0 {
			w.left = append(w.left, r.String())
			return
		}
		f := planFlow{src: src, services: services, fam: fam}
		if slices.Equal(dst, outside) {
			f.to = []string{"outside"}
		} else {
			for _, p := range dst.prefixes() {
				f.to = append(f.to, prefixWord(p))
			}
		}
		var from []string
		for _, x := range r.From {
			if x.Line > 0 && (x.Match.States == 0 || x.Match.States&rules.New != 0) {
				from = append(from, x.Where())
			}
		}
		f.reason = "rules " + strings.Join(from, ", ")
		if len(from) == 0 {
			f.reason = "the chain's default"
		} else if len(f.reason) > 200 {
			f.reason = fmt.Sprintf("rules %s and %d more", strings.Join(from[:3], ", "), len(from)-3)
		}
		w.flows = append(w.flows, f)
	}
}

// leaves says whether a match is of packets that leave by the interfaces
// outside; decided is false where that holds for some of them only.
func (w *planWriter) leaves(out []rules.Interfaces) (leaves, decided bool) {
	if len(out) == 0 {
		return true, true
	}
	count := 0
	for _, name := range w.options.ifaces {
		if !slices.ContainsFunc(out, func(i rules.Interfaces) bool { return !i.Has(name) }) {
			count++
		}
	}
	return count > 0, len(w.options.ifaces) > 0 && (count == 0 || count == len(w.options.ifaces))
}

func prefixWord(p netip.Prefix) string {
	t := p.String()
	if p.IsSingleIP() {
		t = p.Addr().String()
	}
	if p.Addr().Is6() {
		return `"` + t + `"`
	}
	return t
}

// planServices writes services as a plan does; ok is false where some of an
// ICMP type's codes are meant.
func planServices(list []rules.Services, fam flow.Family) (out []string, ok bool) {
	set := []rules.ServiceRange{{Hi: rules.MaxService}}
	for _, s := range list {
		set = withinServices(set, s)
	}
	all := len(set) == 1 && set[0] == rules.ServiceRange{Hi: rules.MaxService}
	if all {
		return []string{"anything"}, true
	}
	for _, r := range set {
		for p := max(r.Lo.Proto(), 1); ; p++ {
			lo, hi := max(r.Lo, rules.ServiceOf(p, 0)), min(r.Hi, rules.ServiceOf(p, 0xffff))
			s := flow.Service{Proto: p, Lo: lo.Port(), Hi: hi.Port()}
			if p.IsICMP() {
				if s.Lo&255 != 0 || s.Hi&255 != 255 {
					return nil, false
				}
				s.Lo, s.Hi = s.Lo>>8, s.Hi>>8
			} else if !p.HasPorts() {
				s.Lo, s.Hi = 0, 0
			}
			if lo <= hi && p.Fits(fam) {
				out = append(out, s.String())
			}
			if p >= r.Hi.Proto() {
				break
			}
		}
	}
	return out, true
}

func withinServices(set []rules.ServiceRange, s rules.Services) (out []rules.ServiceRange) {
	in := slices.Clone(s.Ranges)
	slices.SortFunc(in, func(a, b rules.ServiceRange) int { return int(a.Lo) - int(b.Lo) })
	if s.Not {
		var not []rules.ServiceRange
		at := rules.Service(0)
		for _, r := range in {
			if r.Lo > at {
				not = append(not, rules.ServiceRange{Lo: at, Hi: r.Lo - 1})
			}
			at = max(at, r.Hi+1)
		}
		if at <= rules.MaxService {
			not = append(not, rules.ServiceRange{Lo: at, Hi: rules.MaxService})
		}
		in = not
	}
	for _, a := range set {
		for _, b := range in {
			if lo, hi := max(a.Lo, b.Lo), min(a.Hi, b.Hi); lo <= hi {
				out = append(out, rules.ServiceRange{Lo: lo, Hi: hi})
			}
		}
	}
	return out
}

// group is sources that the same flows name.
type planGroup struct {
	name    string
	members ranges
	written []netip.Prefix // what the plan lists: the longest prefix decides, so smaller groups may lie within
	flows   []bool
}

// write lists members by as few prefixes as can be: a group may cover smaller
// ones, whose prefixes are longer.
func write(groups []*planGroup) {
	bySize := slices.Clone(groups)
	slices.SortStableFunc(bySize, func(a, b *planGroup) int {
		return cmp.Compare(a.members.weight(), b.members.weight())
	})
	for i, g := range bySize {
		g.written = g.members.prefixes()
		for again := true; again; {
			again = false
			for _, h := range bySize[:i] {
				c := rangesOf(g.written...).plus(rangesOf(h.written...)).prefixes()
				if len(c) < len(g.written) && !slices.ContainsFunc(h.written, func(q netip.Prefix) bool { return !longer(q, c) }) {
					g.written, again = c, true
				}
			}
		}
	}
}

// longer says whether a prefix lies within one of the others that is shorter.
func longer(q netip.Prefix, in []netip.Prefix) bool {
	return slices.ContainsFunc(in, func(p netip.Prefix) bool { return p.Bits() < q.Bits() && p.Contains(q.Addr()) })
}

// groups cuts the sources so that each address is in exactly one group.
func (w *planWriter) groups() []*planGroup {
	var parts []*planGroup
	for i, f := range w.flows {
		rest := f.src
		for _, g := range parts {
			both := g.members.within(rest)
			if len(both) == 0 {
				continue
			}
			rest = rest.minus(both)
			if only := g.members.minus(both); len(only) > 0 {
				parts = append(parts, &planGroup{members: only, flows: slices.Clone(g.flows)})
			}
			g.members, g.flows[i] = both, true
		}
		if len(rest) > 0 {
			g := &planGroup{members: rest, flows: make([]bool, len(w.flows))}
			g.flows[i] = true
			parts = append(parts, g)
		}
	}
	byFlows := map[string]*planGroup{}
	var out []*planGroup
	for _, g := range parts {
		k := fmt.Sprint(g.flows)
		if x := byFlows[k]; x != nil {
			x.members = x.members.plus(g.members)
			continue
		}
		byFlows[k] = g
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b *planGroup) int { return a.members[0].Lo.Compare(b.members[0].Lo) })
	rest := w.inside
	for i, g := range out {
		rest = rest.minus(g.members)
		ps := g.members.prefixes()
		g.name = fmt.Sprintf("hosts-%d", i+1)
		if len(ps) == 1 {
			kind := "net-"
			if ps[0].IsSingleIP() {
				kind = "host-"
			}
			g.name = kind + strings.Trim(strings.NewReplacer(".", "-", ":", "-", "/", "-").Replace(strings.Trim(prefixWord(ps[0]), `"`)), "-")
		}
	}
	if len(rest) > 0 {
		out = append(out, &planGroup{name: "nothing-allowed", members: rest, flows: make([]bool, len(w.flows))})
	}
	write(out)
	return out
}

func (w *planWriter) text(file string) string {
	var b strings.Builder
	words := func(ps []netip.Prefix) string {
		var out []string
		for _, p := range ps {
			out = append(out, prefixWord(p))
		}
		return strings.Join(out, ", ")
	}
	groups := w.groups()
	names := []string{}
	for _, g := range groups {
		names = append(names, g.name)
	}
	fmt.Fprintf(&b, "# What %s lets pass from inside to outside, as declared flows.\n", safe(file))
	for _, l := range w.left {
		fmt.Fprintf(&b, "# Not here, since a plan cannot say it: %s\n", safe(l))
	}
	fmt.Fprintf(&b, "apiVersion: weir/v1\nkind: RolloutPlan\nmetadata: {name: %s, owner: %s}\ntimezone: UTC\nscope:\n  hooks: [forward]\n  inside: {prefixes: [%s]}\n",
		w.options.name, w.options.owner, words(w.inside.prefixes()))
	if len(w.options.ifaces) > 0 {
		fmt.Fprintf(&b, "  outside: {interfaces: [%s]}\n", strings.Join(quoted(w.options.ifaces), ", "))
	}
	b.WriteString("groups:\n")
	for _, g := range groups {
		fams := ""
		for _, f := range w.fams {
			if len(g.members.of(f)) == len(g.members) && len(w.inside.of(f)) < len(w.inside) {
				fams = ", families: [" + string(f) + "]"
			}
		}
		fmt.Fprintf(&b, "  %s: {members: [%s]%s, allow: declared}\n", g.name, words(g.written), fams)
	}
	b.WriteString(w.services())
	b.WriteString("declared:\n")
	for i, f := range w.flows {
		var from []string
		for _, g := range groups {
			if g.flows[i] {
				from = append(from, g.name)
			}
		}
		fmt.Fprintf(&b, "  - {name: rule-%d, from: [%s], to: [%s], services: [%s], families: [%s],\n     reason: %q}\n",
			i+1, strings.Join(from, ", "), strings.Join(f.to, ", "), strings.Join(f.services, ", "), f.fam, safe(f.reason))
	}
	fmt.Fprintf(&b, "enforce:\n  waves:\n    - {name: all, groups: [%s]}\n  leaveOpen: [unassigned]\n", strings.Join(names, ", "))
	return b.String()
}

// services names every protocol as one service, and lists of services that
// several flows have.
func (w *planWriter) services() string {
	uses := map[string]int{}
	anything := false
	for _, f := range w.flows {
		if len(f.services) > 1 {
			uses[strings.Join(f.services, ", ")]++
		}
		anything = anything || slices.Contains(f.services, "anything")
	}
	var b strings.Builder
	if anything {
		var all []string
		for p := 1; p < 256; p++ {
			all = append(all, flow.Proto(p).String())
		}
		fmt.Fprintf(&b, "  anything: [%s]\n", strings.Join(all, ", "))
	}
	n := 0
	for _, k := range slices.Sorted(maps.Keys(uses)) {
		if uses[k] < 2 {
			continue
		}
		n++
		name := fmt.Sprintf("services-%d", n)
		fmt.Fprintf(&b, "  %s: [%s]\n", name, k)
		for i := range w.flows {
			if strings.Join(w.flows[i].services, ", ") == k {
				w.flows[i].services = []string{name}
			}
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "services:\n" + b.String()
}

// quoted are names as YAML reads them back as text, whatever is in them.
func quoted(names []string) []string {
	var out []string
	for _, n := range names {
		if !plainName.MatchString(n) {
			n = strconv.Quote(n)
		}
		out = append(out, n)
	}
	return out
}

var plainName = regexp.MustCompile(`^[a-z][a-z0-9._-]*$`)
