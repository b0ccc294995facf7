package kernel_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/nft"
	"weir/nft/kernel"
)

// Fingerprints are the same in another namespace and after traffic, switches
// and exceptions; every change by hand shows, and only where it was made.
func TestFingerprints(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	n, k := newNS(t)
	rev := office(t)
	must(t, k.Load(ctx, wide(t, idB))) // other handles, other anonymous numbers
	must(t, k.Release(ctx, nil))
	must(t, k.Load(ctx, rev))
	must(t, l.Load(ctx, rev))
	take := func(k *kernel.Kernel) map[string]string {
		t.Helper()
		f, err := k.Fingerprints(ctx, true)
		must(t, err)
		return f
	}
	want := take(k)
	delete(want, "chain w_a_desks") // left by the other revision
	if d := cmp.Diff(want, take(l.Kernel)); d != "" {
		t.Errorf("in two namespaces:\n%s", d)
	}
	must(t, k.Release(ctx, []string{rev.ID}))
	before := take(k)
	must(t, l.Arm(ctx, nft.Arm{ID: rev.ID, Entry: rev.Entry, Tx: "a", Lease: time.Minute}))
	l.answers("tcp", good, true)
	must(t, l.AddException(ctx, exception("e1", "ipv4", "tcp/1", time.Hour)))
	if d := cmp.Diff(want, take(l.Kernel)); d != "" {
		t.Errorf("after use:\n%s", d)
	}
	dispatch := rev.ID + "_m"
	for _, c := range []struct{ cmd, where string }{
		{"add rule inet weir w_capture accept", "chain w_capture"},
		{"flush chain inet weir " + rev.ID + "_f", "chain " + rev.ID + "_f"},
		{"delete element inet weir " + dispatch + " { 02:00:5e:10:00:07 }", "set " + dispatch},
		{"chain inet weir w_base_f { policy drop; }", "chain w_base_f"},
	} {
		nftIn(t, n, c.cmd, "-f", "-")
		after := take(k)
		var changed []string
		for name, f := range after {
			if before[name] != f {
				changed = append(changed, name)
			}
		}
		if !slices.Equal(changed, []string{c.where}) {
			t.Errorf("%s changed %v", c.cmd, changed)
		}
		before = after
	}
}

func TestOthers(t *testing.T) {
	n, k := newNS(t)
	must(t, k.Load(context.Background(), narrow(t, idA)))
	nftIn(t, n, `table ip nat {
	chain post { type nat hook postrouting priority 100; policy accept; }
}
table inet fw {
	chain frontier { type filter hook forward priority -5; policy drop; }
	chain no_base {
	}
}`, "-f", "-")
	got, err := k.Others(context.Background())
	must(t, err)
	want := []kernel.BaseChain{
		{Family: "inet", Table: "fw", Name: "frontier", Type: "filter", Hook: "forward", Priority: -5, Drops: true},
		{Family: "ip", Table: "nat", Name: "post", Type: "nat", Hook: "postrouting", Priority: 100},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
