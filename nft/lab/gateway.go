package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft/kernel"
	"weir/nft/netns"
)

// gateway is the middle one of three namespaces. Its interfaces resolve no
// neighbours and the far ends have no addresses, so nothing answers and nothing
// is sent that was not asked for.
type gateway struct {
	at, inside, outside *netns.NS
	k                   *kernel.Kernel
	links               map[string]*link
	raw                 map[int]int           // family → socket of the gateway itself
	to                  map[uint32]netip.Addr // destination of each packet that was sent
	left                map[uint32]string
	buf                 []byte
}

// link is an interface of the gateway with packet sockets at its far end (in,
// to send; seen, to hear) and on itself.
type link struct {
	name          string
	mac, far      net.HardwareAddr
	in, seen, own int
	marks         int // of ours that were heard at the far end, and on itself
	ownMarks      int
}

const (
	etherMark = 0x88b5 // IEEE 802: for local experiments; no ruleset and no IP sees it
	etherIP4  = unix.ETH_P_IP
	etherIP6  = unix.ETH_P_IPV6
	nobody    = 65534
)

func newGateway(s Script) (g *gateway, err error) {
	g = &gateway{links: map[string]*link{}, raw: map[int]int{}, to: map[uint32]netip.Addr{}, left: map[uint32]string{}, buf: make([]byte, 65536)}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	for _, n := range []struct {
		at   **netns.NS
		name string
	}{{&g.at, "gateway"}, {&g.inside, "inside"}, {&g.outside, "outside"}} {
		if *n.at, err = netns.New(n.name); err != nil {
			return g, err
		}
	}
	if err := g.at.Forward(); err != nil {
		return g, err
	}
	for _, name := range []string{"net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter"} {
		if err := g.at.Sysctl(name, "0"); err != nil {
			return g, err
		}
	}
	for i, names := range [][]string{s.Inside, s.Outside} {
		for _, name := range names {
			if g.links[name] != nil {
				continue
			}
			if err := g.join(name, []*netns.NS{g.inside, g.outside}[i]); err != nil {
				return g, err
			}
		}
	}
	if err := g.at.Do(g.sockets); err != nil {
		return g, err
	}
	g.k, err = kernel.Open(kernel.Options{NetNS: g.at.FD()})
	return g, err
}

func routesOf(list []Route) [][2]string {
	var out [][2]string
	for _, r := range list {
		out = append(out, [2]string{r.To, r.Iface})
	}
	return out
}

// join makes one interface of the gateway.
func (g *gateway) join(name string, far *netns.NS) error {
	l := &link{name: name, in: -1, seen: -1, own: -1}
	peer := fmt.Sprintf("far%d", len(g.links))
	g.links[name] = l
	if err := netns.Link(g.at, name, far, peer); err != nil {
		return err
	}
	// An interface without neighbours sends to everybody at once.
	if err := g.at.NoNeighbours(name); err != nil {
		return err
	}
	var err error
	if l.mac, err = g.at.MAC(name); err != nil {
		return err
	}
	if l.far, err = far.MAC(peer); err != nil {
		return err
	}
	if err := far.Do(func() (err error) {
		if l.in, err = packetSocket(peer, 0); err == nil {
			l.seen, err = packetSocket(peer, unix.ETH_P_ALL)
		}
		return err
	}); err != nil {
		return err
	}
	return g.at.Do(func() (err error) {
		l.own, err = packetSocket(name, etherMark)
		return err
	})
}

// packetSocket opens a socket for frames on an interface of the thread's
// namespace; protocol 0 only sends.
func packetSocket(iface string, protocol uint16) (int, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return -1, err
	}
	n := swapped(protocol)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(n))
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: n, Ifindex: i.Index}); err != nil {
		return -1, errors.Join(os.NewSyscallError("bind", err), unix.Close(fd))
	}
	return fd, nil
}

