package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/nft"
	"weir/nft/netns"
)

func TestPrefixMask(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lo := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "lo")
		hi := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "hi")
		if rapid.Bool().Draw(t, "prefix") {
			n := rapid.IntRange(0, 32).Draw(t, "bits")
			m := ^uint32(0)
			if n == 0 {
				m = 0
			} else {
				m <<= 32 - n
			}
			v := binary.BigEndian.Uint32(lo) & m
			binary.BigEndian.PutUint32(lo, v)
			binary.BigEndian.PutUint32(hi, v|^m)
		}
		mask, ok := prefixMask(lo, hi)
		l, h := binary.BigEndian.Uint32(lo), binary.BigEndian.Uint32(hi)
		size := h - l + 1
		want := l <= h && size&(size-1) == 0 && (size == 0 || l%size == 0)
		if ok != want {
			t.Fatalf("%x to %x is a prefix: %v, want %v", l, h, ok, want)
		}
		if ok && binary.BigEndian.Uint32(mask) != ^(size-1) {
			t.Fatalf("%x to %x has mask %x", l, h, mask)
		}
	})
}

// What joined returns covers every box that it replaces, overlaps none that
// stays, and lasts as long as the longest.
func TestJoinedBoxes(t *testing.T) {
	gen := rapid.Custom(func(t *rapid.T) box {
		var b box
		for range 2 {
			x, y := rapid.Byte().Draw(t, "x"), rapid.Byte().Draw(t, "y")
			b.lo, b.hi = append(b.lo, min(x, y)), append(b.hi, max(x, y))
		}
		b.left = time.Duration(rapid.IntRange(1, 9).Draw(t, "left"))
		return b
	})
	rapid.Check(t, func(t *rapid.T) {
		first := gen.Draw(t, "want")
		have := rapid.SliceOfN(gen, 0, 6).Draw(t, "have")
		got, gone, _ := joined(first, have)
		for _, g := range append(gone, first) {
			for i := range g.lo {
				if got.lo[i] > g.lo[i] || got.hi[i] < g.hi[i] || got.left < g.left {
					t.Fatalf("%v does not cover %v", got, g)
				}
			}
		}
		stays := 0
		for _, h := range have {
			if got.overlaps(h) {
				stays++
			}
		}
		if stays != len(gone) {
			t.Fatalf("%d boxes overlap %v, %d were taken out", stays, got, len(gone))
		}
	})
}

func TestIntervalsEndWhereTheyShould(t *testing.T) {
	s := set{Set: nft.Set{Interval: true, Elements: []nft.Element{
		{Key: []byte{10, 0}, KeyEnd: []byte{10, 255}}, {Key: []byte{11, 0}}, {Key: []byte{255, 0}, KeyEnd: []byte{255, 255}},
	}}, layout: layout{size: 2, fields: []int{2}}}
	e := s.intervals()
	want := []struct {
		key []byte
		end bool
	}{{[]byte{0, 0}, true}, {[]byte{10, 0}, false}, {[]byte{11, 0}, true}, {[]byte{11, 0}, false}, {[]byte{11, 1}, true}, {[]byte{255, 0}, false}}
	if len(e.list) != len(want) {
		t.Fatalf("%d points, want %d: %v", len(e.list), len(want), e)
	}
	for i, w := range want {
		if !bytes.Equal(e.list[i].Key, w.key) || e.end[i] != w.end {
			t.Errorf("point %d is %v %v, want %v", i, e.list[i].Key, e.end[i], w)
		}
	}
}

// Whatever comes from the socket or a file is walked without reading past its
// end.
func FuzzMessages(f *testing.F) {
	b := newBatch(true)
	b.addTable(ours)
	b.setTx("x", nft.TxArm)
	f.Add(b.finish(true))
	f.Add([]byte{20, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for h, p := range messages(b) {
			_ = describe(h, p)
			for _, v := range attrs(p) {
				readElement(v)
			}
		}
	})
}

