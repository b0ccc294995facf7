package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
	"weir/phases/flow"
)

// box is a pair of address ranges with the time it has left.
type box struct {
	lo, hi []byte // source, then destination
	left   time.Duration
	there  bool // in the kernel already
}

// neverSpare keeps the connections that an exception lets in from being spared
// later. Elements of one set must not overlap, so what overlaps is joined into
// one that covers both and lasts as long as the longer: too many connections
// are then judged like new ones, never too few.
//
//	delete element inet weir w_nospare4 { … } ; add element inet weir w_nospare4 { FROM . TO timeout T }
func (k *Kernel) neverSpare(ctx context.Context, b *batch, f flow.Family, e nft.Exception) error {
	lo, hi := bounds(e, shape{key: []nft.Type{nft.IPv4Addr, nft.IPv4Addr}})
	return k.neverSpareBoxes(ctx, b, f, []box{{lo: lo, hi: hi, left: e.For + spareNever}})
}

func (k *Kernel) neverSpareBoxes(ctx context.Context, b *batch, f flow.Family, boxes []box) error {
	name, typ := noSpareSet(f), nft.IPv4Addr
	if f == flow.IPv6 {
		typ = nft.IPv6Addr
	}
	var all []box
	if err := k.c.elements(ctx, ours, name, func(e *elemInfo) {
		all = append(all, box{lo: bytes.Clone(e.key), hi: bytes.Clone(e.keyEnd), left: e.left, there: true})
	}); err != nil {
		return err
	}
	s, err := newSet(nft.Set{Name: name, Key: []nft.Type{typ, typ}, Interval: true, HasTimeout: true})
	if err != nil {
		return err
	}
	for _, x := range boxes {
		var gone []box
		x, gone, all = joined(x, all)
		for _, g := range gone {
			if g.there {
				b.put(ours, &s, delElem, 0, nft.Element{Key: g.lo, KeyEnd: g.hi})
			}
		}
		all = append(all, x)
	}
	for _, x := range all {
		if !x.there {
			b.put(ours, &s, newElem, create, nft.Element{Key: x.lo, KeyEnd: x.hi, Timeout: x.left})
		}
	}
	return nil
}

// joined returns want grown over every box that it overlaps, those boxes, and
// the others.
func joined(want box, have []box) (grown box, gone, rest []box) {
	for again := true; again; {
		again = false
		rest = nil
		for _, h := range have {
			if !want.overlaps(h) {
				rest = append(rest, h)
				continue
			}
			want, again = want.join(h), true
			gone = append(gone, h)
		}
		have = rest
	}
	return want, gone, have
}

// half is the width of one of the two addresses.
func (a box) half() int { return len(a.lo) / 2 }

func (a box) overlaps(b box) bool {
	n := a.half()
	for _, r := range [][2]int{{0, n}, {n, 2 * n}} {
		if bytes.Compare(a.lo[r[0]:r[1]], b.hi[r[0]:r[1]]) > 0 || bytes.Compare(b.lo[r[0]:r[1]], a.hi[r[0]:r[1]]) > 0 {
			return false
		}
	}
	return true
}

func (a box) join(b box) box {
	n := a.half()
	out := box{left: max(a.left, b.left)}
	for _, r := range [][2]int{{0, n}, {n, 2 * n}} {
		lo, hi := a.lo[r[0]:r[1]], a.hi[r[0]:r[1]]
		if x := b.lo[r[0]:r[1]]; bytes.Compare(x, lo) < 0 {
			lo = x
		}
		if x := b.hi[r[0]:r[1]]; bytes.Compare(x, hi) > 0 {
			hi = x
		}
		out.lo, out.hi = append(out.lo, lo...), append(out.hi, hi...)
	}
	return out
}

// mostPairs is how many pairs of addresses are kept apart; where there are more,
// what a source talks to is no longer told apart, and in the end no source.
const mostPairs = 1000

// NeverSpare keeps the open connections between these clients and servers from
// being spared for d: they are judged like new ones.
//
//	add element inet weir w_nospare4 { CLIENT . SERVER timeout D }
func (k *Kernel) NeverSpare(ctx context.Context, pairs [][2]netip.Addr, d time.Duration) error {
	fail := func(err error) error { return fmt.Errorf("cannot keep connections from being spared: %w", err) }
	if d < time.Millisecond {
		return fail(fmt.Errorf("they cannot be for %v", d))
	}
	for _, f := range []flow.Family{flow.IPv4, flow.IPv6} {
		boxes := boxesOf(f, pairs, d)
		if len(boxes) == 0 {
			continue
		}
		var err error
		for range maxTries {
			b := newBatch(false)
			if err = k.neverSpareBoxes(ctx, b, f, boxes); err != nil {
				return fail(err)
			}
			if err = k.c.transact(ctx, b.finish(true)); !errors.Is(err, unix.ENOENT) {
				break // else one that was to be replaced has lapsed meanwhile
			}
		}
		if err != nil && !errors.Is(err, errLost) {
			return fail(err)
		}
		var have []box
		if lerr := k.c.elements(ctx, ours, noSpareSet(f), func(e *elemInfo) { have = append(have, box{lo: bytes.Clone(e.key), hi: bytes.Clone(e.keyEnd)}) }); lerr != nil {
			return fail(errors.Join(nft.ErrUnknown, err, lerr))
		}
		for _, x := range boxes {
			if !slices.ContainsFunc(have, x.overlaps) {
				return fail(errors.Join(nft.ErrUnknown, err))
			}
		}
	}
	return nil
}

func noSpareSet(f flow.Family) string {
	if f == flow.IPv6 {
		return "w_nospare6"
	}
	return "w_nospare4"
}

// boxesOf are the pairs of one family, each once, made coarser until they are few.
func boxesOf(f flow.Family, pairs [][2]netip.Addr, d time.Duration) []box {
	all := netip.MustParsePrefix("0.0.0.0/0")
	if f == flow.IPv6 {
		all = netip.MustParsePrefix("::/0")
	}
	for coarse := 0; ; coarse++ {
		seen := map[[2]netip.Prefix]bool{}
		for _, p := range pairs {
			c, s := p[0].Unmap(), p[1].Unmap()
			if flow.FamilyOf(c) != f || flow.FamilyOf(s) != f {
				continue
			}
			pair := [2]netip.Prefix{netip.PrefixFrom(c, c.BitLen()), netip.PrefixFrom(s, s.BitLen())}
			for i := range coarse {
				pair[1-i] = all
			}
			seen[pair] = true
		}
		if len(seen) > mostPairs {
			continue
		}
		var out []box
		for p := range seen {
			lo, hi := bounds(nft.Exception{From: p[0], To: p[1]}, shape{key: []nft.Type{nft.IPv4Addr, nft.IPv4Addr}})
			out = append(out, box{lo: lo, hi: hi, left: d})
		}
		return out
	}
}
