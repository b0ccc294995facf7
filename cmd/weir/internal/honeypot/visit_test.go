package honeypot

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
	"time"

	"weir/phases/flow"
)

// hello is a ClientHello as crypto/tls sends it.
func hello(t testing.TB, name string) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Client(a, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
	buf := make([]byte, 8192)
	b.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

func TestServerName(t *testing.T) {
	whole := hello(t, "www.example.net")
	for n := range len(whole) {
		if name, done := serverName(whole[:n]); name != "" || done && n > 5 {
			t.Fatalf("%d of %d bytes: %q, whole %t", n, len(whole), name, done)
		}
	}
	if name, done := serverName(append(whole, "more"...)); name != "www.example.net" || !done {
		t.Errorf("%q, whole %t", name, done)
	}
	if name, done := serverName(hello(t, "")); name != "" || !done {
		t.Errorf("without a name: %q, whole %t", name, done)
	}
	// A record that is no handshake after all never becomes whole by waiting.
	if name, done := serverName(append([]byte{22, 3, 1, 0, 4}, "what"...)); name != "" || !done {
		t.Errorf("not a ClientHello: %q, whole %t", name, done)
	}
}

func FuzzServerName(f *testing.F) {
	f.Add(hello(f, "www.example.net"))
	f.Add(hello(f, ""))
	f.Add([]byte{22, 3, 1, 255, 255})
	f.Add([]byte("GET / HTTP/1.0\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		name, whole := serverName(in)
		if len(name) > len(in) || name != "" && !whole {
			t.Errorf("name %q, whole %t", name, whole)
		}
		if _, again := serverName(append(bytes.Clone(in), 0)); whole && !again {
			t.Error("more bytes make it incomplete")
		}
		for _, c := range []byte(Printable(in) + Printable(name)) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q is not printable", Printable(in))
			}
		}
	})
}

func TestRedirected(t *testing.T) {
	gw, server, client := netip.MustParseAddr("10.20.16.1"), netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("10.20.16.10")
	mine := map[netip.Addr]bool{gw: true, netip.MustParseAddr("198.51.100.1"): true}
	rec := func(server netip.Addr, port uint16, asked string) flow.Record {
		r := flow.Record{Flow: flow.Flow{Client: client, Server: server, Proto: flow.TCP, Port: port}}
		if asked != "" {
			r.Asked = netip.MustParseAddrPort(asked)
		}
		return r
	}
	udp := rec(gw, 2323, "198.51.100.7:3389")
	udp.Proto = flow.UDP
	for name, c := range map[string]struct {
		r    flow.Record
		want bool
	}{
		"captured":                       {rec(gw, 2323, "198.51.100.7:3389"), true},
		"to the port itself":             {rec(gw, 2323, ""), false},
		"another's port":                 {rec(gw, 8023, "198.51.100.7:23"), false},
		"forwarded to such a port":       {rec(client, 2323, "198.51.100.1:23"), false},
		"another's redirect of its own":  {rec(gw, 2323, "198.51.100.1:23"), false},
		"the true server has that port":  {rec(server, 2323, ""), false},
		"a server behind another's DNAT": {rec(server, 2323, "192.0.2.1:23"), false},
		"UDP":                            {udp, false},
	} {
		if got := (Redirected{2323, mine}).Is(c.r); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