// lab opens a Kernel in a namespace of its own.
func lab(t *testing.T) *Kernel {
	t.Helper()
	n, err := netns.New("kernel")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	k, err := Open(Options{NetPath: n.Path()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// big has elements for more than one message and more than one transaction,
// exact, as ranges of a concatenation, and as plain ranges.
func big(n int) nft.Revision {
	const id = "r0000000000ff"
	sk := nft.Ruleset{Family: "inet", Table: nft.TableName, Sets: []nft.Set{
		{Name: nft.MarkerMap, Key: []nft.Type{nft.IfName}, Data: nft.Mark},
		{Name: nft.TxMap, Key: []nft.Type{nft.IfName}, Data: nft.Mark},
		{Name: nft.TrialMap("f"), Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType, HasTimeout: true},
		{Name: nft.StableMap("f"), Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType},
	}}
	rs := nft.Ruleset{Family: "inet", Table: nft.TableName, Sets: []nft.Set{
		{Name: "exact", Key: []nft.Type{nft.IPv4Addr, nft.InetProto, nft.InetService}, Size: uint32(2 * n)},
		{Name: "ranges", Key: []nft.Type{nft.IPv4Addr, nft.InetProto, nft.InetService}, Interval: true},
		{Name: "plain", Key: []nft.Type{nft.IPv4Addr}, Interval: true},
		{Name: "a-name-longer-than-an-interface", Key: []nft.Type{nft.IPv6Addr}, Interval: true},
	}}
	for i := range n {
		at := binary.BigEndian.AppendUint32(nil, 0x0a000000+uint32(i)*8)
		to := binary.BigEndian.AppendUint32(nil, 0x0a000000+uint32(i)*8+3)
		tail := []byte{6, 0, 0, 0, 1, 187, 0, 0}
		key, end := append(bytes.Clone(at), tail...), append(bytes.Clone(to), tail...)
		six, sixEnd := append(make([]byte, 12), at...), append(make([]byte, 12), to...)
		for s, e := range []nft.Element{{Key: key}, {Key: key, KeyEnd: end}, {Key: at, KeyEnd: to}, {Key: six, KeyEnd: sixEnd}} {
			rs.Sets[s].Elements = append(rs.Sets[s].Elements, e)
		}
	}
	rs.Chains = []nft.Chain{{Name: id + "_f", Rules: []nft.Rule{nft.R(nft.In("plain", nft.IPDaddr), nft.Accept())}}}
	return nft.Revision{ID: id, Skeleton: sk, Ruleset: rs, Entry: map[string]string{"f": id + "_f"}}
}

// A load fits a socket buffer of any size, and is counted right, with the
// kernel's own count and without.
func TestLoadInSmallPieces(t *testing.T) {
	ctx := context.Background()
	for _, room := range []int{listRoom + 8<<10, 1 << 20} {
		k := lab(t)
		k.c.room = room
		rev := big(5000)
		if err := k.Load(ctx, rev); err != nil {
			t.Fatalf("with room for %d bytes: %v", room, err)
		}
		s, err := k.state(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for name, info := range s.sets {
			info.count = -1 // as before Linux 6.17
			s.sets[name] = info
		}
		if err := k.verify(ctx, rev, s); err != nil {
			t.Errorf("counted by hand: %v", err)
		}
	}
}

func TestProbe(t *testing.T) {
	k := lab(t)
	if err := k.Probe(context.Background()); err != nil {
		t.Fatal(err)
	}
	if present, _, err := k.c.tableFlags(context.Background(), probe); err != nil || present {
		t.Errorf("the temporary table is there: %v, %v", present, err)
	}
}

// A caller that gives up learns what the kernel holds, and the connection is
// good afterwards.
func TestCancelledCallers(t *testing.T) {
	ctx := context.Background()
	k := lab(t)
	rev := big(10)
	if err := k.Load(ctx, rev); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := k.Look(over); err == nil {
		t.Error("a cancelled look succeeded")
	}
	if err := k.Rollback(over, nft.Rollback{Hooks: []string{"f"}, Tx: "x", Kind: nft.TxRollback}); err == nil {
		t.Error("a cancelled rollback succeeded")
	}
	for range 50 {
		short, cancel := context.WithTimeout(ctx, 20*time.Microsecond)
		_, _ = k.Look(short)
		cancel()
		l, err := k.Look(ctx)
		if err != nil || len(l.Loaded) != 1 {
			t.Fatalf("after a cancelled look: %+v, %v", l, err)
		}
	}
}

func TestOpenNoSuchNamespace(t *testing.T) {
	if _, err := Open(Options{NetPath: "/proc/self/ns/nothing"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opened, or failed otherwise: %v", err)
	}
}
