package kerneltest

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
	"weir/nft/eval"
	"weir/nft/kernel"
	"weir/nft/netns"
	"weir/phases/compile"
)

// The gateway has four links: lan0 and guest0 inside, wan0 and wan1 outside.
// Whatever is at their far ends answers nothing.
var links = []string{"lan0", "guest0", "wan0", "wan1"}

type gateway struct {
	t    testing.TB
	ns   *netns.NS
	far  map[string]*netns.NS
	mac  map[string]net.HardwareAddr // of the gateway's own interfaces
	send map[string]int              // packet sockets at the far ends
	out  map[uint32]map[int]int      // raw sockets of the gateway: user → family
	k    *kernel.Kernel

	masquerades bool
	hooks       map[string]bool // letters that any step so far had

	unsparable []compile.Lifeline // what an exception ever let in

	sent map[any]bool // what connection tracking may know

	mu   sync.Mutex // guards seen
	seen map[uint32]heard
}

// heard is what the wires said of one packet.
type heard struct{ at, what string }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newGateway(t testing.TB) *gateway {
	t.Helper()
	g := &gateway{t: t, far: map[string]*netns.NS{}, mac: map[string]net.HardwareAddr{}, send: map[string]int{},
		out: map[uint32]map[int]int{}, seen: map[uint32]heard{}, sent: map[any]bool{}, hooks: map[string]bool{}}
	space := func(name string) *netns.NS {
		n, err := netns.New(name)
		must(t, err)
		t.Cleanup(func() { n.Close() })
		return n
	}
	g.ns = space("gateway")
	must(t, g.ns.Forward())
	for name, v := range map[string]string{"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0",
		"net.ipv4.icmp_ratelimit": "0", "net.ipv4.icmp_msgs_per_sec": "1000000", "net.ipv4.icmp_msgs_burst": "1000000", "net.ipv6.icmp.ratelimit": "0"} {
		must(t, g.ns.Sysctl(name, v))
	}
	for i, name := range links {
		far := space(name)
		g.far[name] = far
		must(t, netns.Link(g.ns, name, far, "far0"))
		must(t, g.ns.Addr(name, fmt.Sprintf("172.16.%d.1/24", i), fmt.Sprintf("fd99:0:0:%d::1/64", i)))
		must(t, far.Addr("far0", fmt.Sprintf("172.16.%d.2/24", i), fmt.Sprintf("fd99:0:0:%d::2/64", i)))
		mac, err := g.ns.MAC(name)
		must(t, err)
		g.mac[name] = mac
		g.listen(name, far)
	}
	for dst, link := range map[string]int{"10.20.0.0/16": 0, "fd20::/48": 0, "default4": 2, "default6": 2, "203.0.113.0/24": 3, "2001:db8:ff::/48": 3} {
		via := fmt.Sprintf("172.16.%d.2", link)
		if dst == "default6" || dst[0] == 'f' || dst[:4] == "2001" {
			via = fmt.Sprintf("fd99:0:0:%d::2", link)
		}
		must(t, g.ns.Route(dst, via))
	}
	k, err := kernel.Open(kernel.Options{NetNS: g.ns.FD()})
	must(t, err)
	g.k = k
	t.Cleanup(func() { k.Close() })
	return g
}

// listen opens the packet sockets of a far end: one to send, one that reads
// everything that arrives.
func (g *gateway) listen(name string, far *netns.NS) {
	proto := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	must(g.t, far.Do(func() error {
		iface, err := net.InterfaceByName("far0")
		if err != nil {
			return err
		}
		tx, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		rx, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
		if err != nil {
			return err
		}
		for _, fd := range []int{tx, rx} {
			if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(proto), Ifindex: iface.Index}); err != nil {
				return err
			}
		}
		if err := unix.SetsockoptInt(rx, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20); err != nil {
			return err
		}
		g.send[name] = tx
		f := os.NewFile(uintptr(rx), name)
		g.t.Cleanup(func() { unix.Close(tx); f.Close() })
		go g.hear(name, rx, f)
		return nil
	}))
}

