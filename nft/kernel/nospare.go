package kernel

import (
	"bytes"
	"context"
	"time"

	"weir/nft"
	"weir/phases/flow"
)

// box is a pair of address ranges with the time it has left.
type box struct {
	lo, hi []byte // source, then destination
	left   time.Duration
}

// neverSpare keeps the connections that an exception lets in from being spared
// later. Elements of one set must not overlap, so what overlaps is joined into
// one that covers both and lasts as long as the longer: too many connections
// are then judged like new ones, never too few.
//
//	delete element inet weir w_nospare4 { … } ; add element inet weir w_nospare4 { FROM . TO timeout T }
func (k *Kernel) neverSpare(ctx context.Context, b *batch, f flow.Family, e nft.Exception) error {
	name, typ := "w_nospare4", nft.IPv4Addr
	if f == flow.IPv6 {
		name, typ = "w_nospare6", nft.IPv6Addr
	}
	var have []box
	if err := k.c.elements(ctx, ours, name, func(e *elemInfo) {
		have = append(have, box{bytes.Clone(e.key), bytes.Clone(e.keyEnd), e.left})
	}); err != nil {
		return err
	}
	lo, hi := bounds(e, shape{key: []nft.Type{typ, typ}})
	want, gone := joined(box{lo, hi, e.For + spareNever}, have)
	s, err := newSet(nft.Set{Name: name, Key: []nft.Type{typ, typ}, Interval: true, HasTimeout: true})
	if err != nil {
		return err
	}
	for _, g := range gone {
		b.put(ours, &s, delElem, 0, nft.Element{Key: g.lo, KeyEnd: g.hi})
	}
	b.put(ours, &s, newElem, create, nft.Element{Key: want.lo, KeyEnd: want.hi, Timeout: want.left})
	return nil
}

// joined returns want grown over every box that it overlaps, and those boxes.
func joined(want box, have []box) (box, []box) {
	var gone []box
	for again := true; again; {
		again = false
		var rest []box
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
	return want, gone
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
