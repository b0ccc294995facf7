package kernel

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// Compare says what of the table is not as it should be, read under one
// generation. Nothing is compared that changes in normal work: counters,
// timeouts, log memories, exceptions, quarantines, leases and which step trial
// and stable name. Without elements a set is compared by its type and, where
// the kernel says it (since Linux 6.17), the number of its elements. A table
// that does not exist is one difference.
func (k *Kernel) Compare(ctx context.Context, w *Want, elements bool) ([]nft.Difference, uint32, error) {
	var out []nft.Difference
	gen, err := k.c.stable(ctx, func() error {
		c := comparison{k: k, ctx: ctx, want: w, elements: elements}
		err := c.run()
		out = c.out
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("cannot compare table inet weir with what was recorded: %w", err)
	}
	slices.SortFunc(out, func(a, b nft.Difference) int { return cmp.Compare(a.Object, b.Object) })
	return out, gen, nil
}

// comparison is one reading of the table.
type comparison struct {
	k        *Kernel
	ctx      context.Context
	want     *Want
	elements bool
	out      []nft.Difference

	marks     map[string]uint32
	sets      map[string]setInfo
	anonymous map[string][]byte
	chains    map[string]*haveChain
}

type haveChain struct {
	base  string
	rules []haveRule
}

type haveRule struct {
	digest
	handle  uint64
	comment string
	list    []byte // expressions; only where asked for
}

func (h *haveChain) sum() digest {
	all := make([]digest, len(h.rules))
	for i, r := range h.rules {
		all[i] = r.digest
	}
	return chainDigest(h.base, all)
}

func (c *comparison) say(d nft.Difference) { c.out = append(c.out, d) }

func (c *comparison) run() error {
	present, flags, err := c.k.c.tableFlags(c.ctx, ours)
	if err != nil {
		return err
	}
	if !present {
		c.say(nft.Difference{Object: "table", What: nft.Missing})
		return nil
	}
	if flags&unix.NFT_TABLE_F_DORMANT != 0 {
		c.say(nft.Difference{Object: "table", What: nft.Dormant})
	}
	if c.marks, err = c.k.marks(c.ctx); err != nil {
		return err
	}
	if c.sets, err = c.k.c.sets(c.ctx, ours); err != nil {
		return err
	}
	for _, f := range []func() error{c.readChains, c.readRules, c.compareChains, c.compareSets, c.compareCounters, c.compareMaps} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) readChains() error {
	c.chains = map[string]*haveChain{}
	err := c.k.c.request(c.ctx, unix.NFT_MSG_GETCHAIN, true, func(w *wire) {
		w.str(unix.NFTA_CHAIN_TABLE, string(ours))
	}, func(p []byte) error {
		if text(attr(p, unix.NFTA_CHAIN_TABLE)) != string(ours) {
			return nil
		}
		h := &haveChain{}
		if hook := attr(p, unix.NFTA_CHAIN_HOOK); hook != nil {
			name := fmt.Sprintf("hook %d", be32(attr(hook, unix.NFTA_HOOK_HOOKNUM)))
			for n, v := range hookNumbers {
				if v == be32(attr(hook, unix.NFTA_HOOK_HOOKNUM)) {
					name = n
				}
			}
			policy := "accept"
			if be32(attr(p, unix.NFTA_CHAIN_POLICY)) == uint32(verdictCodes["drop"]) {
				policy = "drop"
			}
			h.base = fmt.Sprintf("type %s hook %s priority %d; policy %s", text(attr(p, unix.NFTA_CHAIN_TYPE)), name,
				int32(be32(attr(hook, unix.NFTA_HOOK_PRIORITY))), policy)
		}
		c.chains[text(attr(p, unix.NFTA_CHAIN_NAME))] = h
		return nil
	})
	return dumpErr("the chains", err)
}

// readRules reads the rules' digests.
func (c *comparison) readRules() error {
	c.anonymous = map[string][]byte{}
	for name, info := range c.sets {
		if !info.anonymous() {
			continue
		}
		sum, _, err := c.elementSum(info)
		if err != nil {
			return err
		}
		c.anonymous[name] = sum
	}
	return c.eachRule("", func(chain string, r haveRule) {
		h := sha256.New()
		canonical(h, r.list, c.listed)
		r.digest, r.list = digestOf(h), nil
		if have := c.chains[chain]; have != nil {
			have.rules = append(have.rules, r)
		}
	})
}

// listed is the digest of the anonymous set that a lookup names.
func (c *comparison) listed(lookup []byte) []byte {
	return c.anonymous[text(attr(lookup, unix.NFTA_LOOKUP_SET))]
}

// eachRule reads the rules of one chain, or of all; list lives until each
// returns.
func (c *comparison) eachRule(chain string, each func(chain string, r haveRule)) error {
	err := c.k.c.request(c.ctx, unix.NFT_MSG_GETRULE, true, func(w *wire) {
		w.str(unix.NFTA_RULE_TABLE, string(ours))
		if chain != "" {
			w.str(unix.NFTA_RULE_CHAIN, chain)
		}
	}, func(p []byte) error {
		if text(attr(p, unix.NFTA_RULE_TABLE)) != string(ours) {
			return nil
		}
		r := haveRule{handle: be64(attr(p, unix.NFTA_RULE_HANDLE)), list: attr(p, unix.NFTA_RULE_EXPRESSIONS)}
		if v := attr(p, unix.NFTA_RULE_USERDATA); len(v) > 2 && v[0] == 0 {
			r.comment = text(v[2:])
		}
		each(text(attr(p, unix.NFTA_RULE_CHAIN)), r)
		return nil
	})
	return dumpErr("the rules", err)
}

// elementSum is the digest of a set's elements, and their number.
func (c *comparison) elementSum(s setInfo) ([]byte, int, error) {
	sum := newElementSum()
	err := c.k.c.elements(c.ctx, ours, s.name, func(x *elemInfo) { sum.add(x.key, x.keyEnd, x.end, x.verdict, x.mark) })
	return sum.of(s.flags, s.key), sum.n, err
}

func (c *comparison) compareChains() error {
	for name, versions := range c.want.chains {
		have := c.chains[name]
		if have == nil {
			c.say(nft.Difference{Object: "chain " + name, What: nft.Missing, Before: pick(versions, c.marks).sum.String()})
			continue
		}
		if name == nft.UnblockChain {
			if err := c.compareUnblocks(have); err != nil {
				return err
			}
			continue
		}
		sum := have.sum()
		if slices.ContainsFunc(versions, func(v *wantChain) bool { return v.sum == sum }) {
			continue
		}
		want := pick(versions, c.marks)
		lines, err := c.chainLines(want, have)
		if err != nil {
			return err
		}
		c.say(nft.Difference{Object: "chain " + name, What: nft.Changed, Before: want.sum.String(), After: sum.String(), Lines: lines})
	}
	for name, have := range c.chains {
		if _, ok := c.want.chains[name]; ok {
			continue
		}
		if c.want.mine(name, c.marks) && (have.base == "" || strings.HasPrefix(name, "w_")) {
			continue // of a step that nothing leads to now
		}
		lines, err := c.chainLines(&wantChain{Chain: nft.Chain{Name: name}}, have)
		if err != nil {
			return err
		}
		c.say(nft.Difference{Object: "chain " + name, What: nft.Unexpected, After: have.sum().String(), Lines: lines})
	}
	return nil
}

// chainLines says which rules a chain lacks and which it has too many, each in
// its place.
func (c *comparison) chainLines(want *wantChain, have *haveChain) ([]string, error) {
	var out []string
	if want.base != have.base {
		if want.base != "" {
			out = append(out, "- "+want.base)
		}
		if have.base != "" {
			out = append(out, "+ "+have.base)
		}
	}
	words := map[uint64]string{}
	if err := c.eachRule(want.Name, func(chain string, r haveRule) {
		if chain == want.Name {
			words[r.handle] = describeRule(r.list, c.listed)
		}
	}); err != nil {
		return nil, err
	}
	// What both begin and end with is the same; between it, rules that occur on
	// both sides in the same order are, too.
	a, b := want.rules, have.rules
	at := 0
	for len(a) > 0 && len(b) > 0 && a[0] == b[0].digest {
		a, b, at = a[1:], b[1:], at+1
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1].digest {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(a) > 0 && len(b) > 0 && a[0] == b[0].digest:
			a, b, at = a[1:], b[1:], at+1
		case len(a) > 0 && !slices.ContainsFunc(b, func(r haveRule) bool { return r.digest == a[0] }):
			out = append(out, "- "+want.Rules[at].String())
			a, at = a[1:], at+1
		case len(b) > 0:
			out = append(out, fmt.Sprintf("+ %s # handle %d", words[b[0].handle], b[0].handle))
			b = b[1:]
		default:
			out = append(out, "- "+want.Rules[at].String())
			a, at = a[1:], at+1
		}
	}
	return out, nil
}

