package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"weir/phases/flow"
)

// Message types and configuration of linux/netfilter/nfnetlink_log.h.
const (
	logPacket = unix.NFNL_SUBSYS_ULOG << 8
	logConfig = unix.NFNL_SUBSYS_ULOG<<8 | 1

	logCfgCmd     = 1
	logCfgMode    = 2
	logCfgBufSize = 3
	logCfgTimeout = 4
	logCfgFlags   = 6

	logBind       = 1
	logCopyPacket = 2
	logFlagSeq    = 1
	logFlagCT     = 4
)

// snaplen is how much of each packet is copied: an IPv6 header with a few
// extension headers and the ports.
const snaplen = 128

// ErrGroupTaken is returned by OpenPacketLog when another program listens to
// the log group in this network namespace; a group has one listener.
var ErrGroupTaken = errors.New("another program listens to this log group")

// PacketLog reads NFLOG groups. It is used by one goroutine; Stats and Close
// may be called from any.
type PacketLog struct {
	opt    Options
	conn   *netlink.Conn
	buffer int
	bare   bool // the kernel cannot add the connection to a line
	names  *names
	units  *units
	seq    map[uint16]uint32
	seqAt  map[uint16]time.Time
	early  [][]byte // lines that came while the groups were bound
	n      counters
}

// OpenPacketLog binds log groups; from then on their lines wait in the buffer.
// A group that is taken gives ErrGroupTaken, and nothing is bound.
func OpenPacketLog(opt Options, groups ...uint16) (*PacketLog, error) {
	if len(groups) == 0 {
		return nil, errors.New("cannot open the packet log: no group named")
	}
	conn, buffer, err := opt.dialNetfilter(0)
	if err != nil {
		return nil, err
	}
	l := &PacketLog{opt: opt, conn: conn, buffer: buffer, names: newNames(opt),
		seq: map[uint16]uint32{}, seqAt: map[uint16]time.Time{}}
	if opt.Units {
		l.units = newUnits(opt)
	}
	for _, g := range groups {
		tracked, err := l.bindGroup(g)
		if err != nil {
			return nil, closing(conn, err)
		}
		l.bare = l.bare || !tracked
	}
	return l, nil
}

// bindGroup listens to a group; tracked says whether its lines will carry the
// packet's connection.
func (l *PacketLog) bindGroup(group uint16) (tracked bool, err error) {
	o, c := l.opt, l.conn
	set := func(typ uint16, data ...byte) error {
		return ask(c, logConfig, 0, appendAttr(nfgen(unix.AF_UNSPEC, group), typ, data), func(m netlink.Message) {
			if m.Header.Type == logPacket {
				l.early = append(l.early, m.Data)
			}
		})
	}
	if err := set(logCfgCmd, logBind); err != nil {
		if who, taken := o.holder(group, c.PID()); taken {
			return false, fmt.Errorf("cannot listen to log group %d: %w (%s): end it or name other groups in the plan", group, ErrGroupTaken, who)
		}
		return false, fmt.Errorf("cannot listen to log group %d: %w", group, err)
	}
	for _, step := range []struct {
		what string
		typ  uint16
		data []byte
	}{
		{"copy packets of", logCfgMode, append(be32(snaplen), logCopyPacket, 0)},
		{"set the buffer of", logCfgBufSize, be32(32 << 10)},
		{"set the delay of", logCfgTimeout, be32(10)}, // hundredths of a second
	} {
		if err := set(step.typ, step.data...); err != nil {
			return false, fmt.Errorf("cannot %s log group %d: %w", step.what, group, err)
		}
	}
	err = set(logCfgFlags, be16(logFlagSeq|logFlagCT)...)
	tracked = err == nil
	if errors.Is(err, unix.EOPNOTSUPP) {
		// A kernel without CONFIG_NETFILTER_NETLINK_GLUE_CT or the module
		// nf_conntrack_netlink: the packet alone must do.
		err = set(logCfgFlags, be16(logFlagSeq)...)
	}
	if err != nil {
		return false, fmt.Errorf("cannot number the lines of log group %d: %w", group, err)
	}
	return tracked, nil
}

