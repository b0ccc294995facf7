package capture

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// message is one netlink message; data is valid only during the callback.
type message struct {
	typ, flags uint16
	seq        uint32
	data       []byte
}

// reader receives netlink messages without allocating, and tells of each time
// in which the kernel could not deliver: from the error ENOBUFS until the
// buffer was read empty, because until then the kernel drops everything.
type reader struct {
	opt    Options
	conn   *netlink.Conn
	buf    []byte
	last   time.Time // of the last message
	lossAt time.Time // of the last message before the loss that goes on; zero: none
	drops  uint64    // the kernel's count at the last look
}

func newReader(opt Options, conn *netlink.Conn) *reader {
	return &reader{opt: opt, conn: conn, buf: make([]byte, 256<<10), last: opt.now()}
}

// run calls each for every message until ctx ends (nil), the socket fails, or
// each returns an error. lost is called behind each loss, with the kernel's
// count of dropped messages (0 where it could not be read).
func (r *reader) run(ctx context.Context, each func(message) error, lost func(from, to time.Time, n uint64)) error {
	raw, err := r.conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot reach the netlink socket: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		// A closed socket has no deadline; run then ends by the close.
		_ = r.conn.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	for {
		n, err := r.recv(raw, lost)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			if r.lossAt.IsZero() {
				r.lossAt = r.last
			}
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("cannot receive from the kernel: %w", err)
		}
		r.last = r.opt.now()
		if err := split(r.buf[:n], each); err != nil {
			return err
		}
	}
}

func (r *reader) recv(raw syscall.RawConn, lost func(from, to time.Time, n uint64)) (n int, err error) {
	waitErr := raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), r.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if !errors.Is(err, unix.EAGAIN) {
			return true
		}
		if !r.lossAt.IsZero() {
			from := r.lossAt
			r.lossAt = time.Time{}
			lost(from, r.opt.now(), r.dropped())
		}
		return false
	})
	if waitErr != nil {
		return 0, waitErr
	}
	if err == nil && n > len(r.buf) {
		return 0, fmt.Errorf("a message of %d bytes is longer than the buffer", n)
	}
	return n, err
}

// dropped returns how many messages the kernel dropped since the last call.
func (r *reader) dropped() uint64 {
	var total uint64
	err := r.opt.within(func() error {
		f, err := os.Open(r.opt.path("/proc/thread-self/net/netlink"))
		if err != nil {
			return err
		}
		defer f.Close()
		total, err = parseDrops(f, unix.NETLINK_NETFILTER, r.conn.PID())
		return err
	})
	if err != nil || total < r.drops {
		return 0
	}
	n := total - r.drops
	r.drops = total
	return n
}

// parseDrops finds the column Drops of one socket in /proc/net/netlink, by
// netlink family and port id.
func parseDrops(in io.Reader, family int, port uint32) (uint64, error) {
	s := bufio.NewScanner(in)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 9 || f[1] != strconv.Itoa(family) || f[2] != strconv.FormatUint(uint64(port), 10) {
			continue
		}
		return strconv.ParseUint(f[8], 10, 64)
	}
	if err := s.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("cannot find netlink socket %d", port)
}

// split calls each for the messages of one datagram. Messages without content
// (NOOP, DONE) are left out; an error message becomes an error.
func split(b []byte, each func(message) error) error {
	for len(b) >= unix.SizeofNlMsghdr {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return errShort
		}
		m := message{
			typ: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
			seq: binary.NativeEndian.Uint32(b[8:]), data: b[unix.SizeofNlMsghdr:n],
		}
		b = b[min((n+3)&^3, len(b)):]
		switch m.typ {
		case unix.NLMSG_NOOP, unix.NLMSG_OVERRUN:
			continue
		case unix.NLMSG_DONE:
			if m.flags&unix.NLM_F_MULTI == 0 {
				continue // the end of a batch of log lines
			}
		case unix.NLMSG_ERROR:
			if len(m.data) < 4 {
				return errShort
			}
			if code := int32(binary.NativeEndian.Uint32(m.data)); code != 0 {
				return unix.Errno(-code)
			}
			continue
		}
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}

// ask sends one request that the kernel acknowledges. Other messages may come
// before the answer; each is given to beside, which may be nil.
func ask(c *netlink.Conn, typ uint16, flags netlink.HeaderFlags, data []byte, beside func(netlink.Message)) error {
	sent, err := c.Send(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   data,
	})
	if err != nil {
		return err
	}
	for answered := false; !answered; {
		got, err := c.Receive()
		if err != nil {
			return err
		}
		for _, m := range got {
			switch {
			case m.Header.Type == netlink.Error && m.Header.Sequence == sent.Header.Sequence:
				answered = true
			case beside != nil:
				beside(m)
			}
		}
	}
	return nil
}
