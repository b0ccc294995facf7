package kernel

import (
	"context"

	"weir/nft"
)

// chunk is how much one loading transaction holds at most. Larger ones are not
// faster, and every socket takes this much.
const chunk = 160 << 10

// loader spreads what it is given over as many transactions as it takes. What
// it writes must be unreachable for packets until all of it is there.
type loader struct {
	ctx  context.Context
	c    *conn
	b    *batch
	sent int // transactions
}

func (k *Kernel) loader(ctx context.Context) *loader {
	return &loader{ctx: ctx, c: k.c, b: newBatch(false)}
}

// room sends what is there when it has grown enough.
func (l *loader) room() error {
	if len(l.b.wire) < min(chunk, l.c.room)-listRoom-4096 {
		return nil
	}
	return l.flush()
}

func (l *loader) flush() error {
	if l.b.empty() {
		return nil
	}
	if err := l.c.transact(l.ctx, l.b.finish(true)); err != nil {
		return err
	}
	l.sent++
	l.b.reset()
	return nil
}

// set adds a set with its elements.
func (l *loader) set(s *set) error {
	e, err := s.elements()
	if err != nil {
		return err
	}
	l.b.addSet(ours, s)
	for len(e.list) > 0 {
		if err := l.room(); err != nil {
			return err
		}
		e = l.b.elementMessage(ours, s, newElem, create, e)
	}
	return l.room()
}

func (l *loader) chain(c nft.Chain) error {
	if err := l.b.addChain(ours, c); err != nil {
		return err
	}
	return l.room()
}

func (l *loader) rules(c nft.Chain) error {
	for _, r := range c.Rules {
		if err := l.b.addRule(ours, c.Name, r); err != nil {
			return err
		}
		if err := l.room(); err != nil {
			return err
		}
	}
	return nil
}