// compareUnblocks looks for rules that no exception made: each of weir's looks
// into the set of its own name and accepts.
func (c *comparison) compareUnblocks(have *haveChain) error {
	var lines []string
	err := c.eachRule(nft.UnblockChain, func(chain string, r haveRule) {
		if chain == nft.UnblockChain && !exceptionRule(r) {
			lines = append(lines, fmt.Sprintf("+ %s # handle %d", describeRule(r.list, c.listed), r.handle))
		}
	})
	if err == nil && len(lines) > 0 {
		c.say(nft.Difference{Object: "chain " + nft.UnblockChain, What: nft.Changed, After: have.sum().String(), Lines: lines})
	}
	return err
}

func exceptionRule(r haveRule) bool {
	looks, accepts := false, false
	for _, e := range attrs(r.list) {
		d := attr(e, unix.NFTA_EXPR_DATA)
		switch text(attr(e, unix.NFTA_EXPR_NAME)) {
		case "lookup":
			looks = r.comment != "" && text(attr(d, unix.NFTA_LOOKUP_SET)) == exceptionSet+r.comment && be32(attr(d, unix.NFTA_LOOKUP_FLAGS)) == 0
		case "immediate":
			v := attr(attr(d, unix.NFTA_IMMEDIATE_DATA), unix.NFTA_DATA_VERDICT)
			accepts = looks && v != nil && verdictKind(int32(be32(attr(v, unix.NFTA_VERDICT_CODE)))) == "accept"
		}
	}
	return accepts
}

