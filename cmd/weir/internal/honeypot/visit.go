package honeypot

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Bounds of what is read of one visitor.
const (
	firstBytes = 256  // kept
	helloBytes = 4096 // read of what begins like a TLS ClientHello, for its server name
)

// Visit is one redirected connection.
type Visit struct {
	Client     netip.AddrPort
	Asked      netip.AddrPort // what the client connected to
	At, Ended  time.Time
	ServerName string // that a TLS ClientHello asked for, "" where none; as it came
	First      []byte // at most 256 bytes, as they came
}

// Said returns the first bytes as one printable line, "" where the visitor said
// nothing.
func (v Visit) Said() string { return Printable(v.First) }

// Printable escapes every byte that is not printable ASCII, and quotes and
// backslashes: what a visitor sends reaches no terminal as it came.
func Printable[T string | []byte](in T) string {
	var b strings.Builder
	for _, c := range []byte(in) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// listen reads what a visitor says in the time given: up to 256 bytes, or a
// ClientHello to its end.
func listen(c net.Conn, wait time.Duration) (first []byte, name string) {
	if c.SetReadDeadline(time.Now().Add(wait)) != nil {
		return nil, ""
	}
	buf := make([]byte, helloBytes)
	n, done := 0, false
	for end := firstBytes; n < end && !done; {
		k, err := c.Read(buf[n:end])
		n += k
		done = err != nil
		if isHello(buf[:n]) {
			end = len(buf)
			var whole bool
			name, whole = serverName(buf[:n])
			done = done || whole
		}
	}
	return bytes.Clone(buf[:min(n, firstBytes)]), name
}

// isHello says whether bytes begin like a TLS record with a handshake in it.
func isHello(b []byte) bool { return len(b) >= 3 && b[0] == 22 && b[1] == 3 && b[2] <= 4 }

// errRead ends the handshake once the ClientHello was read.
var errRead = errors.New("the ClientHello was read")

// serverName reads the name in a ClientHello with the parser of crypto/tls;
// whole says that the ClientHello is complete, or that it never will be one.
func serverName(b []byte) (name string, whole bool) {
	in := &replay{Reader: bytes.NewReader(b)}
	err := tls.Server(in, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name = h.ServerName
		return nil, errRead
	}}).Handshake()
	return name, !in.short || errors.Is(err, errRead)
}

// replay is a connection that has received some bytes and sends nothing.
type replay struct {
	*bytes.Reader
	short bool // more was wanted than there is
}

func (r *replay) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		r.short = true
	}
	return n, err
}

func (r *replay) Write(p []byte) (int, error)      { return len(p), nil }
func (r *replay) Close() error                     { return nil }
func (r *replay) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (r *replay) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (r *replay) SetDeadline(time.Time) error      { return nil }
func (r *replay) SetReadDeadline(time.Time) error  { return nil }
func (r *replay) SetWriteDeadline(time.Time) error { return nil }
