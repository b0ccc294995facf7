package bench

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/nft/netns"
)

// wire is a packet socket at the client's end of the gateway's inside link.
// The kernel carries a packet from there through the gateway, to the far end,
// before the send returns, on the thread that sends: the time of a send is the
// cost of the way.
type wire struct {
	fd       int
	src, dst net.HardwareAddr
}

func openWire(t testing.TB, lab *netns.Lab) *wire {
	t.Helper()
	w := &wire{}
	var err error
	w.src, err = lab.Client.MAC(netns.ClientIf)
	must(t, err)
	w.dst, err = lab.Gateway.MAC(netns.InsideIf)
	must(t, err)
	must(t, lab.Client.Do(func() error {
		link, err := net.InterfaceByName(netns.ClientIf)
		if err != nil {
			return err
		}
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(w.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Ifindex: link.Index})
	}))
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

// frame is an Ethernet frame with a small UDP packet and good checksums:
// connection tracking calls others invalid.
func (w *wire) frame(from, to netip.AddrPort) []byte {
	const payload = 18 // makes the smallest Ethernet frame of IPv4
	src, dst := from.Addr().AsSlice(), to.Addr().AsSlice()
	udp := make([]byte, 8+payload)
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	sum := checksum(src, checksum(dst, uint32(len(udp))+unix.IPPROTO_UDP))
	c := fold(checksum(udp, sum))
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], c)

	b := append(append([]byte{}, w.dst...), w.src...)
	if from.Addr().Is4() {
		ip := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0}
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(udp)))
		ip = append(append(ip, src...), dst...)
		binary.BigEndian.PutUint16(ip[10:], fold(checksum(ip, 0)))
		return append(append(append(b, 0x08, 0x00), ip...), udp...)
	}
	ip := []byte{0x60, 0, 0, 0, 0, 0, unix.IPPROTO_UDP, 64}
	binary.BigEndian.PutUint16(ip[4:], uint16(len(udp)))
	ip = append(append(ip, src...), dst...)
	return append(append(append(b, 0x86, 0xdd), ip...), udp...)
}

func checksum(b []byte, sum uint32) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// chunk is how many packets one system call sends and one clock reading covers.
const chunk = 32

// train is a list of frames that is ready to be sent again and again.
type train struct {
	vecs []unix.Iovec
	msgs []mmsghdr
}

// mmsghdr is the struct of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   uint32
}

func newTrain(frames [][]byte) *train {
	t := &train{vecs: make([]unix.Iovec, len(frames)), msgs: make([]mmsghdr, len(frames))}
	for i, f := range frames {
		t.vecs[i].Base = &f[0]
		t.vecs[i].SetLen(len(f))
		t.msgs[i].hdr.Iov = &t.vecs[i]
		t.msgs[i].hdr.SetIovlen(1)
	}
	return t
}

// send sends the train and adds the time of each chunk, per packet, to took.
func (w *wire) send(t *train, took []time.Duration) ([]time.Duration, error) {
	for at := 0; at < len(t.msgs); at += chunk {
		n := min(chunk, len(t.msgs)-at)
		start := time.Now()
		got, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&t.msgs[at])), uintptr(n), 0, 0, 0)
		d := time.Since(start)
		if errno != 0 {
			return took, os.NewSyscallError("sendmmsg", errno)
		}
		if int(got) != n {
			return took, fmt.Errorf("sent %d of %d packets", got, n)
		}
		took = append(took, d/time.Duration(n))
	}
	return took, nil
}
