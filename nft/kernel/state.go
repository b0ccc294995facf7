package kernel

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// state is everything of our table that loading has to know.
type state struct {
	boot     string // id of this boot
	present  bool
	dormant  bool
	sets     map[string]setInfo
	chains   map[string]bool
	rules    map[string]int // chain → rules
	counters map[string]nft.CounterValue
	marks    map[string]uint32
}

func (k *Kernel) state(ctx context.Context) (state, error) {
	boot, err := bootID()
	if err != nil {
		return state{}, err
	}
	var s state
	_, err = k.c.stable(ctx, func() error {
		s = state{boot: boot, rules: map[string]int{}}
		present, flags, err := k.c.tableFlags(ctx, ours)
		if err != nil || !present {
			return err
		}
		s.present, s.dormant = true, flags&unix.NFT_TABLE_F_DORMANT != 0
		if s.sets, err = k.c.sets(ctx, ours); err != nil {
			return err
		}
		if s.chains, err = k.c.chains(ctx, ours); err != nil {
			return err
		}
		if err = k.c.rules(ctx, ours, "", func(r ruleInfo) { s.rules[r.chain]++ }); err != nil {
			return err
		}
		if s.counters, err = k.c.counters(ctx, ours); err != nil {
			return err
		}
		s.marks, err = k.marks(ctx)
		return err
	})
	if err != nil {
		return state{}, fmt.Errorf("cannot read table inet weir: %w", err)
	}
	return s, nil
}
