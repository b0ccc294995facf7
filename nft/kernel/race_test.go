package kernel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
	"weir/nft/netns"
)

func opened(t *testing.T, n *netns.NS) *Kernel {
	t.Helper()
	k, err := Open(Options{NetNS: n.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// The trial lapses after the last look: the kernel itself refuses the confirm,
// in each hook and for each family, and keeps what was stable.
func TestConfirmLosesTheRace(t *testing.T) {
	ctx := context.Background()
	k := lab(t)
	rev := big(1)
	if err := k.Load(ctx, rev); err != nil {
		t.Fatal(err)
	}
	arm := func(lease time.Duration) {
		t.Helper()
		if err := k.Arm(ctx, nft.Arm{ID: rev.ID, Entry: rev.Entry, Tx: "arm", Lease: lease}); err != nil {
			t.Fatal(err)
		}
	}
	confirm := func() error {
		b := confirmBatch(nft.Confirm{ID: rev.ID, Entry: rev.Entry, Tx: "late"}, []string{"f"})
		gen, err := k.Gen(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b.setGen(gen)
		return k.c.transact(ctx, b.finish(true))
	}
	for _, gone := range []string{"both", "ipv4", "ipv6"} {
		if gone == "both" {
			arm(5 * time.Millisecond)
			time.Sleep(10 * time.Millisecond)
		} else {
			arm(time.Minute)
			b := newBatch(false)
			for _, f := range families {
				if string(f.f) == gone {
					b.put(ours, familyMap(nft.TrialMap("f")), delElem, 0, nft.Element{Key: f.key})
				}
			}
			if err := k.c.transact(ctx, b.finish(true)); err != nil {
				t.Fatal(err)
			}
		}
		if err := confirm(); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s gone: the kernel answered %v", gone, err)
		}
		if err := k.Confirm(ctx, nft.Confirm{ID: rev.ID, Entry: rev.Entry, Tx: "late"}); !errors.Is(err, nft.ErrLapsed) {
			t.Errorf("%s gone: Confirm says %v", gone, err)
		}
		l, err := k.Look(ctx)
		if id, ok := nft.One(l.Stable); err != nil || !ok || id != "" || l.Tx != "arm" {
			t.Errorf("%s gone: a late confirm changed something: %+v, %v", gone, l, err)
		}
		if err := k.Rollback(ctx, nft.Rollback{Hooks: []string{"f"}, Tx: "back", Kind: nft.TxRollback}); err != nil {
			t.Fatal(err)
		}
	}
}

// A stale generation is refused as a whole.
func TestStaleGenerationIsRefused(t *testing.T) {
	ctx := context.Background()
	k := lab(t)
	gen, err := k.Gen(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Load(ctx, big(1)); err != nil {
		t.Fatal(err)
	}
	b := newBatch(true)
	b.setTx("stale", nft.TxArm)
	b.setGen(gen)
	if err := k.c.transact(ctx, b.finish(true)); !errors.Is(err, unix.ERESTART) {
		t.Errorf("a stale generation: %v", err)
	}
	if l, err := k.Look(ctx); err != nil || l.Tx != "" {
		t.Errorf("applied all the same: %+v, %v", l, err)
	}
}

// A lost reply is neither success nor failure until the kernel was looked at.
func TestLostReplies(t *testing.T) {
	ctx := context.Background()
	k := lab(t)
	if err := k.Load(ctx, big(1)); err != nil {
		t.Fatal(err)
	}
	lost := fmt.Errorf("%w: %w", errLost, unix.ENOBUFS)
	if err := k.Rollback(ctx, nft.Rollback{Hooks: []string{"f"}, Tx: "was-applied", Kind: nft.TxRollback}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.after(ctx, []string{"f"}, "was-applied", lost); err != nil {
		t.Errorf("applied, reply lost: %v", err)
	}
	if _, err := k.after(ctx, []string{"f"}, "was-not", lost); err == nil || errors.Is(err, nft.ErrUnknown) {
		t.Errorf("not applied, reply lost: %v", err)
	}
	if _, err := k.after(ctx, []string{"f"}, "was-not", nil); !errors.Is(err, nft.ErrUnknown) {
		t.Errorf("the kernel said yes and holds another transaction: %v", err)
	}
	k.c.nl.Close()
	if _, err := k.after(ctx, []string{"f"}, "x", lost); !errors.Is(err, nft.ErrUnknown) {
		t.Errorf("the kernel cannot be read: %v", err)
	}
}

// A large skeleton fits a small socket; a changed chain of it is replaced, and
// nothing else.
func TestSkeletonIsReplacedByChain(t *testing.T) {
	ctx := context.Background()
	n, err := netns.New("skeleton")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	k := opened(t, n)
	k.c.room = listRoom + 8<<10
	rev := big(1)
	sk := &rev.Skeleton
	sk.Chains = append(sk.Chains, nft.Chain{Name: nft.UnblockChain})
	for i := range 700 {
		name := fmt.Sprintf("w_a_group-%d", i)
		sk.Sets = append(sk.Sets, nft.Set{Name: nft.BackMap(fmt.Sprintf("group-%d", i)), Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType, HasTimeout: true})
		sk.Counters = append(sk.Counters, name)
		sk.Chains = append(sk.Chains, nft.Chain{Name: name, Rules: []nft.Rule{nft.R(nft.Count{Name: name}, nft.Accept())}})
	}
	main := nft.Chain{Name: "w_main_f", Rules: []nft.Rule{nft.R(nft.Lookup(nft.TrialMap("f"), nft.NFProtoF)), nft.R(nft.Lookup(nft.StableMap("f"), nft.NFProtoF))}}
	sk.Chains = append(sk.Chains, main, nft.Chain{Name: "w_base_f", Type: "filter", Hook: "forward", Priority: 10, Rules: []nft.Rule{nft.R(nft.Jump("w_main_f"))}})
	if err := k.Load(ctx, rev); err != nil {
		t.Fatal(err)
	}
	handles := func() map[uint64]string {
		m := map[uint64]string{}
		if err := k.c.rules(ctx, ours, "", func(r ruleInfo) { m[r.handle] = r.chain }); err != nil {
			t.Fatal(err)
		}
		return m
	}
	before := handles()
	sk.Chains[len(sk.Chains)-2].Rules = append([]nft.Rule{nft.R(nft.Count{})}, main.Rules...)
	if err := k.Load(ctx, rev); err != nil {
		t.Fatal(err)
	}
	for h, chain := range handles() {
		if before[h] == "" && chain != "w_main_f" {
			t.Errorf("chain %s was written again", chain)
		}
		delete(before, h)
	}
	for _, chain := range before {
		if !strings.HasPrefix(chain, "w_main_f") {
			t.Errorf("a rule of chain %s is gone", chain)
		}
	}
	if s, err := k.state(ctx); err != nil || s.rules["w_main_f"] != 3 {
		t.Errorf("w_main_f has %d rules, %v", s.rules["w_main_f"], err)
	}
	// A table of a newer weir is left alone.
	b := newBatch(false)
	b.mark(map[string]uint32{"layout": nft.LayoutVersion}, "layout", nft.LayoutVersion+1)
	if err := k.c.transact(ctx, b.finish(true)); err != nil {
		t.Fatal(err)
	}
	if err := k.Load(ctx, rev); err == nil || !strings.Contains(err.Error(), "newer weir") {
		t.Errorf("loading over a newer layout: %v", err)
	}
}

// Somebody's commit between looking and sending makes the switch look again,
// and is seen by the check.
func TestCheckedLooksAgain(t *testing.T) {
	ctx := context.Background()
	n, err := netns.New("checked")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	k, other := opened(t, n), opened(t, n)
	rev := big(1)
	if err := k.Load(ctx, rev); err != nil {
		t.Fatal(err)
	}
	looks := 0
	b := newBatch(true)
	b.setTx("mine", nft.TxArm)
	l, err := k.checked(ctx, b, []string{"f"}, "mine", func(l nft.Look) error {
		looks++
		if looks == 1 {
			return other.Rollback(ctx, nft.Rollback{Hooks: []string{"f"}, Tx: "theirs", Kind: nft.TxRollback})
		}
		if l.Tx != "theirs" {
			t.Errorf("the second look shows %q", l.Tx)
		}
		return nil
	})
	if err != nil || looks != 2 || l.Tx != "mine" {
		t.Errorf("%d looks, then %+v, %v", looks, l, err)
	}
}

// A revision that somebody makes stable while it is being released is refused
// as a whole; one with more than a small socket takes goes in pieces.
func TestReleaseIsWholeOrNothing(t *testing.T) {
	ctx := context.Background()
	k := lab(t)
	rev := big(1)
	for i := range 2000 {
		rev.Ruleset.Chains = append(rev.Ruleset.Chains, nft.Chain{Name: fmt.Sprintf("%s_g_%d", rev.ID, i), Rules: []nft.Rule{nft.R(nft.Accept())}})
	}
	if err := k.Load(ctx, rev); err != nil {
		t.Fatal(err)
	}
	s, err := k.state(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Rollback(ctx, nft.Rollback{ID: rev.ID, Entry: rev.Entry, Hooks: []string{"f"}, Tx: "by hand", Kind: nft.TxHold}); err != nil {
		t.Fatal(err)
	}
	if err := k.unload(ctx, rev.ID, s); !errors.Is(err, unix.EBUSY) {
		t.Errorf("releasing what is stable: %v", err)
	}
	if s, err = k.state(ctx); err != nil {
		t.Fatal(err)
	}
	if err := k.verify(ctx, rev, s); err != nil || s.marks[rev.ID] == 0 {
		t.Errorf("half of it went: %v, marked %v", err, s.marks[rev.ID] != 0)
	}
	if err := k.Rollback(ctx, nft.Rollback{Hooks: []string{"f"}, Tx: "off", Kind: nft.TxRollback}); err != nil {
		t.Fatal(err)
	}
	k.c.room = listRoom + 8<<10
	if err := k.Release(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if s, err = k.state(ctx); err != nil || len(s.revisions()) != 0 || len(s.sets) != len(rev.Skeleton.Sets) {
		t.Errorf("left: %v, %d sets, %v", s.revisions(), len(s.sets), err)
	}
}
