package capture

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"weir/phases/flow"
)

// DefaultBuffer is the receive buffer asked for: about 26,000 events. Without
// CAP_NET_ADMIN in the initial user namespace the kernel gives
// net.core.rmem_max; Stats says what was given.
const DefaultBuffer = 32 << 20

// Options say where and how the sockets of this package are opened. The zero
// value is this process's own network namespace.
type Options struct {
	NetNS  int              // open file of the network namespace; 0: the process's own
	Buffer int              // bytes; 0: DefaultBuffer
	Now    func() time.Time // nil: time.Now
	Root   string           // where proc and sys are mounted; "": /
	Units  bool             // on hosts: look up the systemd unit of each sending socket
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// dial opens a netlink socket in the namespace, with the multicast groups of
// the bit mask joined from the first moment.
func (o Options) dial(family int, groups uint32) (*netlink.Conn, int, error) {
	c, err := netlink.Dial(family, &netlink.Config{NetNS: o.NetNS, Groups: groups})
	if err != nil {
		return nil, 0, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	want := o.Buffer
	if want == 0 {
		want = DefaultBuffer
	}
	if err := c.SetReadBuffer(want); err != nil {
		return nil, 0, fmt.Errorf("cannot set the receive buffer: %w", closing(c, err))
	}
	got, err := c.ReadBuffer()
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read the receive buffer's size: %w", closing(c, err))
	}
	return c, got, nil
}

func (o Options) dialNetfilter(groups uint32) (*netlink.Conn, int, error) {
	return o.dial(unix.NETLINK_NETFILTER, groups)
}

// Sink takes what a reader finds. Calls never overlap within one reader; a
// callback that is slower than the traffic leads to a Gap, never to a stop.
type Sink struct {
	Record func(flow.Record)
	Gap    func(Gap) // nil: gaps are only counted
}

func (s Sink) gap(g Gap) {
	if s.Gap != nil {
		s.Gap(g)
	}
}

// The names in Gap.Source.
const (
	SourceLog     = "log"
	SourceDestroy = "destroy"
)

// Gap is a time in which a reader lost messages.
type Gap struct {
	From, To time.Time // rollout time; From is the last message before the loss
	Source   string    // SourceLog or SourceDestroy
	Group    uint16    // of the packet log
	Lost     uint64    // messages; 0: the kernel did not say how many
}

// Stats counts what one reader did since it was opened.
type Stats struct {
	Messages  uint64 // received
	Records   uint64 // given to the sink
	Gaps      uint64
	Lost      uint64 // messages that the kernel dropped, by sequence numbers or by its own count
	Foreign   uint64 // log lines whose prefix is not weir's
	Fragments uint64 // later fragments without ports, not reported
	Undecoded uint64 // messages that could not be read
	Dumps     uint64 // times that the connection table was read
	Buffer    int    // receive buffer in bytes as the kernel gave it
	Tracked   bool   // of the packet log: lines carry their connection, so Asked is known from the first packet
}

// counters is Stats while the reader runs.
type counters struct {
	messages, records, gaps, lost, foreign, fragments, undecoded, dumps atomic.Uint64
}

func (c *counters) stats(buffer int) Stats {
	return Stats{
		Messages: c.messages.Load(), Records: c.records.Load(), Gaps: c.gaps.Load(), Lost: c.lost.Load(),
		Foreign: c.foreign.Load(), Fragments: c.fragments.Load(), Undecoded: c.undecoded.Load(),
		Dumps: c.dumps.Load(), Buffer: buffer,
	}
}
