package kernel

import (
	"context"
	"fmt"

	"weir/nft"
	"weir/phases/flow"
)

type flowFamily = flow.Family

// verifySkeleton is nil where every object of the skeleton is there and every
// chain has as many rules as it should.
func verifySkeleton(sk nft.Ruleset, s state) error {
	for _, c := range sk.Counters {
		if _, ok := s.counters[c]; !ok {
			return fmt.Errorf("read back, counter %s is missing", c)
		}
	}
	for _, v := range sk.Sets {
		if _, ok := s.sets[v.Name]; !ok {
			return fmt.Errorf("read back, set %s is missing", v.Name)
		}
	}
	for _, c := range sk.Chains {
		if !s.chains[c.Name] {
			return fmt.Errorf("read back, chain %s is missing", c.Name)
		}
		if c.Name != nft.UnblockChain && s.rules[c.Name] != len(c.Rules) {
			return fmt.Errorf("read back, chain %s has %d rules instead of %d", c.Name, s.rules[c.Name], len(c.Rules))
		}
	}
	return nil
}

// verify is nil where every chain and set of the revision is there, with as
// many rules and elements as it should have.
func (k *Kernel) verify(ctx context.Context, rev nft.Revision, s state) error {
	for _, c := range rev.Ruleset.Chains {
		if !s.chains[c.Name] {
			return fmt.Errorf("read back, chain %s is missing", c.Name)
		}
		if s.rules[c.Name] != len(c.Rules) {
			return fmt.Errorf("read back, chain %s has %d rules instead of %d", c.Name, s.rules[c.Name], len(c.Rules))
		}
	}
	for i := range rev.Ruleset.Sets {
		if err := k.whole(ctx, &rev.Ruleset.Sets[i], s); err != nil {
			return err
		}
	}
	return nil
}

// whole is nil where a content set is there with all of its elements. Where
// the kernel does not say how many there are, they are counted.
func (k *Kernel) whole(ctx context.Context, v *nft.Set, s state) error {
	info, ok := s.sets[v.Name]
	if !ok {
		return fmt.Errorf("read back, set %s is missing", v.Name)
	}
	got := info.count
	if got < 0 || v.Interval && len(v.Key) == 1 {
		var err error
		if got, err = k.c.count(ctx, ours, v.Name); err != nil {
			return err
		}
	}
	if got != len(v.Elements) {
		return fmt.Errorf("read back, set %s has %d elements instead of %d", v.Name, got, len(v.Elements))
	}
	return nil
}
