package honeypot

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// originalDst is SO_ORIGINAL_DST of linux/netfilter_ipv4.h, and
// IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h.
const originalDst = 80

// OriginalDestination returns the address that the other side connected to, as
// connection tracking remembers it. Of a connection that was not redirected it
// is the local one. Without connection tracking it is an error.
func OriginalDestination(c *net.TCPConn) (netip.AddrPort, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	v6 := addrPort(c.LocalAddr()).Addr().Is6()
	var to netip.AddrPort
	var serr error
	err = raw.Control(func(fd uintptr) {
		if v6 {
			var a unix.RawSockaddrInet6
			if serr = getsockopt(fd, unix.SOL_IPV6, unsafe.Pointer(&a), unsafe.Sizeof(a)); serr == nil {
				to = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), port(a.Port))
			}
			return
		}
		var a unix.RawSockaddrInet4
		if serr = getsockopt(fd, unix.SOL_IP, unsafe.Pointer(&a), unsafe.Sizeof(a)); serr == nil {
			to = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), port(a.Port))
		}
	})
	if err == nil {
		err = serr
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cannot read the original destination: %w", err)
	}
	return to, nil
}

// port reads a port that stands in network order in a field of host order.
func port(field uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, field))
}

func getsockopt(fd uintptr, level int, p unsafe.Pointer, size uintptr) error {
	n := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, uintptr(level), originalDst, uintptr(p), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