func (g *gateway) hear(name string, fd int, f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 2048)
	for {
		var n int
		var from unix.Sockaddr
		var rerr error
		err := raw.Read(func(uintptr) bool {
			n, from, rerr = unix.Recvfrom(fd, buf, 0)
			return rerr != unix.EAGAIN
		})
		if err != nil || rerr != nil {
			return // closed
		}
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING || n < 14 {
			continue
		}
		if s := read(buf[14:n]); s.valid {
			g.mu.Lock()
			g.seen[s.id] = heard{name, s.what}
			g.mu.Unlock()
		}
	}
}

func (g *gateway) heard(id uint32) (heard, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h, ok := g.seen[id]
	return h, ok
}

// raw returns a raw socket of the gateway that belongs to a user.
func (g *gateway) raw(uid uint32, v4 bool) int {
	domain := unix.AF_INET
	if !v4 {
		domain = unix.AF_INET6
	}
	if fd, ok := g.out[uid][domain]; ok {
		return fd
	}
	var fd int
	must(g.t, g.ns.Apart(func() error {
		runtime.LockOSThread()
		if err := unix.Setfsuid(int(uid)); err != nil {
			return err
		}
		var err error
		fd, err = unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	}))
	g.t.Cleanup(func() { unix.Close(fd) })
	if g.out[uid] == nil {
		g.out[uid] = map[int]int{}
	}
	g.out[uid][domain] = fd
	return fd
}

// inject sends a packet the way it says: from the far end of its interface, or
// from a socket of the gateway.
func (g *gateway) inject(p eval.Packet, id uint32) { g.injectAs(p, id, id&0xffff) }

// injectAs is inject for a flow that began with another number.
func (g *gateway) injectAs(p eval.Packet, id, ident uint32) {
	b := packet(p, id, ident)
	if p.Hook == "f" {
		kind := []byte{0x08, 0x00}
		if !p.Src.Is4() {
			kind = []byte{0x86, 0xdd}
		}
		src := p.MAC
		frame := append(append(append(append([]byte{}, g.mac[p.In]...), src...), kind...), b...)
		if _, err := unix.Write(g.send[p.In], frame); err != nil {
			g.t.Fatalf("cannot send: %v", err)
		}
		return
	}
	uid := uint32(0)
	if p.UID != nil {
		uid = *p.UID
	}
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: p.Dst.As16()}
	if p.Dst.Is4() {
		to = &unix.SockaddrInet4{Addr: p.Dst.As4()}
	}
	// A refusal is an answer: what was denied is not on the wire.
	if err := unix.Sendto(g.raw(uid, p.Src.Is4()), b, 0, to); err != nil && err != unix.EPERM && err != unix.EACCES && err != unix.ECONNREFUSED && err != unix.EHOSTUNREACH {
		g.t.Fatalf("cannot send %+v: %v", p, err)
	}
}

// settle waits until a last packet, which every ruleset passes, has arrived on
// both ways out, and then until want has.
func (g *gateway) settle(id uint32, want func() bool) {
	g.t.Helper()
	last := eval.Packet{Hook: "f", In: "lan0", MAC: []byte{2, 9, 9, 9, 9, 9}, Src: addr("10.20.99.99"), Proto: 6, Port: 9, SrcPort: 9, TCPFlags: 0x10}
	for i, dst := range []string{"198.51.99.9", "203.0.113.9"} {
		last.Dst = addr(dst)
		g.inject(last, id+uint32(i))
	}
	end := time.Now().Add(5 * time.Second)
	for {
		_, a := g.heard(id)
		_, b := g.heard(id + 1)
		if a && b && want() || time.Now().After(end) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // what should not arrive has this long to do it
}

// stable makes a revision the one that decides.
func (g *gateway) stable(rev nft.Revision) {
	g.t.Helper()
	ctx := context.Background()
	must(g.t, g.k.Load(ctx, rev))
	for h := range rev.Entry {
		g.hooks[h] = true
	}
	hooks := slices.Sorted(maps.Keys(g.hooks))
	must(g.t, g.k.Rollback(ctx, nft.Rollback{ID: rev.ID, Entry: rev.Entry, Hooks: hooks, Tx: "t" + rev.ID[1:], Kind: nft.TxRollback}))
}
