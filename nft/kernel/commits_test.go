package kernel_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"weir/nft/kernel"
	"weir/nft/netns"
)

func listen(t testing.TB, n *netns.NS) *kernel.Commits {
	t.Helper()
	c, err := kernel.Listen(kernel.Options{NetNS: n.FD()})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// The kernel names who changed the ruleset, and of each of our own changes that
// it came from our own socket. Objects alone are not told.
func TestCommits(t *testing.T) {
	n, k := newNS(t)
	c := listen(t, n)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	must(t, k.Load(ctx, office(t)))
	after, err := k.Gen(ctx)
	must(t, err)
	var last kernel.Commit
	for last.Gen != after {
		if last, err = c.Next(ctx); err != nil {
			t.Fatal(err)
		}
		if last.Port != k.Port() || last.PID == 0 {
			t.Fatalf("our own change is %+v, our socket is %d", last, k.Port())
		}
	}
	nftIn(t, n, "add rule inet weir w_capture accept", "-f", "-")
	got, err := c.Next(ctx)
	must(t, err)
	if got.Gen != after+1 || got.Name != "nft" || got.PID == 0 || got.Port == k.Port() {
		t.Errorf("another program's change is %+v", got)
	}
}

// Messages that nobody read are lost; that is said, and the next ones come.
func TestCommitsSurviveLoss(t *testing.T) {
	n, k := newNS(t)
	c := listen(t, n)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	must(t, c.SetBuffer(4096))
	must(t, k.Load(ctx, office(t)))
	for i := range 200 {
		must(t, k.Quarantine(ctx, prefixes("10.20.16.10")[0].Addr(), time.Hour+time.Duration(i)*time.Second))
	}
	missed := false
	for !missed {
		_, err := c.Next(ctx)
		if errors.Is(err, kernel.ErrMissed) {
			missed = true
		} else {
			must(t, err)
		}
	}
	after, err := k.Gen(ctx)
	must(t, err)
	nftIn(t, n, "add table inet other", "-f", "-")
	for {
		got, err := c.Next(ctx)
		must(t, err)
		if got.Gen == after+1 {
			break
		}
	}
}
