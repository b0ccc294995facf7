package honeypot

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// probeTime bounds one probe.
const probeTime = 2 * time.Second

// Probe connects to the listener as any other program on this machine would,
// over each family that it serves, and wants an answer that only this listener
// can give. Whoever redirects flows here does so only after a nil.
func (l *Listener) Probe(ctx context.Context) error {
	for _, s := range l.socks {
		host := "127.0.0.1"
		if a := addrPort(s.Addr()).Addr(); a.Is6() {
			host = "::1"
		}
		if err := l.probe(ctx, net.JoinHostPort(host, strconv.Itoa(int(l.opt.Port)))); err != nil {
			return fmt.Errorf("the honeypot does not answer: %w", err)
		}
	}
	return nil
}

func (l *Listener) probe(ctx context.Context, address string) error {
	d := net.Dialer{Timeout: probeTime, FallbackDelay: -1}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer reset(c.(*net.TCPConn))
	if err := c.SetDeadline(time.Now().Add(probeTime)); err != nil {
		return err
	}
	var ask [32]byte // token, nonce
	copy(ask[:], l.token[:])
	if _, err := rand.Read(ask[16:]); err != nil {
		return err
	}
	if _, err := c.Write(ask[:]); err != nil {
		return err
	}
	var got [sha256.Size]byte
	if _, err := io.ReadFull(c, got[:]); err != nil {
		return err
	}
	if !hmac.Equal(got[:], l.sign(ask[16:])) {
		return errors.New("another program answers on its port")
	}
	return nil
}

// answer serves a connection from this machine to itself: a probe is answered,
// anything else is not.
func (l *Listener) answer(c net.Conn) {
	if c.SetDeadline(time.Now().Add(probeTime)) != nil {
		return
	}
	var ask [32]byte
	if _, err := io.ReadFull(c, ask[:]); err != nil || !hmac.Equal(ask[:16], l.token[:]) {
		l.direct.Add(1)
		return
	}
	l.probes.Add(1)
	if _, err := c.Write(l.sign(ask[16:])); err != nil {
		return
	}
	// The asker closes first: a reset here could overtake the answer.
	var end [1]byte
	_, _ = c.Read(end[:])
}

func (l *Listener) sign(nonce []byte) []byte {
	h := hmac.New(sha256.New, l.token[:])
	h.Write(nonce)
	return h.Sum(nil)
}
