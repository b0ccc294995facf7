package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Dial connects from inside the namespace. The network is "tcp" or "udp", the
// address is literal; "@" and a source address may follow it:
// "198.51.100.7:443@10.20.16.10:0". Calls do not wait for each other.
func (n *NS) Dial(network, address string, timeout time.Duration) (net.Conn, error) {
	d, addr, err := dialer(network, address, timeout)
	if err != nil {
		return nil, err
	}
	var c net.Conn
	err = n.Apart(func() error {
		c, err = d.DialContext(context.Background(), network, addr)
		return err
	})
	return c, err
}

// dialer keeps the whole of a dial on the calling thread: one literal address,
// no second goroutine that tries the other family, no MPTCP.
func dialer(network, address string, timeout time.Duration) (*net.Dialer, string, error) {
	d := &net.Dialer{Timeout: timeout, FallbackDelay: -1}
	d.SetMultipathTCP(false)
	addr := address
	for i := range address {
		if address[i] != '@' {
			continue
		}
		addr = address[:i]
		src, err := netip.ParseAddrPort(address[i+1:])
		if err != nil {
			return nil, "", fmt.Errorf("cannot dial from %q: %w", address[i+1:], err)
		}
		if network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(src)
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(src)
		}
	}
	if network != "tcp" && network != "udp" {
		return nil, "", fmt.Errorf("cannot dial %q: want tcp or udp", network)
	}
	if _, err := netip.ParseAddrPort(addr); err != nil {
		return nil, "", fmt.Errorf("cannot dial %q: want a literal address and port: %w", addr, err)
	}
	return d, addr, nil
}

// Listen opens a TCP listener inside the namespace; it is closed with it.
func (n *NS) Listen(address string) (net.Listener, error) {
	var l net.Listener
	err := n.with("listen on "+address, func() (err error) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		l, err = lc.Listen(context.Background(), "tcp", address)
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, n.adopt(l)
}

// ListenUDP opens a UDP socket inside the namespace; it is closed with it.
func (n *NS) ListenUDP(address string) (*net.UDPConn, error) {
	var c *net.UDPConn
	err := n.with("listen on "+address, func() error {
		a, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, n.adopt(c)
}

// EchoTCP serves TCP echo on addresses of the namespace until it closes. A
// wildcard address serves one family only.
func (n *NS) EchoTCP(addresses ...string) error {
	for _, a := range addresses {
		if err := n.ServeTCP(a, func(c net.Conn) {
			if _, err := io.Copy(c, c); err != nil {
				return // the peer has gone
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// ServeTCP calls serve in a goroutine of its own for each connection, until
// the namespace closes. The connection is closed when serve returns.
func (n *NS) ServeTCP(address string, serve func(net.Conn)) error {
	l, err := n.Listen(address)
	if err != nil {
		return err
	}
	s := &server{listener: l, conns: map[net.Conn]bool{}}
	s.all.Go(func() { s.accept(serve) })
	return n.adopt(s)
}

// EchoUDP answers each datagram on addresses of the namespace with itself,
// until it closes.
func (n *NS) EchoUDP(addresses ...string) error {
	for _, a := range addresses {
		c, err := n.ListenUDP(a)
		if err != nil {
			return err
		}
		s := &server{listener: c}
		s.all.Go(func() { echo(c) })
		if err := n.adopt(s); err != nil {
			return err
		}
	}
	return nil
}

func echo(c *net.UDPConn) {
	buf := make([]byte, 65535)
	for {
		k, from, err := c.ReadFromUDPAddrPort(buf)
		if err == nil {
			_, err = c.WriteToUDPAddrPort(buf[:k], from)
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Any other error is an ICMP answer to an earlier datagram, or a
		// refused send: an echo server goes on.
	}
}

// Try makes one exchange with an echo server: nil when the answer came back.
func (n *NS) Try(network, address string, timeout time.Duration) error {
	end := time.Now().Add(timeout)
	c, err := n.Dial(network, address, timeout)
	if err != nil {
		return err
	}
	return errors.Join(Exchange(c, time.Until(end)), c.Close())
}

// Exchange sends a few bytes on an open connection to an echo server and wants
// them back.
func Exchange(c net.Conn, timeout time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	word := []byte(time.Now().Format("150405.000000000"))
	if _, err := c.Write(word); err != nil {
		return err
	}
	back := make([]byte, len(word))
	for got := 0; got < len(back); {
		k, err := c.Read(back[got:])
		if err != nil {
			return err
		}
		got += k
	}
	if string(back) != string(word) {
		return fmt.Errorf("sent %q, got %q", word, back)
	}
	return nil
}
