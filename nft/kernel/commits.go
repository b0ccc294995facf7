package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Commit is one change of the namespace's rulesets, by anyone, as the kernel
// tells it when it is done.
type Commit struct {
	Gen  uint32 // the generation that it made
	PID  int    // thread that sent it, in the first process namespace
	Name string // its name, at most 15 bytes
	Port uint32 // netlink address of the socket that it came from; see Kernel.Port
}

// ErrMissed is returned by Commits.Next where the kernel could not queue a
// message: something was changed, and by whom is not known.
var ErrMissed = errors.New("the kernel lost a message about a change of nftables")

// Commits listens to changes of the namespace's rulesets. For one goroutine.
type Commits struct {
	nl  *netlink.Conn
	raw syscall.RawConn
	buf []byte
}

// Listen opens a Commits. Only the message that ends a transaction is
// delivered: the kernel's own filter drops those about single objects, of which
// there may be a million.
func Listen(o Options) (*Commits, error) {
	fd := o.NetNS
	if o.NetPath != "" {
		f, err := os.Open(o.NetPath)
		if err != nil {
			return nil, fmt.Errorf("cannot open network namespace: %w", err)
		}
		defer f.Close()
		fd = int(f.Fd())
	}
	c, err := listen(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot listen to changes of nftables: %w", err)
	}
	return c, nil
}

const groupNftables = 7 // NFNLGRP_NFTABLES

func listen(fd int) (*Commits, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: fd})
	if err != nil {
		return nil, err
	}
	c := &Commits{nl: nl, buf: make([]byte, 8<<10)}
	if c.raw, err = nl.SyscallConn(); err == nil {
		var filter []bpf.RawInstruction
		if filter, err = onlyGenerations(); err == nil {
			err = nl.SetBPF(filter)
		}
	}
	if err == nil {
		err = nl.JoinGroup(groupNftables)
	}
	if err != nil {
		nl.Close()
		return nil, err
	}
	return c, nil
}

// onlyGenerations passes NFT_MSG_NEWGEN, whose type is in host byte order.
func onlyGenerations() ([]bpf.RawInstruction, error) {
	typ := binary.NativeEndian.AppendUint16(nil, subsys|unix.NFT_MSG_NEWGEN)
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(binary.BigEndian.Uint16(typ)), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1 << 18},
	})
}

// Next waits for the next change. ErrMissed: at least one is not told, and Next
// may be called again. After Close, or when ctx ends, it returns another error.
func (c *Commits) Next(ctx context.Context) (Commit, error) {
	stop := context.AfterFunc(ctx, func() { c.nl.Close() })
	defer stop()
	for {
		var n int
		var err error
		rerr := c.raw.Read(func(fd uintptr) bool {
			n, _, _, _, err = unix.Recvmsg(int(fd), c.buf, nil, unix.MSG_DONTWAIT)
			return err != unix.EAGAIN
		})
		switch {
		case ctx.Err() != nil:
			return Commit{}, ctx.Err()
		case rerr != nil:
			return Commit{}, fmt.Errorf("cannot read changes of nftables: %w", rerr)
		case errors.Is(err, unix.ENOBUFS):
			c.drain()
			return Commit{}, ErrMissed
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return Commit{}, fmt.Errorf("cannot read changes of nftables: %w", err)
		}
		if out, ok := readCommit(c.buf[:n]); ok {
			return out, nil
		}
	}
}

// drain forgets what is queued: until the queue is empty the kernel adds nothing
// to it and does not say so again. Whoever looks after that misses nothing.
func (c *Commits) drain() {
	_ = c.raw.Read(func(fd uintptr) bool {
		for {
			_, _, _, _, err := unix.Recvmsg(int(fd), c.buf, nil, unix.MSG_DONTWAIT)
			if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
				return true
			}
		}
	})
}

// readCommit reads the first message about a generation.
func readCommit(b []byte) (Commit, bool) {
	for h, p := range messages(b) {
		if h.typ != subsys|unix.NFT_MSG_NEWGEN || len(p) < 4 {
			continue
		}
		return Commit{
			Gen: be32(attr(p[4:], unix.NFTA_GEN_ID)), PID: int(be32(attr(p[4:], unix.NFTA_GEN_PROC_PID))),
			Name: text(attr(p[4:], unix.NFTA_GEN_PROC_NAME)), Port: h.port,
		}, true
	}
	return Commit{}, false
}

// Close ends the listening.
func (c *Commits) Close() error { return c.nl.Close() }

// SetBuffer sets how many bytes of messages the kernel queues; the default is
// net.core.rmem_default.
func (c *Commits) SetBuffer(bytes int) error { return c.nl.SetReadBuffer(bytes) }

// Port is the netlink address of this connection's socket: a Commit with it is
// one of its own.
func (k *Kernel) Port() uint32 { return k.c.nl.PID() }
