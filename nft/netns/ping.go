package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Ping sends one ICMP or ICMPv6 echo request and waits for its answer. An ICMP
// error that comes back is returned as the kernel's error, silence as
// os.ErrDeadlineExceeded.
func (n *NS) Ping(address string, timeout time.Duration) error {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("cannot ping: %w", err)
	}
	var fd int
	if err := n.with("ping "+address, func() (err error) {
		fd, err = pingSocket(a)
		return err
	}); err != nil {
		return err
	}
	// From here on the socket may be used on any thread.
	f := os.NewFile(uintptr(fd), "ping")
	defer f.Close()
	if err := f.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	request := make([]byte, 32)
	request[0] = 8
	if a.Is6() {
		request[0] = 128
	}
	const seq = 1
	binary.BigEndian.PutUint16(request[6:], seq)
	if _, err := f.Write(request); err != nil {
		return fmt.Errorf("cannot ping %s: %w", a, errno(err))
	}
	buf := make([]byte, 256)
	k, err := f.Read(buf)
	switch {
	case err != nil:
		return fmt.Errorf("no answer from %s: %w", a, errno(err))
	case k < 8 || binary.BigEndian.Uint16(buf[6:]) != seq:
		return fmt.Errorf("no answer from %s: another packet of %d bytes", a, k)
	}
	return nil
}

// errno takes off what os.File wraps around: its path means nothing here.
func errno(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// pingSocket opens a connected ICMP datagram socket: the kernel sets the id
// and the checksum, and delivers only answers to its own requests.
func pingSocket(a netip.Addr) (int, error) {
	var sa unix.Sockaddr = &unix.SockaddrInet4{}
	domain, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if a.Is6() {
		sa = &unix.SockaddrInet6{Addr: a.As16()}
		domain, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	} else {
		sa.(*unix.SockaddrInet4).Addr = a.As4()
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	// Every ICMP error is wanted, not only the final ones.
	if a.Is6() {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	} else {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	}
	if err == nil {
		err = unix.Connect(fd, sa)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("connect: %w", err), unix.Close(fd))
	}
	return fd, nil
}
