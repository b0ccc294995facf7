package bench

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"

	vnetlink "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/nft/netns"
	"weir/phases/flow"
)

// Short connections are made with plain system calls, each thread for itself:
// the program's own scheduler would cost more than what is measured.
const (
	callers = 4 // threads that open connections, and as many that answer
	service = 443
)

// exchange is a client that opens short TCP connections through a gateway, and
// the servers outside that answer on every address of far4 and far6.
type exchange struct {
	*gateway
	orders  []chan order
	answers chan error
	next    uint32 // destination of the next fresh connection
}

// order is what one thread shall do: open n connections, the first to the
// destination with this number and each further one step on.
type order struct {
	family      flow.Family
	first, step uint32
	n           int
}

func newExchange(t testing.TB, name string) *exchange {
	t.Helper()
	x := &exchange{gateway: newGateway(t, name), answers: make(chan error, callers)}
	for k, v := range map[string]string{"net.ipv4.tcp_max_tw_buckets": "64", "net.core.somaxconn": "8192", "net.ipv4.tcp_max_syn_backlog": "8192",
		"net.ipv4.tcp_syncookies": "0"} {
		must(t, x.Outside.Sysctl(k, v))
	}
	must(t, x.Client.Sysctl("net.ipv4.ip_local_port_range", "1025 65000"))
	must(t, x.Outside.Do(func() error {
		// Every address of the far networks is the outside host's own.
		lo, err := vnetlink.LinkByName("lo")
		if err != nil {
			return err
		}
		for _, p := range []string{far4, far6} {
			dst, err := vnetlink.ParseIPNet(p)
			if err != nil {
				return err
			}
			err = vnetlink.RouteAdd(&vnetlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: unix.RT_SCOPE_HOST})
			if err != nil {
				return fmt.Errorf("route %s: %w", p, err)
			}
		}
		return nil
	}))
	// The gateway's router for them exists here.
	must(t, x.Gateway.Do(func() error {
		link, err := vnetlink.LinkByName(netns.OutsideIf)
		if err != nil {
			return err
		}
		mac, err := x.Outside.MAC(netns.OutsideHost)
		if err != nil {
			return err
		}
		for _, r := range []string{router4, router6} {
			a := netip.MustParseAddr(r)
			err := vnetlink.NeighSet(&vnetlink.Neigh{LinkIndex: link.Attrs().Index, IP: a.AsSlice(), State: vnetlink.NUD_PERMANENT, HardwareAddr: mac})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	x.serve(t)
	var all sync.WaitGroup
	for range callers {
		orders := make(chan order)
		x.orders = append(x.orders, orders)
		all.Go(func() {
			err := x.Client.Apart(func() error {
				for o := range orders {
					x.answers <- o.run()
				}
				return nil
			})
			if err != nil {
				panic(err)
			}
		})
	}
	t.Cleanup(func() {
		for _, o := range x.orders {
			close(o)
		}
		all.Wait()
	})
	return x
}

// serve answers each connection with one byte and closes it.
func (x *exchange) serve(t testing.TB) {
	t.Helper()
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		var fd int
		must(t, x.Outside.Do(func() (err error) {
			fd, err = listen(family)
			return err
		}))
		var all sync.WaitGroup
		for range callers / 2 {
			all.Go(func() {
				runtime.LockOSThread()
				for {
					c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
					if err == unix.ECONNABORTED || err == unix.EINTR {
						continue
					}
					if err != nil {
						return // shut down
					}
					unix.Write(c, []byte{1})
					unix.Close(c)
				}
			})
		}
		t.Cleanup(func() {
			unix.Shutdown(fd, unix.SHUT_RD)
			all.Wait()
			unix.Close(fd)
		})
	}
}

func listen(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	var at unix.Sockaddr = &unix.SockaddrInet4{Port: service}
	if family == unix.AF_INET6 {
		at = &unix.SockaddrInet6{Port: service}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return -1, err
		}
	}
	if err := unix.Bind(fd, at); err != nil {
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, os.NewSyscallError("listen", unix.Listen(fd, 8192))
}

// open makes n connections and waits until each was answered and closed: to
// ever new destinations, or all to one.
func (x *exchange) open(family flow.Family, n int, fresh bool) error {
	o := order{family: family, n: n / callers}
	if fresh {
		o.step = 1
	}
	for _, c := range x.orders {
		if fresh {
			o.first = x.next
			x.next = (x.next + uint32(o.n)) % 100_000
		}
		c <- o
	}
	var err error
	for range callers {
		if e := <-x.answers; e != nil {
			err = e
		}
	}
	return err
}

func (o order) run() error {
	for i := range o.n {
		if err := o.connect(o.first + uint32(i)*o.step); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i, o.n, err)
		}
	}
	return nil
}

func (o order) connect(n uint32) error {
	family := unix.AF_INET
	var to unix.Sockaddr
	if o.family == flow.IPv4 {
		a := netip.MustParsePrefix(far4).Addr().As4()
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+n+1)
		to = &unix.SockaddrInet4{Port: service, Addr: a}
	} else {
		family = unix.AF_INET6
		a := netip.MustParsePrefix(far6).Addr().As16()
		binary.BigEndian.PutUint32(a[12:], n+1)
		to = &unix.SockaddrInet6{Port: service, Addr: a}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); err != nil {
		return os.NewSyscallError("connect", err)
	}
	buf := make([]byte, 8)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if n == 0 || err != nil {
			return os.NewSyscallError("read", err)
		}
	}
}