func setKind(s setInfo) string {
	if s.flags&unix.NFT_SET_MAP != 0 {
		return "map "
	}
	return "set "
}

func (c *comparison) compareSets() error {
	for name, want := range c.want.sets {
		kind := "set "
		if want.Data != "" {
			kind = "map "
		}
		d := nft.Difference{Object: kind + name, What: nft.Changed}
		if !want.skeleton {
			d.Before = digest(want.sum).String()
		}
		have, ok := c.sets[name]
		switch {
		case !ok:
			d.What = nft.Missing
			c.say(d)
			continue
		case have.flags&^setExpr != want.flags() || have.key != want.layout.id:
			d.Lines = []string{fmt.Sprintf("- key type %#x, flags %#x", want.layout.id, want.flags()), fmt.Sprintf("+ key type %#x, flags %#x", have.key, have.flags)}
			c.say(d)
			continue
		case want.skeleton:
			continue
		case !c.elements && (have.count < 0 || want.Interval && !want.concat() || have.count == want.listed):
			continue
		}
		sum, _, err := c.elementSum(have)
		if err != nil {
			return err
		}
		if bytes.Equal(sum, want.sum) {
			continue
		}
		d.After = digest(sum).String()
		if d.Lines, err = c.setLines(want); err != nil {
			return err
		}
		c.say(d)
	}
	for name, have := range c.sets {
		if _, ok := c.want.sets[name]; ok || have.anonymous() || strings.HasPrefix(name, "w_") || contentName(name) ||
			c.marks[setMark(name)] != 0 || c.want.mine(name, c.marks) {
			continue
		}
		c.say(nft.Difference{Object: setKind(have) + name, What: nft.Unexpected})
	}
	return nil
}

// setExpr is the flag that the kernel adds to a set whose elements count.
const setExpr = 0x100 // NFT_SET_EXPR

// setLines says which elements a set lacks and which it has too many.
func (c *comparison) setLines(want *wantSet) ([]string, error) {
	have, err := c.readElements(want)
	if err != nil {
		return nil, err
	}
	n := map[string]int{}
	for _, e := range want.Elements {
		n["- "+nft.ElementText(want.Set, e)]++
	}
	for _, e := range have {
		t := nft.ElementText(want.Set, e)
		if n["- "+t] > 0 {
			n["- "+t]--
		} else {
			n["+ "+t]++
		}
	}
	var out []string
	for t, times := range n {
		for range times {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(a[2:], b[2:]), cmp.Compare(b[0], a[0])) })
	return out, nil
}

