package compile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"

	"weir/nft"
)

// Unassigned is the group of every inside source that is in no other group.
const Unassigned = "unassigned"

// placeholder stands for the revision's ID while it is being built.
const placeholder = "r000000000000"

// Defaults of the log groups and the honeypot's port, where the input has 0.
const (
	defaultLogGroup     = 100
	defaultVerdictGroup = 101
	defaultHoneypotPort = 2323
)

// Compile returns the complete ruleset of one step. Equal input, in whatever
// order its lists are, gives an equal revision. The group
// "unassigned" is added in alert where it is missing.
func Compile(in Input) (nft.Revision, error) {
	b, err := newBuilder(in)
	if err != nil {
		return nft.Revision{}, err
	}
	for _, h := range b.hooks {
		b.entry(h)
	}
	b.shared()
	for _, g := range b.groups {
		b.group(g)
	}
	letters := slices.Clone(b.hooks)
	if b.redirects() {
		b.nat()
		letters = append(letters, nft.HookNAT)
	}
	if b.content.err != nil {
		return nft.Revision{}, b.content.err
	}
	var names []string
	for _, g := range b.groups {
		names = append(names, g.Name)
	}
	honeypot := uint16(0)
	if slices.Contains(letters, nft.HookNAT) {
		honeypot = b.in.HoneypotPort
	}
	rev := nft.Revision{
		ID:       placeholder,
		Skeleton: skeleton(letters, names, b.shadowedGroups(), b.in.LogGroup, b.in.VerdictGroup, honeypot),
		Ruleset:  nft.Ruleset{Family: "inet", Table: nft.TableName, Sets: append(b.content.sorted(), b.sets...), Chains: b.chains},
		Entry:    map[string]string{},
		Groups:   names,
	}
	for _, h := range letters {
		rev.Entry[h] = placeholder + "_" + h
	}
	rename(&rev, b.digest(rev))
	return rev, nil
}

// builder collects one revision's chains and sets.
type builder struct {
	in      Input
	hooks   []string // letters of the filter hooks
	groups  []Group  // sorted by name
	rules   map[string][]tuple
	content *content
	sets    []nft.Set // maps that name chains of this revision
	chains  []nft.Chain
	inside  [2]string // names of the sets of inside prefixes, "" where there are none
	outside [2]string
}

