package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// errIntr: a dump was cut across by a change; read again.
var errIntr = errors.New("the dump was interrupted by a change")

// errLost: the reply is lost or the wait was cut short; the outcome of what
// was sent is unknown.
var errLost = errors.New("the kernel's reply is lost")

// Refused is the kernel's own no to a transaction: nothing of it was applied.
type Refused struct {
	What  string // what the first refused message wanted to do
	Errno unix.Errno
}

func (e *Refused) Error() string { return fmt.Sprintf("cannot %s: %v", e.What, e.Errno) }
func (e *Refused) Unwrap() error { return e.Errno }

// conn is one netlink socket; for one goroutine at a time.
type conn struct {
	nl    *netlink.Conn
	raw   syscall.RawConn
	seq   uint32
	room  int // largest batch that the send buffer takes
	inbuf []byte
}

// pageSize of reads: the kernel fills at most 32 KiB per message of a dump,
// and only when the reader offers as much. With small pages dumps of large
// sets are quadratic.
const pageSize = 64 << 10

func dial(nsfd int) (*conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: nsfd})
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("cannot open a netlink socket: %w; weir needs the capability CAP_NET_ADMIN, run it as root", err)
		}
		return nil, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	c := &conn{nl: nl, seq: uint32(time.Now().UnixNano()), inbuf: make([]byte, pageSize)}
	if c.raw, err = nl.SyscallConn(); err != nil {
		nl.Close()
		return nil, fmt.Errorf("cannot use the netlink socket: %w", err)
	}
	// Errors would otherwise repeat the refused message, up to 64 KiB each.
	if err := nl.SetOption(netlink.CapAcknowledge, true); err != nil {
		nl.Close()
		return nil, fmt.Errorf("cannot set up the netlink socket: %w", err)
	}
	// Both are wishes: without CAP_NET_ADMIN in the first user namespace the
	// kernel caps them, and batches become smaller.
	_ = nl.SetReadBuffer(4 << 20)
	_ = nl.SetWriteBuffer(8 << 20)
	size, err := nl.WriteBuffer()
	if err != nil {
		nl.Close()
		return nil, fmt.Errorf("cannot read the size of the send buffer: %w", err)
	}
	c.room = size - 4096
	return c, nil
}

func (c *conn) close() error { return c.nl.Close() }

// bound makes the socket's waits end with ctx; the returned function must be
// called when the exchange is over.
func (c *conn) bound(ctx context.Context) func() {
	set := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(set)
		_ = c.nl.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-set
			_ = c.nl.SetDeadline(time.Time{})
		}
	}
}

func (c *conn) write(b []byte) error {
	var err error
	to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	if werr := c.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), b, 0, to)
		return err != unix.EAGAIN
	}); werr != nil {
		return werr
	}
	return err
}