// readElements reads a set's elements as values: of a single field's ranges
// the first and the last key.
func (c *comparison) readElements(s *wantSet) ([]nft.Element, error) {
	type point struct {
		nft.Element
		end bool
	}
	var points []point
	if err := c.k.c.elements(c.ctx, ours, s.Name, func(x *elemInfo) {
		e := nft.Element{Key: bytes.Clone(x.key), KeyEnd: bytes.Clone(x.keyEnd), Mark: x.mark}
		if bytes.Equal(e.Key, e.KeyEnd) {
			e.KeyEnd = nil
		}
		if s.Data == nft.VerdictType && !x.end {
			v := x.verdict
			e.Verdict = &v
		}
		points = append(points, point{e, x.end})
	}); err != nil {
		return nil, err
	}
	single := s.Interval && !s.concat()
	if single {
		slices.SortStableFunc(points, func(a, b point) int { return bytes.Compare(a.Key, b.Key) })
	}
	var out []nft.Element
	for i, p := range points {
		if p.end {
			continue
		}
		if single {
			last := bytes.Repeat([]byte{0xff}, len(p.Key))
			for _, q := range points[i+1:] {
				if !bytes.Equal(q.Key, p.Key) {
					last = predecessor(q.Key)
					break
				}
			}
			if !bytes.Equal(last, p.Key) {
				p.KeyEnd = last
			}
		}
		out = append(out, p.Element)
	}
	return out, nil
}

func predecessor(k []byte) []byte {
	n := bytes.Clone(k)
	for i := len(n) - 1; i >= 0; i-- {
		n[i]--
		if n[i] != 0xff {
			break
		}
	}
	return n
}

func (c *comparison) compareCounters() error {
	have, err := c.k.c.counters(c.ctx, ours)
	if err != nil {
		return err
	}
	for _, name := range c.want.count {
		if _, ok := have[name]; !ok {
			c.say(nft.Difference{Object: "counter " + name, What: nft.Missing})
		}
	}
	return nil
}

// leads says whether a verdict may stand in a map of the skeleton that
// switches. Which step trial and stable name is the rollout's, but they may lead
// only to where a step begins, a group's map to its alert, and that of its open
// connections to what spares them.
func (w *Want) leads(name string, v nft.Verdict) bool {
	if g, ok := strings.CutPrefix(name, nft.BackMap("")); ok {
		return v == nft.Verdict{Kind: "goto", Chain: nft.AlertChain(g)}
	}
	if strings.HasPrefix(name, nft.SpareMap("")) {
		return v == nft.Verdict{Kind: "jump", Chain: "w_spare"}
	}
	h, trial := strings.CutPrefix(name, nft.TrialMap(""))
	if !trial {
		h = strings.TrimPrefix(name, nft.StableMap(""))
	}
	id := revisionOf(v.Chain)
	return v.Kind == "goto" && (w.hooks[h][v.Chain] || !w.ids[id] && w.known[id] && v.Chain == id+"_"+h) ||
		h == nft.HookNAT && v == nft.Verdict{Kind: "accept"}
}

// marks are the entries that the marker must have.
func (w *Want) marks() map[string]uint32 {
	out := map[string]uint32{}
	if len(w.ids) == 0 {
		return out
	}
	out["layout"] = nft.LayoutVersion
	for id := range w.ids {
		out[id] = 1
	}
	for name, s := range w.sets {
		if !s.skeleton {
			out[setMark(name)] = 1
		}
	}
	return out
}

// compareMaps looks at the maps that switch, and at the marker.
func (c *comparison) compareMaps() error {
	for h := range c.want.hooks {
		for _, name := range []string{nft.TrialMap(h), nft.StableMap(h)} {
			if err := c.compareMap(name); err != nil {
				return err
			}
		}
	}
	for g := range c.want.groups {
		for _, name := range []string{nft.BackMap(g), nft.SpareMap(g)} {
			if err := c.compareMap(name); err != nil {
				return err
			}
		}
	}
	var lines []string
	for key := range c.want.marks() {
		if c.marks[key] == 0 {
			lines = append(lines, "- "+key)
		}
	}
	if len(lines) > 0 && c.sets[nft.MarkerMap].name != "" {
		slices.Sort(lines)
		c.say(nft.Difference{Object: "map " + nft.MarkerMap, What: nft.Changed, Lines: lines})
	}
	return nil
}

func (c *comparison) compareMap(name string) error {
	if _, ok := c.sets[name]; !ok {
		return nil
	}
	var lines []string
	err := c.k.c.elements(c.ctx, ours, name, func(e *elemInfo) {
		if !c.want.leads(name, e.verdict) {
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("+ %s %s", e.verdict.Kind, e.verdict.Chain)))
		}
	})
	if len(lines) > 0 {
		slices.Sort(lines)
		c.say(nft.Difference{Object: "map " + name, What: nft.Changed, Lines: lines})
	}
	return err
}
