package kernel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// Repair puts back what Compare found: rules, elements, policies, maps that
// lead elsewhere, and a table that was switched off; what was added is taken
// out. tx becomes the last transaction. Only what differs is written, what
// packets pass through in one transaction, so that no packet meets a half. It
// does not make a table that is gone. nil means sent; compare again to know.
func (k *Kernel) Repair(ctx context.Context, w *Want, diffs []nft.Difference, tx string) error {
	if err := checkTx(tx); err != nil {
		return fmt.Errorf("cannot repair: %w", err)
	}
	if err := k.repair(ctx, w, diffs, tx); err != nil {
		return fmt.Errorf("cannot repair table inet weir: %w", err)
	}
	return nil
}

func (k *Kernel) repair(ctx context.Context, w *Want, diffs []nft.Difference, tx string) error {
	s, err := k.state(ctx)
	if err != nil {
		return err
	}
	if !s.present {
		return errors.New("it is gone as a whole; put it back: weir restore")
	}
	r := mending{k: k, ctx: ctx, w: w, s: s, b: newBatch(false)}
	if err := r.unreachable(diffs); err != nil {
		return err
	}
	for _, f := range []func(nft.Difference) error{r.flush, r.sets, r.fill, r.remove} {
		for _, d := range diffs {
			if err := f(d); err != nil {
				return fmt.Errorf("%s: %w", d, err)
			}
		}
	}
	r.b.setTx(tx, nft.TxLoad)
	if err := k.c.transact(ctx, r.b.finish(true)); err != nil && !errors.Is(err, errLost) {
		return err
	}
	if !s.dormant {
		return nil
	}
	b := newBatch(false)
	b.wake(ours)
	if err := k.c.transact(ctx, b.finish(true)); err != nil && !errors.Is(err, errLost) {
		return err
	}
	return nil
}

// wake writes: add table inet weir, with no flag
func (b *batch) wake(t table) {
	b.add(unix.NFT_MSG_NEWTABLE, create, func(w *wire) {
		w.str(unix.NFTA_TABLE_NAME, string(t))
		w.u32(unix.NFTA_TABLE_FLAGS, 0)
	})
}

// mending is a Repair in progress; b is what packets notice.
type mending struct {
	k   *Kernel
	ctx context.Context
	w   *Want
	s   state
	b   *batch
}

func split(d nft.Difference) (kind, name string) {
	kind, name, _ = strings.Cut(d.Object, " ")
	return kind, name
}

// unreachable adds what is gone and what nothing leads to yet: counters, chains
// without rules, sets.
func (m *mending) unreachable(diffs []nft.Difference) error {
	l := m.k.loader(m.ctx)
	for _, d := range diffs {
		kind, name := split(d)
		if d.What != nft.Missing {
			continue
		}
		switch kind {
		case "counter":
			l.b.addCounter(ours, name)
		case "chain":
			if c := pick(m.w.chains[name], m.s.marks); c.Hook == "" {
				if err := l.chain(nft.Chain{Name: name}); err != nil {
					return err
				}
			}
		}
	}
	for _, d := range diffs { // maps may lead to the chains
		kind, name := split(d)
		if d.What == nft.Missing && (kind == "set" || kind == "map") {
			if err := l.set(&m.w.sets[name].set); err != nil {
				return err
			}
		}
	}
	return l.flush()
}

// flush empties the chains that differ; those that were added may lead to one
// another.
func (m *mending) flush(d nft.Difference) error {
	kind, name := split(d)
	if kind != "chain" {
		return nil
	}
	switch {
	case name == nft.UnblockChain && d.What == nft.Changed:
		return m.unblocks()
	case d.What != nft.Missing:
		m.b.flushChain(ours, name)
	}
	return nil
}

// unblocks deletes the rules that no exception made.
func (m *mending) unblocks() error {
	c := comparison{k: m.k, ctx: m.ctx, want: m.w}
	return c.eachRule(nft.UnblockChain, func(chain string, r haveRule) {
		if chain == nft.UnblockChain && !exceptionRule(r) {
			m.b.deleteRule(ours, chain, r.handle)
		}
	})
}

// fill gives chains their policy and their rules.
func (m *mending) fill(d nft.Difference) error {
	kind, name := split(d)
	if kind != "chain" || d.What == nft.Unexpected || name == nft.UnblockChain && d.What == nft.Changed {
		return nil
	}
	c := pick(m.w.chains[name], m.s.marks)
	if c.Hook != "" {
		if moved := d.What == nft.Changed && slices.ContainsFunc(d.Lines, func(l string) bool {
			text, added := strings.CutPrefix(l, "+ type ")
			return added && !strings.HasPrefix("type "+text, strings.TrimSuffix(c.base, "accept"))
		}); moved {
			m.b.deleteChain(ours, name)
		}
		if err := m.b.addChain(ours, c.Chain); err != nil {
			return err
		}
	}
	for _, r := range c.Rules {
		if err := m.b.addRule(ours, name, r); err != nil {
			return err
		}
	}
	if c.skeleton {
		sum, err := checksum(c.Chain)
		if err != nil {
			return err
		}
		m.b.mark(m.s.marks, chainMark(name), sum)
		m.s.marks[chainMark(name)] = sum
	}
	return nil
}

