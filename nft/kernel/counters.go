package kernel

import (
	"bytes"
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// counters reads the table's named counters.
func (c *conn) counters(ctx context.Context, t table) (map[string]nft.CounterValue, error) {
	out := map[string]nft.CounterValue{}
	err := c.request(ctx, unix.NFT_MSG_GETOBJ, true, func(w *wire) {
		w.str(unix.NFTA_OBJ_TABLE, string(t))
		w.u32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER)
	}, func(p []byte) error {
		if text(attr(p, unix.NFTA_OBJ_TABLE)) != string(t) || be32(attr(p, unix.NFTA_OBJ_TYPE)) != unix.NFT_OBJECT_COUNTER {
			return nil
		}
		d := attr(p, unix.NFTA_OBJ_DATA)
		out[text(attr(p, unix.NFTA_OBJ_NAME))] = nft.CounterValue{
			Packets: be64(attr(d, unix.NFTA_COUNTER_PACKETS)),
			Bytes:   be64(attr(d, unix.NFTA_COUNTER_BYTES)),
		}
		return nil
	})
	return out, dumpErr("the counters", err)
}

// Counters reads every named counter of the table. It resets none.
func (k *Kernel) Counters(ctx context.Context) (map[string]nft.CounterValue, error) {
	var out map[string]nft.CounterValue
	_, err := k.c.stable(ctx, func() (err error) {
		out, err = k.c.counters(ctx, ours)
		return err
	})
	return out, err
}

// ElementCounter is the counter of one element: of a content set, or of a set
// that packets fill.
type ElementCounter struct {
	Key    []byte
	KeyEnd []byte // of a range, inclusive; else nil
	nft.CounterValue
}

// SetCounters reads the elements of one set with their counters; none where
// there is no such set.
func (k *Kernel) SetCounters(ctx context.Context, name string) ([]ElementCounter, error) {
	var out []ElementCounter
	_, err := k.c.stable(ctx, func() error {
		out = nil
		return k.c.elements(ctx, ours, name, func(e *elemInfo) {
			if e.end {
				return
			}
			out = append(out, ElementCounter{bytes.Clone(e.key), bytes.Clone(e.keyEnd),
				nft.CounterValue{Packets: e.packets, Bytes: e.bytes}})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the counters of set %s: %w", name, err)
	}
	return out, nil
}
