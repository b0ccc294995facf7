package kernel_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"weir/nft"
)

func TestArmLapseConfirmRollback(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	l.answers("tcp", bad, true)
	rev := narrow(t, idA)
	must(t, l.Load(ctx, rev))
	l.answers("tcp", bad, true)

	const lease = 700 * time.Millisecond
	start := time.Now()
	must(t, l.Arm(ctx, nft.Arm{ID: idA, Entry: rev.Entry, Tx: "t1", Lease: lease}))
	look, err := l.Look(ctx)
	must(t, err)
	if id, ok := nft.One(look.Trial); !ok || id != idA || look.Tx != "t1" || look.Kind != nft.TxArm || look.Left <= 0 || look.Left > lease {
		t.Errorf("look after arming: %+v", look)
	}
	if !slices.Equal(look.Loaded, []string{idA}) || look.Layout != nft.LayoutVersion {
		t.Errorf("loaded %v, layout %d", look.Loaded, look.Layout)
	}
	l.answers("tcp", good, true)
	l.answers("udp", bad, false)
	l.Kernel.Close() // nobody of ours is left
	time.Sleep(time.Until(start.Add(lease + 50*time.Millisecond)))
	l.answers("tcp", bad, true)

	l.Kernel = open(t, l.Gateway)
	err = l.Confirm(ctx, nft.Confirm{ID: idA, Entry: rev.Entry, Tx: "t2"})
	if !errors.Is(err, nft.ErrLapsed) {
		t.Errorf("confirming after the lapse: %v", err)
	}
	look, err = l.Look(ctx)
	must(t, err)
	if id, ok := nft.One(look.Stable); !ok || id != "" || look.Tx != "t1" {
		t.Errorf("a late confirm changed something: %+v", look)
	}

	must(t, l.Arm(ctx, nft.Arm{ID: idA, Entry: rev.Entry, Tx: "t3", Lease: lease}))
	must(t, l.Confirm(ctx, nft.Confirm{ID: idA, Entry: rev.Entry, Tx: "t4"}))
	time.Sleep(lease)
	l.answers("tcp", good, true)
	l.answers("tcp", bad, false)

	must(t, l.Rollback(ctx, nft.Rollback{Hooks: []string{"f"}, Tx: "t5", Kind: nft.TxRollback}))
	l.answers("tcp", bad, true)
	look, err = l.Look(ctx)
	must(t, err)
	if look.Tx != "t5" || look.Kind != nft.TxRollback {
		t.Errorf("look after rolling back: %+v", look)
	}
}