// holder says who listens to a group. The kernel answers EPERM both to a
// second listener and to one without CAP_NET_ADMIN; its list tells them apart.
func (o Options) holder(group uint16, mine uint32) (who string, taken bool) {
	err := o.within(func() error {
		text, err := os.ReadFile(o.path("/proc/thread-self/net/netfilter/nfnetlink_log"))
		if err != nil {
			return err
		}
		port, bound := parseHolders(string(text))[group]
		if taken = bound && port != mine; !taken {
			return nil
		}
		who = fmt.Sprintf("netlink port %d", port)
		// The first netlink socket of a program has its process id as its port.
		if name, err := os.ReadFile(o.path(fmt.Sprintf("/proc/%d/comm", port))); err == nil {
			who = fmt.Sprintf("%s, process %d", strings.TrimSpace(string(name)), port)
		}
		return nil
	})
	return who, taken && err == nil
}

// parseHolders reads /proc/net/netfilter/nfnetlink_log: group, netlink port of
// its listener, and five more numbers.
func parseHolders(text string) map[uint16]uint32 {
	out := map[uint16]uint32{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		group, err1 := strconv.ParseUint(f[0], 10, 16)
		port, err2 := strconv.ParseUint(f[1], 10, 32)
		if err1 == nil && err2 == nil {
			out[uint16(group)] = uint32(port)
		}
	}
	return out
}

// Run gives every line to the sink until ctx ends; then it returns nil.
func (l *PacketLog) Run(ctx context.Context, sink Sink) error {
	for _, b := range l.early {
		l.n.messages.Add(1)
		l.line(b, sink)
	}
	l.early = nil
	r := newReader(l.opt, l.conn)
	return r.run(ctx, func(m message) error {
		if m.typ != logPacket {
			return nil
		}
		l.n.messages.Add(1)
		l.line(m.data, sink)
		return nil
	}, func(from, to time.Time, n uint64) {
		// How many of which group is told by the next line's number; here it
		// is said at once that the view is broken.
		l.n.gaps.Add(1)
		sink.gap(Gap{From: from, To: to, Source: SourceLog})
	})
}

func (l *PacketLog) line(b []byte, sink Sink) {
	line, err := DecodeLine(b)
	if err != nil {
		l.n.undecoded.Add(1)
		return
	}
	now := l.opt.now()
	l.number(line, now, sink)
	tag, ok := ParseTag(line.Prefix)
	if !ok {
		l.n.foreign.Add(1)
		return
	}
	f, asked, srcPort, ok := line.flow()
	if !ok {
		if line.Packet.Later {
			l.n.fragments.Add(1)
		} else {
			l.n.undecoded.Add(1)
		}
		return
	}
	at := line.Time
	if at.IsZero() {
		at = now
	}
	rec := flow.Record{
		Flow: f, Asked: asked, First: at, Last: at, SrcPort: srcPort,
		New: tag.Verdict == flow.Seen, Answered: line.HasConn && line.Conn.Answered(), Inbound: tag.Inbound,
		ID: line.Conn.ID, Zone: line.Conn.Zone,
		In: l.names.of(line.In), Out: l.names.of(line.Out), MAC: line.MAC, Hook: hookOf(line.Hook),
		Source: "kernel", Verdict: tag.Verdict, Group: tag.Group, UID: line.UID,
	}
	if l.units != nil && rec.Hook == "output" {
		rec.Unit = l.units.of(rec)
	}
	l.n.records.Add(1)
	sink.Record(rec)
}

// hookOf names the filter hook that a packet goes to: what is logged before
// routing to the honeypot was on its way through.
func hookOf(hook string) string {
	switch hook {
	case "prerouting", "forward":
		return "forward"
	case "postrouting", "output":
		return "output"
	}
	return hook
}

// number compares a line's number within its group with the one before.
func (l *PacketLog) number(line Line, now time.Time, sink Sink) {
	if !line.HasSeq {
		return
	}
	want, known := l.seq[line.Group]
	from := l.seqAt[line.Group]
	l.seq[line.Group], l.seqAt[line.Group] = line.Seq+1, now
	if lost := line.Seq - want; lost != 0 {
		if !known {
			from = now // the lines before this reader's first are another's loss
		}
		l.n.lost.Add(uint64(lost))
		l.n.gaps.Add(1)
		sink.gap(Gap{From: from, To: now, Source: SourceLog, Group: line.Group, Lost: uint64(lost)})
	}
}

// Stats returns what was read so far.
func (l *PacketLog) Stats() Stats {
	s := l.n.stats(l.buffer)
	s.Tracked = !l.bare
	return s
}

// Close gives the groups back; a Run in progress ends with an error.
func (l *PacketLog) Close() error {
	err := l.conn.Close()
	if l.units != nil {
		err = errors.Join(err, l.units.close())
	}
	return err
}
