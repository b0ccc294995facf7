package kernel_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/kernel"
	"weir/nft/netns"
)

// The bytes restore the earlier step in any state: over a trial, over another
// stable step, twice, and the connections that the trial cut go on.
func TestBackoutBytes(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	w, n := wide(t, idB), narrow(t, idA)
	l.step(w, "", "t")
	must(t, l.Load(ctx, n))
	back := nft.Rollback{ID: idB, Entry: w.Entry, Hooks: []string{"f"}, Tx: "back", Kind: nft.TxRollback}
	raw, err := kernel.EncodeRollback(back)
	must(t, err)
	got, err := kernel.DecodeRollback(raw)
	must(t, err)
	if !reflect.DeepEqual(got, back) {
		t.Errorf("decoded %+v, want %+v", got, back)
	}
	c := l.dial("tcp", "ipv6", bad)
	must(t, netns.Exchange(c, time.Second))

	must(t, l.Arm(ctx, nft.Arm{ID: idA, Entry: n.Entry, Tx: "t2", Lease: time.Minute, Over: idB}))
	l.answers("tcp", bad, false)
	if netns.Exchange(c, 100*time.Millisecond) == nil {
		t.Error("an open connection was not cut by the trial")
	}
	must(t, l.SendRaw(ctx, raw))
	l.answers("tcp", bad, true)
	// The bytes that were dropped are sent again by TCP.
	must(t, c.SetDeadline(time.Now().Add(5*time.Second)))
	if _, err := c.Read(make([]byte, 64)); err != nil {
		t.Errorf("the connection did not go on after the rollback: %v", err)
	}
	must(t, l.SendRaw(ctx, raw))
	l.step(n, idB, "t3")
	l.answers("tcp", bad, false)
	must(t, l.SendRaw(ctx, raw))
	l.answers("tcp", bad, true)
	look, err := l.Look(ctx)
	must(t, err)
	if look.Tx != "back" || look.Kind != nft.TxRollback {
		t.Errorf("after the bytes: %+v", look)
	}
}

// Damaged and foreign bytes are never sent.
func TestSendRawRefuses(t *testing.T) {
	ctx := context.Background()
	_, k := newNS(t)
	must(t, k.Load(ctx, wide(t, idB)))
	raw, err := kernel.EncodeRollback(nft.Rollback{Hooks: []string{"f"}, Tx: "x", Kind: nft.TxRollback})
	must(t, err)
	foreign := []byte(strings.ReplaceAll(string(raw), "weir\x00", "near\x00"))
	short := raw[:len(raw)-20]
	for name, b := range map[string][]byte{"empty": nil, "foreign": foreign, "cut": short, "longer": append(raw, 0, 0, 0, 0)} {
		if err := k.SendRaw(ctx, b); err == nil {
			t.Errorf("%s bytes were sent", name)
		}
	}
}

func FuzzDecodeRollback(f *testing.F) {
	raw, err := kernel.EncodeRollback(nft.Rollback{ID: idA, Entry: map[string]string{"f": idA + "_f"}, Hooks: []string{"f"},
		Tx: "x", Kind: nft.TxHold, Alert: []string{"desks"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := kernel.DecodeRollback(b)
		if err != nil {
			return
		}
		for h, c := range r.Entry {
			if h == "" && c == "" {
				t.Errorf("an empty entry in %+v", r)
			}
		}
	})
}

func TestLadder(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	n := narrow(t, idA)
	l.step(n, "", "t")
	good, err := kernel.EncodeRollback(nft.Rollback{ID: idA, Entry: n.Entry, Hooks: []string{"f"}, Tx: "one", Kind: nft.TxRollback})
	must(t, err)
	lost, err := kernel.EncodeRollback(nft.Rollback{ID: idB, Entry: map[string]string{"f": idB + "_f"}, Hooks: []string{"f"}, Tx: "two", Kind: nft.TxRollback})
	must(t, err)
	if rung, err := l.Ladder(ctx, good); rung != kernel.RungTarget || err != nil {
		t.Errorf("with a good target: %s, %v", rung, err)
	}
	l.answers("tcp", bad, false)
	rung, err := l.Ladder(ctx, lost)
	if rung != kernel.RungOpen || !errors.Is(err, nft.ErrNotLoaded) {
		t.Errorf("with a target that is not loaded: %s, %v", rung, err)
	}
	l.answers("tcp", bad, true)
	// Where the stable map cannot be emptied for certain, the table goes: here
	// another table stays.
	nftIn(t, l.Gateway, "add table inet other; add chain inet other c", "-f", "-")
	must(t, l.Remove(ctx))
	if rung, err := l.Ladder(ctx, nil); rung != kernel.RungOpen || err != nil {
		t.Errorf("without a table: %s, %v", rung, err)
	}
	if text := nftIn(t, l.Gateway, "", "list", "ruleset"); !strings.Contains(text, "inet other") || strings.Contains(text, "weir") {
		t.Errorf("after removing:\n%s", text)
	}
}
