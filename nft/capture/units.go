package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"weir/phases/flow"
)

// Numbers of linux/sock_diag.h and linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	diagTClass       = 6 // asking for the traffic class brings the cgroup as well
	diagCgroupID     = 21
	diagMsgSize      = 72
)

// units finds the systemd unit of a sending socket, best effort: the kernel
// names the socket's inode and cgroup in one answer. Where the cgroup says
// nothing (cgroup v1), the processes' open files are searched, at most once a
// second.
type units struct {
	opt     Options
	conn    *netlink.Conn
	groups  map[uint64]string // cgroup id → unit
	grouped time.Time
	inodes  map[uint32]string // socket inode → unit
	scanned time.Time
}

func newUnits(opt Options) *units { return &units{opt: opt} }

func (u *units) close() error {
	if u.conn == nil {
		return nil
	}
	return u.conn.Close()
}

// of returns the unit of the socket that sent a record's first packet, "" where
// it cannot be told: the socket is gone, or belongs to no unit.
func (u *units) of(rec flow.Record) string {
	inode, group, err := u.socket(rec)
	if err != nil {
		return ""
	}
	if unit := u.byGroup(group); unit != "" {
		return unit
	}
	return u.byInode(inode)
}

func (u *units) byGroup(id uint64) string {
	unit, known := u.groups[id]
	if now := u.opt.now(); !known && id > 1 && now.Sub(u.grouped) > time.Second {
		u.grouped = now
		u.groups = cgroupUnits(u.opt.path("/sys/fs/cgroup"))
		unit = u.groups[id]
	}
	return unit
}

// cgroupUnits maps the ids of cgroup v2, which are the inodes of its
// directories, to units.
func cgroupUnits(root string) map[uint64]string {
	out := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // a cgroup may end while it is listed
		}
		var st syscall.Stat_t
		if syscall.Stat(path, &st) == nil {
			out[st.Ino] = unitOf(strings.TrimPrefix(path, root))
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return out
}

// unitOf returns the innermost unit in a cgroup's path.
func unitOf(cgroup string) string {
	unit := ""
	for part := range strings.SplitSeq(cgroup, "/") {
		switch filepath.Ext(part) {
		case ".service", ".scope":
			unit = part
		}
	}
	return unit
}

func (u *units) byInode(inode uint32) string {
	unit, known := u.inodes[inode]
	if now := u.opt.now(); !known && inode != 0 && now.Sub(u.scanned) > time.Second {
		u.scanned = now
		u.inodes = socketUnits(u.opt.path("/proc"))
		unit = u.inodes[inode]
	}
	return unit
}

// socketUnits maps the inodes of all open sockets to their owner's unit.
func socketUnits(proc string) map[uint32]string {
	out := map[uint32]string{}
	dirs, err := filepath.Glob(proc + "/[0-9]*")
	if err != nil {
		return out
	}
	for _, dir := range dirs {
		text, err := os.ReadFile(dir + "/cgroup")
		if err != nil {
			continue
		}
		unit := processUnit(string(text))
		if unit == "" {
			continue
		}
		fds, err := os.ReadDir(dir + "/fd")
		if err != nil {
			continue
		}
		for _, fd := range fds {
			to, err := os.Readlink(dir + "/fd/" + fd.Name())
			if err != nil {
				continue
			}
			if in, ok := strings.CutPrefix(to, "socket:["); ok {
				if n, err := strconv.ParseUint(strings.TrimSuffix(in, "]"), 10, 32); err == nil {
					out[uint32(n)] = unit
				}
			}
		}
	}
	return out
}

// processUnit reads /proc/<pid>/cgroup: "0::/path" (v2) or
// "1:name=systemd:/path" (v1).
func processUnit(text string) string {
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 && (f[0] == "0" || f[1] == "name=systemd") {
			if unit := unitOf(f[2]); unit != "" {
				return unit
			}
		}
	}
	return ""
}

var errNoSocket = errors.New("the socket is not listed")

// socket asks the kernel for the socket that a record's first packet came from.
func (u *units) socket(rec flow.Record) (inode uint32, cgroup uint64, err error) {
	if rec.Proto != flow.TCP && rec.Proto != flow.UDP {
		return 0, 0, errNoSocket
	}
	if u.conn == nil {
		opt := u.opt
		opt.Buffer = 1 << 20
		if u.conn, _, err = opt.dial(unix.NETLINK_INET_DIAG, 0); err != nil {
			return 0, 0, err
		}
	}
	asked := netip.AddrPortFrom(rec.Server, rec.Port)
	if rec.Asked.IsValid() {
		asked = rec.Asked
	}
	local := netip.AddrPortFrom(rec.Client, rec.SrcPort)
	if rec.Proto == flow.UDP {
		// The kernel looks a UDP socket up as a packet to it would be.
		local, asked = asked, local
	}
	replies, err := u.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request},
		Data:   diagRequest(rec.Proto, local, asked),
	})
	if err != nil {
		return 0, 0, fmt.Errorf("cannot find the socket of %v: %w", rec.Flow, err)
	}
	for _, m := range replies {
		if m.Header.Type == sockDiagByFamily {
			return decodeDiag(m.Data)
		}
	}
	return 0, 0, errNoSocket
}

// diagRequest is struct inet_diag_req_v2: family, protocol, extensions,
// padding, states, and the socket: ports, addresses of 16 bytes, interface,
// cookie (all ones: any).
func diagRequest(p flow.Proto, src, dst netip.AddrPort) []byte {
	family := byte(unix.AF_INET)
	if src.Addr().Is6() {
		family = unix.AF_INET6
	}
	b := []byte{family, byte(p), 1 << (diagTClass - 1), 0, 0xff, 0xff, 0xff, 0xff}
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	for _, a := range []netip.Addr{src.Addr(), dst.Addr()} {
		b = append(b, a.AsSlice()...)
		b = append(b, make([]byte, 16-a.BitLen()/8)...)
	}
	b = append(b, 0, 0, 0, 0)
	return append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
}

// decodeDiag reads struct inet_diag_msg, whose last word is the inode, and the
// attributes behind it.
func decodeDiag(b []byte) (inode uint32, cgroup uint64, err error) {
	if len(b) < diagMsgSize {
		return 0, 0, errShort
	}
	inode = binary.NativeEndian.Uint32(b[diagMsgSize-4:])
	a := attrs{rest: b[diagMsgSize:]}
	for a.next() {
		if a.typ == diagCgroupID && len(a.data) >= 8 {
			cgroup = binary.NativeEndian.Uint64(a.data)
		}
	}
	return inode, cgroup, a.err
}
