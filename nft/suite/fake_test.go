package suite_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/fake"
	"weir/nft/suite"
	"weir/phases/flow"
)

func startFake(testing.TB) suite.Subject {
	now := time.Unix(1e9, 0)
	k := fake.New(func() time.Time { return now })
	return suite.Subject{
		K:    k,
		Wait: func(d time.Duration) { now = now.Add(d) },
		Judge: func(t testing.TB, want suite.Decision) {
			t.Helper()
			for _, h := range suite.Hooks {
				for _, f := range []flow.Family{flow.IPv4, flow.IPv6} {
					if got := k.Decides(h, f); got != suite.ID(want.Revision) {
						t.Errorf("hook %s %s is decided by %q, want %q", h, f, got, want.Revision)
					}
				}
			}
		},
		ByHand: func(r nft.Rollback) error {
			r.Kind = nft.TxHold
			if l, err := k.Look(context.Background()); err != nil || !l.Present {
				return errors.New("nft: no such table")
			}
			if err := k.Rollback(context.Background(), r); err != nil {
				return fmt.Errorf("nft: %v", err)
			}
			return nil
		},
		Foreign: func() error { return nil },
	}
}

func TestFake(t *testing.T) { suite.Run(t, startFake) }
