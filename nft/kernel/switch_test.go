package kernel_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/kernel"
	"weir/nft/netns"
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

func TestArmRefuses(t *testing.T) {
	ctx := context.Background()
	n, k := newNS(t)
	a, b := narrow(t, idA), wide(t, idB)
	arm := func(rev nft.Revision, over string) error {
		return k.Arm(ctx, nft.Arm{ID: rev.ID, Entry: rev.Entry, Tx: "t" + rev.ID[12:], Lease: time.Minute, Over: over})
	}
	wants := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	wants("without a table", arm(a, ""), nft.ErrNotLoaded)
	must(t, k.Load(ctx, a))
	before := nftIn(t, n, "", "list", "table", "inet", "weir")
	wants("another revision", arm(b, ""), nft.ErrNotLoaded)
	wants("over another", arm(a, idB), nft.ErrChanged)
	if after := nftIn(t, n, "", "list", "table", "inet", "weir"); after != before {
		t.Errorf("a refused arm changed the table:\n%s", after)
	}
	must(t, k.Load(ctx, b))
	must(t, arm(a, ""))
	wants("a second trial", arm(b, ""), nft.ErrPending)
	wants("confirming another", k.Confirm(ctx, nft.Confirm{ID: idB, Entry: b.Entry, Tx: "c"}), nft.ErrChanged)
	wants("rolling back to what is not there", k.Rollback(ctx, nft.Rollback{ID: "r00000000000c",
		Entry: map[string]string{"f": "r00000000000c_f"}, Hooks: []string{"f"}, Tx: "r", Kind: nft.TxRollback}), nft.ErrNotLoaded)
	must(t, k.Confirm(ctx, nft.Confirm{ID: idA, Entry: a.Entry, Tx: "c"}))
	nftIn(t, n, "add table inet weir { flags dormant; }", "-f", "-")
	wants("a dormant table", arm(b, idA), kernel.ErrDormant)
	wants("loading into a dormant table", k.Load(ctx, b), kernel.ErrDormant)
}

// Somebody else's commits between looking and sending are survived, and every
// one of ours is applied exactly once.
func TestArmWhileOthersCommit(t *testing.T) {
	ctx := context.Background()
	n, k := newNS(t)
	a := narrow(t, idA)
	must(t, k.Load(ctx, a))
	stop, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-stop:
				return
			default:
				nftIn(t, n, "add table ip other; delete table ip other", "-f", "-")
			}
		}
	}()
	for i := range 30 {
		over := ""
		if i > 0 {
			over = idA
		}
		must(t, k.Arm(ctx, nft.Arm{ID: idA, Entry: a.Entry, Tx: "a", Lease: time.Minute, Over: over}))
		must(t, k.Confirm(ctx, nft.Confirm{ID: idA, Entry: a.Entry, Tx: "c"}))
	}
	close(stop)
	<-gone
}

// One group goes back to alert and comes back from it; a spared connection
// passes while new ones are denied, and no longer than said.
func TestGroupMaps(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	n := narrow(t, idA)
	must(t, l.Load(ctx, n)) // connection tracking begins with its rules
	old := l.dial("tcp", "ipv4", bad)
	must(t, netns.Exchange(old, time.Second))
	must(t, l.Arm(ctx, nft.Arm{ID: idA, Entry: n.Entry, Tx: "a", Lease: time.Minute, Spare: []string{"desks"}}))
	l.answers("tcp", bad, false)
	must(t, netns.Exchange(old, time.Second))
	must(t, l.Confirm(ctx, nft.Confirm{ID: idA, Entry: n.Entry, Tx: "c", Spare: []string{"desks"}, SpareFor: 400 * time.Millisecond}))
	look, err := l.Look(ctx)
	must(t, err)
	if !slices.Equal(look.Spared, []string{"desks"}) {
		t.Errorf("spared: %v", look.Spared)
	}
	must(t, netns.Exchange(old, time.Second))
	time.Sleep(420 * time.Millisecond)
	if netns.Exchange(old, 100*time.Millisecond) == nil {
		t.Error("a connection was spared for longer than said")
	}
	must(t, l.Back(ctx, "desks", true, "g1"))
	l.answers("tcp", bad, true)
	if look, err = l.Look(ctx); err != nil || !slices.Equal(look.Back, []string{"desks"}) || look.Kind != nft.TxGroup {
		t.Errorf("back: %+v, %v", look, err)
	}
	must(t, l.Back(ctx, "desks", false, "g2"))
	l.answers("tcp", bad, false)
	must(t, l.Rollback(ctx, nft.Rollback{ID: idA, Entry: n.Entry, Hooks: []string{"f"}, Tx: "r", Kind: nft.TxRollback, Alert: []string{"desks"}}))
	l.answers("tcp", bad, true)
	counters, err := l.Counters(ctx)
	must(t, err)
	if counters["w_c_desks_would"].Packets == 0 || counters["w_c_desks_denied"].Packets == 0 || counters["w_spared"].Packets == 0 {
		t.Errorf("counters: %v", counters)
	}
}

// Every hook letter and both families switch together; nat redirects nothing
// while a trial runs.
func TestAllHooksSwitchTogether(t *testing.T) {
	ctx := context.Background()
	n, k := newNS(t)
	rev := office(t)
	must(t, k.Load(ctx, rev))
	must(t, k.Arm(ctx, nft.Arm{ID: rev.ID, Entry: rev.Entry, Tx: "a", Lease: time.Minute}))
	look, err := k.Look(ctx)
	must(t, err)
	if id, ok := nft.One(look.Trial); !ok || id != rev.ID || len(look.Trial) != 3 {
		t.Errorf("on trial: %v", look.Trial)
	}
	if text := nftIn(t, n, "", "list", "map", "inet", "weir", "w_trial_n"); strings.Count(text, ": accept") != 2 {
		t.Errorf("nat during a trial:\n%s", text)
	}
	must(t, k.Confirm(ctx, nft.Confirm{ID: rev.ID, Entry: rev.Entry, Tx: "c"}))
	if look, err = k.Look(ctx); err != nil || len(look.Stable) != 3 {
		t.Errorf("stable: %v, %v", look.Stable, err)
	}
	for h, fam := range look.Stable {
		for f, id := range fam {
			if id != rev.ID {
				t.Errorf("stable in hook %s for %s: %q", h, f, id)
			}
		}
	}
	must(t, k.Honeypot(ctx, time.Minute))
	if text := nftIn(t, n, "", "list", "set", "inet", "weir", "w_hp"); !strings.Contains(text, "ipv4 timeout 1m") || !strings.Contains(text, "ipv6 timeout 1m") {
		t.Errorf("the honeypot's lease:\n%s", text)
	}
	must(t, k.Honeypot(ctx, 0))
	must(t, k.Rollback(ctx, nft.Rollback{Hooks: []string{"f", "o", "n"}, Tx: "r", Kind: nft.TxHold}))
	if look, err = k.Look(ctx); err != nil || look.Kind != nft.TxHold {
		t.Errorf("after the rollback: %+v, %v", look, err)
	}
	for h := range look.Stable {
		if len(look.Stable[h])+len(look.Trial[h]) != 0 {
			t.Errorf("hook %s holds %v and %v", h, look.Stable[h], look.Trial[h])
		}
	}
}