// read returns the next datagram; wait false: nil where none is there.
func (c *conn) read(wait bool) ([]byte, error) {
	var n, flags int
	var err error
	if rerr := c.raw.Read(func(fd uintptr) bool {
		n, _, flags, _, err = unix.Recvmsg(int(fd), c.inbuf, nil, unix.MSG_DONTWAIT)
		return err != unix.EAGAIN || !wait
	}); rerr != nil {
		return nil, rerr
	}
	if err == unix.EAGAIN {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if flags&unix.MSG_TRUNC != 0 {
		return nil, errors.New("a reply of the kernel is larger than 64 KiB")
	}
	return c.inbuf[:n], nil
}

// drain forgets replies to earlier, abandoned requests.
func (c *conn) drain() {
	for {
		b, err := c.read(false)
		if b == nil && err == nil {
			return
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
	}
}

// renumber gives the messages of a buffer fresh sequence numbers, and returns
// the first and that of the message that asks for an acknowledgement.
func (c *conn) renumber(b []byte) (first, acked uint32) {
	for off := 0; off+msgHdrLen <= len(b); {
		n := int(binary.NativeEndian.Uint32(b[off:]))
		if n < msgHdrLen {
			break
		}
		c.seq++
		binary.NativeEndian.PutUint32(b[off+8:], c.seq)
		if first == 0 {
			first = c.seq
		}
		if binary.NativeEndian.Uint16(b[off+6:])&unix.NLM_F_ACK != 0 {
			acked = c.seq
		}
		off += (n + 3) &^ 3
	}
	return first, acked
}

// transact sends one finished batch and waits for the kernel's answer.
// *Refused: nothing was applied. errLost: unknown.
func (c *conn) transact(ctx context.Context, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(b) > c.room+4096-64 {
		return fmt.Errorf("cannot send a transaction of %d bytes: the socket takes %d; raise net.core.wmem_max", len(b), c.room)
	}
	defer c.bound(ctx)()
	c.drain()
	first, acked := c.renumber(b)
	if err := c.write(b); err != nil {
		return fmt.Errorf("%w: cannot send: %w", errLost, err)
	}
	var refused *Refused
	for {
		in, err := c.read(refused == nil)
		if err != nil {
			return fmt.Errorf("%w: %w", errLost, err)
		}
		if in == nil {
			return refused
		}
		done := false
		for h, p := range messages(in) {
			if h.typ != unix.NLMSG_ERROR || int32(h.seq-first) < 0 || len(p) < 4 {
				continue
			}
			if code := int32(binary.NativeEndian.Uint32(p)); code != 0 && refused == nil {
				refused = &Refused{What: describeSeq(b, h.seq), Errno: unix.Errno(-code)}
			}
			done = done || h.seq == acked || h.seq == first
		}
		if done {
			if refused != nil {
				c.drain()
				return refused
			}
			return nil
		}
	}
}

func describeSeq(b []byte, seq uint32) string {
	for h, p := range messages(b) {
		if h.seq != seq {
			continue
		}
		if h.typ == unix.NFNL_MSG_BATCH_BEGIN {
			return "apply the transaction"
		}
		return describe(h, p)
	}
	return "apply the transaction"
}

// request sends one request and calls each for every message of the answer.
// For a dump errIntr says that a change cut across it.
func (c *conn) request(ctx context.Context, msg uint16, dump bool, body func(w *wire), each func(payload []byte) error) error {
	return c.ask(ctx, familyInet, msg, dump, body, each)
}

// requestFamily is a dump of everything of one family.
func (c *conn) requestFamily(ctx context.Context, family byte, msg uint16, each func(payload []byte) error) error {
	return c.ask(ctx, family, msg, true, nil, each)
}

func (c *conn) ask(ctx context.Context, family byte, msg uint16, dump bool, body func(w *wire), each func(payload []byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer c.bound(ctx)()
	c.drain()
	flags := uint16(0)
	if dump {
		flags = unix.NLM_F_DUMP
	} else {
		flags = unix.NLM_F_ACK
	}
	var w wire
	off := w.begin(subsys|msg, flags, family, 0)
	if body != nil {
		body(&w)
	}
	w.end(off)
	c.seq++
	seq := c.seq
	binary.NativeEndian.PutUint32(w[off+8:], seq)
	if err := c.write(w); err != nil {
		return fmt.Errorf("cannot ask the kernel: %w", err)
	}
	for {
		in, err := c.read(true)
		if err != nil {
			return fmt.Errorf("cannot read the kernel's answer: %w", err)
		}
		for h, p := range messages(in) {
			if h.seq != seq {
				continue
			}
			if h.flags&unix.NLM_F_DUMP_INTR != 0 {
				c.drain()
				return errIntr
			}
			switch h.typ {
			case unix.NLMSG_ERROR, unix.NLMSG_DONE:
				if len(p) >= 4 {
					if code := int32(binary.NativeEndian.Uint32(p)); code != 0 {
						return unix.Errno(-code)
					}
				}
				return nil
			default:
				if len(p) < 4 || each == nil {
					continue
				}
				if err := each(p[4:]); err != nil {
					c.drain()
					return err
				}
			}
		}
	}
}