func newBuilder(in Input) (*builder, error) {
	in.LogGroup = cmp.Or(in.LogGroup, defaultLogGroup)
	in.VerdictGroup = cmp.Or(in.VerdictGroup, defaultVerdictGroup)
	in.HoneypotPort = cmp.Or(in.HoneypotPort, defaultHoneypotPort)
	b := &builder{in: in, content: newContent(), rules: map[string][]tuple{}}
	for _, h := range []string{"forward", "output"} {
		if slices.Contains(in.Scope.Hooks, h) {
			b.hooks = append(b.hooks, h[:1])
		}
	}
	for _, h := range in.Scope.Hooks {
		if h != "forward" && h != "output" {
			return nil, fmt.Errorf("cannot compile hook %q: want forward or output", h)
		}
	}
	if len(b.hooks) == 0 {
		return nil, fmt.Errorf("cannot compile a scope without hooks: want forward, output or both")
	}
	if !slices.Contains([]string{"", "observe", "refuse", "ignore"}, in.Scope.Inbound) {
		return nil, fmt.Errorf("cannot compile inbound %q: want observe, refuse or ignore", in.Scope.Inbound)
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	b.groups = slices.Clone(in.Groups)
	if !slices.ContainsFunc(b.groups, func(g Group) bool { return g.Name == Unassigned }) {
		b.groups = append(b.groups, Group{Name: Unassigned, Treatment: Alert})
	}
	slices.SortFunc(b.groups, func(x, y Group) int { return cmp.Compare(x.Name, y.Name) })
	if err := b.checkGroups(); err != nil {
		return nil, err
	}
	known := func(name string) bool {
		return slices.ContainsFunc(b.groups, func(g Group) bool { return g.Name == name })
	}
	for _, n := range in.Never {
		if n.Group != "" && !known(n.Group) {
			return nil, fmt.Errorf("cannot compile never %s: there is no group %q", n.Name, n.Group)
		}
		if n.Deny != "" && !n.Deny.Denies() {
			return nil, fmt.Errorf("cannot compile never %s: deny %q: want drop, reject or honeypot", n.Name, n.Deny)
		}
	}
	for _, r := range in.Policy.Rules {
		if !known(r.Group) {
			return nil, fmt.Errorf("cannot compile a rule: there is no group %q", r.Group)
		}
		if len(r.Services) == 0 {
			return nil, fmt.Errorf("cannot compile a rule of group %s without services: name at least one", r.Group)
		}
		b.rules[r.Group] = append(b.rules[r.Group], tuple{from: r.Endpoints, to: r.To, services: r.Services, fams: r.Families})
	}
	for i, f := range families {
		b.inside[i] = b.prefixSet(in.Scope.Inside, f)
		b.outside[i] = b.prefixSet(in.Scope.Outside, f)
	}
	return b, nil
}

func (b *builder) checkGroups() error {
	byPrefix, byMAC, byIface := map[netip.Prefix]string{}, map[string]string{}, map[string]string{}
	self, byUID := "", map[uint32]string{}
	for i, g := range b.groups {
		if i > 0 && b.groups[i-1].Name == g.Name {
			return fmt.Errorf("cannot compile group %s twice: give one of them another name", g.Name)
		}
		switch g.Treatment {
		case Open, Alert, Drop, Reject, Honeypot:
		default:
			return fmt.Errorf("cannot compile group %s: unknown treatment %q", g.Name, g.Treatment)
		}
		if g.Share < 0 || g.Share > 100 {
			return fmt.Errorf("cannot compile group %s: a share of %d%% is not between 1 and 100", g.Name, g.Share)
		}
		if g.partial() && g.ShareBy != "mac" && g.ShareBy != "ipv4" {
			return fmt.Errorf("cannot compile group %s: share by %q: want mac or ipv4", g.Name, g.ShareBy)
		}
		for _, p := range g.Members {
			if o, ok := byPrefix[clean(p)]; ok && o != g.Name {
				return fmt.Errorf("cannot compile groups %s and %s: both have %s", o, g.Name, p)
			}
			byPrefix[clean(p)] = g.Name
		}
		for _, m := range g.MACs {
			k, err := parseMAC(m)
			if err != nil {
				return fmt.Errorf("cannot compile group %s: %w", g.Name, err)
			}
			if o, ok := byMAC[string(k)]; ok && o != g.Name {
				return fmt.Errorf("cannot compile groups %s and %s: both have %s", o, g.Name, m)
			}
			byMAC[string(k)] = g.Name
		}
		for _, n := range g.Ifaces {
			if o, ok := byIface[n]; ok && o != g.Name {
				return fmt.Errorf("cannot compile groups %s and %s: both have interface %s", o, g.Name, n)
			}
			byIface[n] = g.Name
		}
		if !g.Self {
			continue
		}
		for _, u := range g.UIDs {
			if o, ok := byUID[u]; ok && o != g.Name {
				return fmt.Errorf("cannot compile groups %s and %s: both have user %d", o, g.Name, u)
			}
			byUID[u] = g.Name
		}
		if len(g.UIDs) == 0 {
			if self != "" {
				return fmt.Errorf("cannot compile groups %s and %s: both are this machine's own output; give one of them users", self, g.Name)
			}
			self = g.Name
		}
	}
	return nil
}

// partial says whether the treatment applies to a share only.
func (g Group) partial() bool { return g.Share > 0 && g.Share < 100 }

// denies says whether any group denies anything in this step.
func (b *builder) denies() bool {
	return !b.in.Off && slices.ContainsFunc(b.groups, func(g Group) bool { return g.Treatment.Denies() })
}

func (b *builder) name(suffix string) string { return placeholder + "_" + suffix }

func (b *builder) chain(suffix string, rules ...nft.Rule) {
	b.chains = append(b.chains, nft.Chain{Name: b.name(suffix), Rules: rules})
}

// prefixSet makes a set of the prefixes of one family, "" where there are none.
func (b *builder) prefixSet(list []netip.Prefix, f family) string {
	own := ofFamily(list, f)
	if len(own) == 0 {
		return ""
	}
	return b.content.prefixes(own, f)
}

func ofFamily(list []netip.Prefix, f family) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		if p = clean(p); familyOf(p).fam == f.fam {
			out = append(out, p)
		}
	}
	return sortPrefixes(out)
}

// digest is the revision's ID: of its text, in which the content sets stand as
// the digests of what is in them.
func (b *builder) digest(rev nft.Revision) string {
	h := sha256.New()
	small := rev.Ruleset
	small.Sets = slices.Clone(b.sets)
	rev.Skeleton.WriteTo(h) //nolint:errcheck // a hash cannot fail
	small.WriteTo(h)        //nolint:errcheck
	for _, s := range b.content.sorted() {
		sum := b.content.sums[s.Name]
		h.Write(sum[:])
	}
	fmt.Fprintln(h, rev.Groups)
	return "r" + hex.EncodeToString(h.Sum(nil)[:6])
}

// rename puts the revision's ID where the placeholder stands.
func rename(rev *nft.Revision, id string) {
	re := func(s string) string {
		if len(s) > len(placeholder) && s[:len(placeholder)] == placeholder {
			return id + s[len(placeholder):]
		}
		return s
	}
	seen := map[*nft.Verdict]bool{}
	for i := range rev.Ruleset.Sets {
		s := &rev.Ruleset.Sets[i]
		s.Name = re(s.Name)
		for _, e := range s.Elements {
			if e.Verdict != nil && !seen[e.Verdict] {
				e.Verdict.Chain, seen[e.Verdict] = re(e.Verdict.Chain), true
			}
		}
	}
	for i := range rev.Ruleset.Chains {
		c := &rev.Ruleset.Chains[i]
		c.Name = re(c.Name)
		for _, r := range c.Rules {
			for k, s := range r.Stmts {
				switch s := s.(type) {
				case nft.Verdict:
					s.Chain = re(s.Chain)
					r.Stmts[k] = s
				case nft.Vmap:
					s.Map = re(s.Map)
					r.Stmts[k] = s
				}
			}
		}
	}
	for h, c := range rev.Entry {
		rev.Entry[h] = re(c)
	}
	rev.ID = id
}