// sets makes the elements those that were recorded.
func (m *mending) sets(d nft.Difference) error {
	kind, name := split(d)
	if kind != "set" && kind != "map" || d.What != nft.Changed {
		return nil
	}
	if name == nft.MarkerMap {
		for key, v := range m.w.marks() {
			if m.s.marks[key] == 0 {
				m.b.mark(m.s.marks, key, v)
			}
		}
		return nil
	}
	want, ok := m.w.sets[name]
	if !ok {
		return nil
	}
	if strings.HasPrefix(strings.Join(d.Lines, "\n"), "- key type") {
		// Of another type: somebody deleted it and made it anew, so nothing of
		// ours leads there but what this transaction writes.
		m.b.deleteSet(ours, name)
		m.b.addSet(ours, &want.set)
		e, err := want.elements()
		for len(e.list) > 0 {
			e = m.b.elementMessage(ours, &want.set, newElem, create, e)
		}
		return err
	}
	if want.skeleton {
		return m.switches(want)
	}
	return m.elements(want)
}

// elements deletes what is too many and adds what is lacking.
func (m *mending) elements(want *wantSet) error {
	list, err := want.elements()
	if err != nil {
		return err
	}
	type raw struct {
		nft.Element
		end bool
	}
	ranges := want.Interval && want.concat()
	key := func(e nft.Element, end bool) string {
		last := ""
		if ranges {
			last = string(e.Key)
			if e.KeyEnd != nil {
				last = string(e.KeyEnd)
			}
		}
		v := nft.Verdict{}
		if e.Verdict != nil && !end {
			v = *e.Verdict
		}
		return fmt.Sprintf("%q %q %t %v %d", e.Key, last, end, v, e.Mark)
	}
	lacking := map[string]raw{}
	for i, e := range list.list {
		end := list.end != nil && list.end[i]
		lacking[key(e, end)] = raw{e, end}
	}
	var extra []raw
	if err := m.k.c.elements(m.ctx, ours, want.Name, func(x *elemInfo) {
		e := nft.Element{Key: slices.Clone(x.key), KeyEnd: slices.Clone(x.keyEnd), Mark: x.mark}
		if x.verdict.Kind != "" {
			v := x.verdict
			e.Verdict = &v
		}
		if k := key(e, x.end); lacking[k].Key != nil {
			delete(lacking, k)
		} else {
			extra = append(extra, raw{e, x.end})
		}
	}); err != nil {
		return err
	}
	write := func(msg, flags uint16, all []raw) {
		var e elems
		for _, r := range all {
			e.list, e.end = append(e.list, r.Element), append(e.end, r.end)
		}
		for len(e.list) > 0 {
			e = m.b.elementMessage(ours, &want.set, msg, flags, e)
		}
	}
	write(delElem, 0, extra)
	var add []raw
	for _, i := range sortedKeys(lacking) {
		add = append(add, lacking[i])
	}
	write(newElem, create, add)
	return nil
}

// switches takes out of a map of the skeleton what leads where nothing of weir
// leads. What is stable is led to the beginning of the step whose middle it
// names.
func (m *mending) switches(want *wantSet) error {
	var wrong []nft.Element
	var right []nft.Element
	err := m.k.c.elements(m.ctx, ours, want.Name, func(e *elemInfo) {
		if m.w.leads(want.Name, e.verdict) {
			return
		}
		wrong = append(wrong, nft.Element{Key: slices.Clone(e.key)})
		hook, stable := strings.CutPrefix(want.Name, nft.StableMap(""))
		id := revisionOf(e.verdict.Chain)
		for chain := range m.w.hooks[hook] {
			if stable && id != "" && revisionOf(chain) == id {
				right = append(right, nft.Element{Key: slices.Clone(e.key), Verdict: &nft.Verdict{Kind: "goto", Chain: chain}})
			}
		}
	})
	m.b.put(ours, &want.set, delElem, 0, wrong...)
	m.b.put(ours, &want.set, newElem, create, right...)
	return err
}

// remove takes out what was added: sets first, a map may lead to a chain.
func (m *mending) remove(d nft.Difference) error {
	kind, name := split(d)
	if d.What != nft.Unexpected {
		return nil
	}
	if kind == "chain" {
		m.b.deleteChain(ours, name)
	} else {
		m.b.deleteSet(ours, name)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
