package capture

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"weir/phases/flow"
)

// Message types of linux/netfilter/nfnetlink_conntrack.h and the multicast
// group of DESTROY events as a bit.
const (
	ctNew          = unix.NFNL_SUBSYS_CTNETLINK << 8
	ctGet          = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	ctDelete       = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2
	destroyGroup   = 1 << (3 - 1)
	dumpInterrupts = 3 // times that an interrupted dump is begun again
)

// Connections reads the end of every connection, and the connections that are
// open: once at its start, behind every loss, and when asked.
//
// A record with Closed is the connection's last word: it alone has New, and
// its bytes are complete. One without is a snapshot with the bytes so far; the
// same connection (ID, Zone, First) comes again.
type Connections struct {
	opt    Options
	conn   *netlink.Conn
	buffer int
	own    own
	redump chan struct{}
	n      counters

	mu      sync.Mutex // guards guessed and the sink's calls
	guessed map[entry]struct{}
}

// entry names a connection while it lives.
type entry struct {
	id   uint32
	zone uint16
}

// OpenConnections joins the DESTROY events; from then on they wait in the
// buffer. Prepare must have set the sysctls, else events of connections older
// than the reader never come and bytes are missing.
func OpenConnections(opt Options) (*Connections, error) {
	conn, buffer, err := opt.dialNetfilter(destroyGroup)
	if err != nil {
		return nil, err
	}
	return &Connections{opt: opt, conn: conn, buffer: buffer, own: own{opt: opt},
		redump: make(chan struct{}, 1), guessed: map[entry]struct{}{}}, nil
}

// Run reads the table once and then gives every ended connection to the sink
// until ctx ends; then it returns nil. Behind each loss it reports a Gap and
// reads the table again.
func (c *Connections) Run(ctx context.Context, sink Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.Redump()
	dumps := make(chan error, 1)
	go func() {
		err := c.dumpWhenAsked(ctx, sink)
		cancel()
		dumps <- err
	}()
	err := newReader(c.opt, c.conn).run(ctx, func(m message) error {
		if m.typ == ctDelete {
			c.n.messages.Add(1)
			c.take(m.data, true, sink)
		}
		return nil
	}, func(from, to time.Time, lost uint64) {
		c.n.gaps.Add(1)
		c.n.lost.Add(lost)
		c.mu.Lock()
		sink.gap(Gap{From: from, To: to, Source: SourceDestroy, Lost: lost})
		c.mu.Unlock()
		c.Redump()
	})
	cancel()
	return errors.Join(err, <-dumps)
}

// Redump asks a running Run to read the table again. It never waits; requests
// during a dump become one more dump.
func (c *Connections) Redump() {
	select {
	case c.redump <- struct{}{}:
	default:
	}
}

func (c *Connections) dumpWhenAsked(ctx context.Context, sink Sink) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.redump:
		}
		err := dump(ctx, c.opt, func(b []byte) error {
			c.take(b, false, sink)
			return nil
		})
		if err != nil && ctx.Err() == nil {
			return err
		}
		c.n.dumps.Add(1)
	}
}

// Dump streams the connection table like the function Dump, and remembers which
// connections were met in their middle, so that their ends are told as guessed.
func (c *Connections) Dump(ctx context.Context, fn func(flow.Record) error) error {
	err := Dump(ctx, c.opt, func(r flow.Record) error {
		if r.Guessed {
			c.mu.Lock()
			c.guessed[entry{r.ID, r.Zone}] = struct{}{}
			c.mu.Unlock()
		}
		return fn(r)
	})
	if err == nil {
		c.n.dumps.Add(1)
	}
	return err
}

func (c *Connections) take(b []byte, closed bool, sink Sink) {
	conn, err := DecodeConnection(b)
	if err != nil || !conn.complete() {
		c.n.undecoded.Add(1)
		return
	}
	rec := conn.record(c.opt.now(), closed)
	rec.Hook = c.own.hook(rec.Client, rec.Server)
	key := entry{conn.ID, conn.Zone}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case closed:
		if _, ok := c.guessed[key]; ok {
			rec.Guessed = true
			delete(c.guessed, key)
		}
	case rec.Guessed:
		c.guessed[key] = struct{}{}
	}
	c.n.records.Add(1)
	sink.Record(rec)
}

// Stats returns what was read so far.
func (c *Connections) Stats() Stats { return c.n.stats(c.buffer) }

// Close leaves the events; a Run in progress ends with an error.
func (c *Connections) Close() error { return c.conn.Close() }

// Dump streams the connection table of both families, one record at a time. An
// error of fn ends it and is returned.
func Dump(ctx context.Context, opt Options, fn func(flow.Record) error) error {
	mine := own{opt: opt}
	return dump(ctx, opt, func(b []byte) error {
		conn, err := DecodeConnection(b)
		if err != nil {
			return fmt.Errorf("cannot read an entry of the connection table: %w", err)
		}
		if !conn.complete() {
			return nil
		}
		rec := conn.record(opt.now(), false)
		rec.Hook = mine.hook(rec.Client, rec.Server)
		return fn(rec)
	})
}

// errInterrupted is returned when the kernel says that the table changed under
// a dump, so that entries may be missing.
var errInterrupted = errors.New("the connection table changed while it was read")

func dump(ctx context.Context, opt Options, each func([]byte) error) error {
	for try := 1; ; try++ {
		err := dumpOnce(ctx, opt, each)
		if errors.Is(err, errInterrupted) && try < dumpInterrupts {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot read the connection table: %w", err)
		}
		return nil
	}
}

// errDone ends the reader of a dump.
var errDone = errors.New("the dump is complete")

func dumpOnce(ctx context.Context, opt Options, each func([]byte) error) error {
	opt.Buffer = 1 << 20 // the kernel waits for the reader of a dump
	conn, _, err := opt.dialNetfilter(0)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Send(netlink.Message{
		Header: netlink.Header{Type: ctGet, Flags: netlink.Request | netlink.Dump},
		Data:   nfgen(unix.AF_UNSPEC, 0),
	})
	if err != nil {
		return err
	}
	var lost, interrupted bool
	err = newReader(opt, conn).run(ctx, func(m message) error {
		interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
		switch m.typ {
		case unix.NLMSG_DONE:
			return errDone
		case ctNew:
			return each(m.data)
		}
		return nil
	}, func(time.Time, time.Time, uint64) { lost = true })
	switch {
	case errors.Is(err, errDone) && (lost || interrupted):
		return errInterrupted
	case errors.Is(err, errDone):
		return nil
	case err == nil:
		return ctx.Err()
	}
	return err
}
