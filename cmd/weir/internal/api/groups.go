package api

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerGroups returns the supplementary groups that the peer of a unix socket had
// when it connected (SO_PEERGROUPS, since Linux 4.13): what it says of itself
// later, and whoever gets its process number after it, does not count.
func peerGroups(fd uintptr) ([]uint32, error) {
	buf := make([]uint32, 32)
	for {
		size := uint32(len(buf)) * 4
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return buf[:size/4], nil
		case errors.Is(errno, unix.ERANGE) && int(size/4) > len(buf) && size < 1<<22:
			buf = make([]uint32, size/4)
		default:
			return nil, errno
		}
	}
}
