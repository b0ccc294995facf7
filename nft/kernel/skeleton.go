package kernel

import (
	"context"
	"fmt"

	"weir/nft"
)

// skeleton creates what is missing of the skeleton and replaces, in one
// transaction, the rules of those of its chains that differ. Base chains come
// last and only once.
func (k *Kernel) skeleton(ctx context.Context, sk nft.Ruleset, s state) error {
	if v := s.marks["layout"]; v > nft.LayoutVersion {
		return fmt.Errorf("the table was laid out by a newer weir (layout %d, this one knows %d); use that one", v, nft.LayoutVersion)
	}
	l := k.loader(ctx)
	if !s.present {
		l.b.addTable(ours)
	}
	for _, c := range sk.Counters {
		if _, ok := s.counters[c]; !ok {
			l.b.addCounter(ours, c)
			if err := l.room(); err != nil {
				return err
			}
		}
	}
	for _, c := range sk.Chains {
		if !s.chains[c.Name] && c.Hook == "" {
			if err := l.chain(c); err != nil {
				return err
			}
		}
	}
	for _, v := range sk.Sets {
		if _, ok := s.sets[v.Name]; ok {
			continue
		}
		w, err := newSet(v)
		if err != nil {
			return err
		}
		if err := l.set(&w); err != nil {
			return err
		}
	}
	var swap []nft.Chain
	sums := map[string]uint32{}
	for _, c := range sk.Chains {
		sum, err := checksum(c)
		if err != nil {
			return err
		}
		switch {
		case c.Name == nft.UnblockChain && s.chains[c.Name]:
			continue // its rules are the exceptions'
		case s.marks[chainMark(c.Name)] == sum && s.rules[c.Name] == len(c.Rules) && s.chains[c.Name]:
			continue
		case !s.chains[c.Name] && c.Hook == "":
			// New, so nothing leads there yet: any transaction will do.
			if err := l.rules(c); err != nil {
				return err
			}
			l.b.mark(s.marks, chainMark(c.Name), sum)
			if err := l.room(); err != nil {
				return err
			}
		default:
			swap = append(swap, c)
			sums[c.Name] = sum
		}
	}
	if err := l.flush(); err != nil {
		return err
	}
	if len(sums) == 0 && s.marks["layout"] == nft.LayoutVersion && s.marks[bootKey] != 0 {
		return nil
	}
	return k.swap(ctx, swap, sums, s)
}

// swap replaces the rules of chains that packets reach, creates base chains,
// and writes the checksums: one transaction.
func (k *Kernel) swap(ctx context.Context, swap []nft.Chain, sums map[string]uint32, s state) error {
	b := newBatch(false)
	for _, c := range swap {
		if s.chains[c.Name] {
			b.flushChain(ours, c.Name)
		} else if err := b.addChain(ours, c); err != nil {
			return err
		}
	}
	for _, c := range swap {
		for _, r := range c.Rules {
			if err := b.addRule(ours, c.Name, r); err != nil {
				return err
			}
		}
	}
	b.mark(s.marks, "layout", nft.LayoutVersion)
	if s.marks[bootKey] == 0 {
		b.mark(s.marks, bootKey, bootMark(s.boot))
	}
	for name, sum := range sums {
		b.mark(s.marks, chainMark(name), sum)
	}
	return k.c.transact(ctx, b.finish(true))
}

// mark sets one entry of the marker map; have is what the map holds now.
func (b *batch) mark(have map[string]uint32, key string, v uint32) {
	switch old, ok := have[key]; {
	case ok && old == v:
		return
	case ok:
		b.put(ours, markSet(nft.MarkerMap), delElem, 0, nft.Element{Key: ifname(key)})
	}
	b.put(ours, markSet(nft.MarkerMap), newElem, create, markElement(key, v))
}
