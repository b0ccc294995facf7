package capture

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"weir/phases/flow"
)

// DeleteConnections deletes the entries of the connection table that match
// says yes to, and returns how many. An entry that ended meanwhile counts as
// deleted; one whose tuple belongs to a new connection is left alone (the
// kernel compares the id). match must not call back into this package.
//
// The next packet of a deleted connection is new to the kernel: in alert that
// can reverse its direction, so only connections that are denied now are
// deleted.
func DeleteConnections(ctx context.Context, opt Options, match func(flow.Record) bool) (int, error) {
	type target struct {
		family uint8
		data   []byte
	}
	var targets []target
	mine := own{opt: opt}
	err := dump(ctx, opt, func(b []byte) error {
		conn, err := DecodeConnection(b)
		if err != nil || !conn.complete() {
			return err
		}
		rec := conn.record(opt.now(), false)
		rec.Hook = mine.hook(rec.Client, rec.Server)
		if match(rec) {
			family := uint8(unix.AF_INET)
			if conn.Orig.Src.Is6() {
				family = unix.AF_INET6
			}
			targets = append(targets, target{family, conn.name()})
		}
		return nil
	})
	if err != nil || len(targets) == 0 {
		return 0, err
	}
	conn, _, err := opt.dialNetfilter(0)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var n int
	var errs []error
	for _, x := range targets {
		err := ask(conn, ctDelete, 0, append(nfgen(x.family, 0), x.data...), nil)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, err)
			continue
		}
		n++
	}
	if err := errors.Join(errs...); err != nil {
		return n, fmt.Errorf("cannot delete %d of %d connections: %w", len(targets)-n, len(targets), err)
	}
	return n, nil
}

// DeleteConnection deletes the entry that a record is of. A record with an id
// names exactly that connection; without one every connection of the flow with
// the same client port is deleted.
func DeleteConnection(ctx context.Context, opt Options, rec flow.Record) (int, error) {
	return DeleteConnections(ctx, opt, func(r flow.Record) bool {
		if rec.ID != 0 && r.ID != rec.ID {
			return false
		}
		return r.Flow == rec.Flow && r.Zone == rec.Zone && (rec.SrcPort == 0 || r.SrcPort == rec.SrcPort)
	})
}

// name copies the attributes that name the entry: tuple, zone and id.
func (c Connection) name() []byte {
	var out []byte
	for _, raw := range [][]byte{c.rawOrig, c.rawZone, c.rawID} {
		out = append(out, raw...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	return out
}