func swapped(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// sockets opens those by which the gateway itself sends, as the user nobody.
func (g *gateway) sockets() error {
	// Where that user is not known here, whoever sends is seen as nobody.
	if old, err := unix.SetfsuidRetUid(nobody); err == nil && old != nobody {
		defer unix.Setfsuid(old) //nolint:errcheck // the thread ends with the namespace
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		g.raw[family] = fd
	}
	return nil
}

func (g *gateway) close() error {
	var errs []error
	if g.k != nil {
		errs = append(errs, g.k.Close())
	}
	for _, l := range g.links {
		for _, fd := range []int{l.in, l.seen, l.own} {
			if fd >= 0 {
				errs = append(errs, unix.Close(fd))
			}
		}
	}
	for _, fd := range g.raw {
		errs = append(errs, unix.Close(fd))
	}
	for _, n := range []*netns.NS{g.at, g.inside, g.outside} {
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	return errors.Join(errs...)
}

// atOnce is how many frames are sent before what arrived is read: fewer than
// the smallest socket buffer holds.
const atOnce = 48

// send sends packets and says by which interface each one left.
func (g *gateway) send(packets []Packet) ([]string, error) {
	for some := range slices.Chunk(packets, atOnce) {
		for _, p := range some {
			for _, ip := range p.IP {
				if err := g.inject(p, ip); err != nil {
					return nil, err
				}
			}
		}
		if err := g.settle(); err != nil {
			return nil, err
		}
	}
	out := make([]string, len(packets))
	for i, p := range packets {
		out[i] = g.left[p.ID]
	}
	return out, nil
}

func (g *gateway) inject(p Packet, ip []byte) error {
	if len(ip) < 20 || ip[0]>>4 == 6 && len(ip) < 40 {
		return fmt.Errorf("packet %d is no IP packet", p.ID)
	}
	g.to[p.ID] = destination(ip)
	if p.Iface == "" {
		var to unix.Sockaddr
		family := unix.AF_INET
		if ip[0]>>4 == 4 {
			to = &unix.SockaddrInet4{Addr: [4]byte(ip[16:20])}
		} else {
			to, family = &unix.SockaddrInet6{Addr: [16]byte(ip[24:40])}, unix.AF_INET6
		}
		err := unix.Sendto(g.raw[family], ip, 0, to)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return nil // the ruleset's answer to whoever sends: it did not leave
		}
		return os.NewSyscallError("sendto", err)
	}
	l := g.links[p.Iface]
	if l == nil {
		return fmt.Errorf("packet %d enters by %s, which the script has not", p.ID, p.Iface)
	}
	kind := uint16(etherIP4)
	if ip[0]>>4 == 6 {
		kind = etherIP6
	}
	src := l.far
	if len(p.MAC) == 6 {
		src = p.MAC
	}
	return write(l.in, frame(l.mac, src, kind, ip))
}

func frame(dst, src net.HardwareAddr, kind uint16, body []byte) []byte {
	b := append(append(make([]byte, 0, 14+len(body)), dst...), src...)
	return append(binary.BigEndian.AppendUint16(b, kind), body...)
}

func write(fd int, b []byte) error {
	for range 1000 {
		_, err := unix.Write(fd, b)
		if !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EAGAIN) {
			return os.NewSyscallError("write", err)
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("the lab's link takes no more frames")
}

// settle waits until everything that was sent has gone its way. A frame that no
// ruleset sees is sent into the gateway on every link; where it is heard, what
// came before it was decided. Then one is sent out of the gateway on every link;
// where it is heard, what was decided before has arrived.
func (g *gateway) settle() error {
	body := make([]byte, 46)
	own, far := map[string]int{}, map[string]int{}
	for name, l := range g.links {
		own[name], far[name] = l.ownMarks+1, l.marks+1
		if err := write(l.in, frame(l.mac, l.far, etherMark, body)); err != nil {
			return err
		}
	}
	if err := g.wait(func(l *link) bool { return l.ownMarks >= own[l.name] }); err != nil {
		return err
	}
	for _, l := range g.links {
		if err := write(l.own, frame(l.far, l.mac, etherMark, body)); err != nil {
			return err
		}
	}
	return g.wait(func(l *link) bool { return l.marks >= far[l.name] })
}

// wait reads until done holds for every link.
func (g *gateway) wait(done func(*link) bool) error {
	const patience = 10 * time.Second
	for end := time.Now().Add(patience); ; {
		all := true
		var polls []unix.PollFd
		for _, l := range g.links {
			g.hear(l)
			if !done(l) {
				all = false
			}
			polls = append(polls, unix.PollFd{Fd: int32(l.seen), Events: unix.POLLIN}, unix.PollFd{Fd: int32(l.own), Events: unix.POLLIN})
		}
		if all {
			return nil
		}
		left := time.Until(end)
		if left <= 0 {
			return fmt.Errorf("the lab's packets do not settle within %v", patience)
		}
		if _, err := unix.Poll(polls, int(left/time.Millisecond)+1); err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
	}
}

// hear reads what is there.
func (g *gateway) hear(l *link) {
	for {
		n, from, err := unix.Recvfrom(l.seen, g.buf, 0)
		if err != nil {
			break // nothing more
		}
		if n < 14 || outgoing(from) {
			continue // what was sent here
		}
		if binary.BigEndian.Uint16(g.buf[12:]) == etherMark {
			l.marks++
			continue
		}
		// An ICMP error quotes the packet that it is about.
		if id, ok := number(g.buf[14:n]); ok && destination(g.buf[14:n]) == g.to[id] {
			g.left[id] = l.name
		}
	}
	for {
		_, from, err := unix.Recvfrom(l.own, g.buf, 0)
		if err != nil {
			break
		}
		if !outgoing(from) {
			l.ownMarks++
		}
	}
}

func destination(ip []byte) netip.Addr {
	switch {
	case len(ip) >= 20 && ip[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(ip[16:20]))
	case len(ip) >= 40 && ip[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(ip[24:40]))
	}
	return netip.Addr{}
}

func outgoing(from unix.Sockaddr) bool {
	a, ok := from.(*unix.SockaddrLinklayer)
	return ok && a.Pkttype == unix.PACKET_OUTGOING
}
