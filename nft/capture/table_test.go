package capture

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"weir/nft/netns"
	"weir/phases/flow"
)

// open connects and exchanges a few bytes; the connection stays open.
func open(t *testing.T, ns *netns.NS, network, addr string) net.Conn {
	t.Helper()
	c, err := ns.Dial(network, addr, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := netns.Exchange(c, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	return c
}

var bothFamilies = []struct{ client, server string }{
	{netns.ClientIP4, netns.OutsideIP4}, {netns.ClientIP6, netns.OutsideIP6},
}

// A connection that is older than the reader is told by the dump, and its end
// by an event, once.
func TestOlderConnectionIsSeen(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules+bytesRules)
	opt := prepare(t, lab.Gateway)
	for _, f := range bothFamilies {
		addr := net.JoinHostPort(f.server, "443")
		if err := lab.Outside.EchoTCP(addr); err != nil {
			t.Fatal(err)
		}
		open(t, lab.Client, "tcp", addr)
	}
	c, h := startConnections(t, opt)
	for _, f := range bothFamilies {
		r := h.wait(t, "an open connection", is(f.client, f.server, "tcp/443"))
		if r.Closed || r.New || !r.Answered || r.Guessed || r.BytesOut == 0 || r.BytesIn == 0 || r.ID == 0 {
			t.Errorf("the snapshot is %s", show(r))
		}
		if r.First.IsZero() || !r.First.Before(r.Last) {
			t.Errorf("open from %v to %v", r.First, r.Last)
		}
	}
	if n, err := DeleteConnection(context.Background(), opt, h.records[0]); err != nil || n != 1 {
		t.Fatalf("deleted %d, %v", n, err)
	}
	gone := h.records[0]
	end := h.wait(t, "the end", func(r flow.Record) bool { return r.Closed && r.Flow == gone.Flow })
	if end.ID != gone.ID || !end.First.Equal(gone.First) {
		t.Errorf("the end is of another connection: %s, was %s", show(end), show(gone))
	}
	open := map[flow.Flow]bool{}
	if err := Dump(context.Background(), opt, func(r flow.Record) error { open[r.Flow] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(open) != 1 || open[gone.Flow] {
		t.Errorf("after deleting %v the table has %v", gone.Flow, open)
	}
	if s := c.Stats(); s.Dumps != 1 || s.Gaps != 0 || s.Undecoded != 0 {
		t.Errorf("statistics are %+v", s)
	}
}

func TestDumpEndsWithItsCallback(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	if err := lab.Outside.EchoTCP("198.51.100.7:443"); err != nil {
		t.Fatal(err)
	}
	open(t, lab.Client, "tcp", "198.51.100.7:443")
	want := errors.New("enough")
	if err := Dump(context.Background(), opt, func(flow.Record) error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Dump(ctx, opt, func(flow.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled dump gives %v", err)
	}
}

// What nobody answered, and what was refused, is not answered.
func TestUnansweredIsUnanswered(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	_, h := startConnections(t, opt)
	for _, f := range bothFamilies {
		// Refused with a reset, answered by a datagram, and one-way.
		if _, err := lab.Client.Dial("tcp", net.JoinHostPort(f.server, "9"), time.Second); err == nil {
			t.Fatal("a closed port answered")
		}
		if err := lab.Outside.EchoUDP(net.JoinHostPort(f.server, "53")); err != nil {
			t.Fatal(err)
		}
		open(t, lab.Client, "udp", net.JoinHostPort(f.server, "53"))
		if _, err := lab.Outside.ListenUDP(net.JoinHostPort(f.server, "514")); err != nil {
			t.Fatal(err)
		}
		syslog, err := lab.Client.Dial("udp", net.JoinHostPort(f.server, "514"), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer syslog.Close()
		for range 3 {
			if _, err := syslog.Write([]byte("<13>x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(20 * time.Millisecond) // a datagram is on its way when Write returns
	deleteAll(t, opt)
	for _, f := range bothFamilies {
		for service, answered := range map[string]bool{"tcp/9": false, "udp/53": true, "udp/514": false} {
			r := h.wait(t, service, closed(is(f.client, f.server, service)))
			if r.Answered != answered {
				t.Errorf("%v: answered %v", r.Flow, r.Answered)
			}
			if service == "udp/514" && (r.PacketsOut != 3 || r.PacketsIn != 0) {
				t.Errorf("%v: %d packets out, %d in", r.Flow, r.PacketsOut, r.PacketsIn)
			}
		}
	}
}

// A connection that tracking met in its middle is marked, in the dump and then
// at its end, although the event itself does not tell.
func TestStory20MidStreamIsGuessed(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	if err := lab.Outside.EchoTCP("198.51.100.7:443", "[2001:db8:1::7]:443"); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for _, f := range bothFamilies {
		conns = append(conns, open(t, lab.Client, "tcp", net.JoinHostPort(f.server, "443")))
	}
	deleteAll(t, opt)
	for _, c := range conns {
		if err := netns.Exchange(c, 2*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	whole := open(t, lab.Client, "tcp", "198.51.100.7:443")
	_, wholePort, _ := net.SplitHostPort(whole.LocalAddr().String())
	_, h := startConnections(t, opt)
	check := func(end bool) {
		for _, f := range bothFamilies {
			h.wait(t, "a guessed "+f.client, func(r flow.Record) bool {
				return r.Closed == end && r.Guessed && is(f.client, f.server, "tcp/443")(r)
			})
		}
		r := h.wait(t, "the whole one", func(r flow.Record) bool { return r.Closed == end && itoa(r.SrcPort) == wholePort })
		if r.Guessed {
			t.Errorf("guessed although its first packet was seen: %s", show(r))
		}
	}
	check(false)
	deleteAll(t, opt)
	check(true)
}

// A connection met in its middle after the reader began is remembered by a dump
// through the reader.
func TestMidStreamLater(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	if err := lab.Outside.EchoTCP("198.51.100.7:443"); err != nil {
		t.Fatal(err)
	}
	conn := open(t, lab.Client, "tcp", "198.51.100.7:443")
	c, h := startConnections(t, opt)
	f := is(netns.ClientIP4, netns.OutsideIP4, "tcp/443")
	h.wait(t, "the open one", f)
	deleteAll(t, opt)
	if first := h.wait(t, "its end", closed(f)); first.Guessed {
		t.Errorf("guessed too early: %s", show(first))
	}
	if err := netns.Exchange(conn, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := c.Dump(context.Background(), func(flow.Record) error { n++; return nil }); err != nil || n != 1 {
		t.Fatalf("%d entries, %v", n, err)
	}
	deleteAll(t, opt)
	h.wait(t, "the end of the guessed one", closed(func(r flow.Record) bool { return r.Guessed && f(r) }))
}

// Connections in zones of their own keep them apart, and can be deleted.
func TestZones(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules+`
table inet z { chain pre { type filter hook prerouting priority -300; policy accept; ct zone set 7; }
}`)
	opt := prepare(t, lab.Gateway)
	if err := lab.Outside.EchoTCP("198.51.100.7:443"); err != nil {
		t.Fatal(err)
	}
	open(t, lab.Client, "tcp", "198.51.100.7:443")
	_, h := startConnections(t, opt)
	r := h.wait(t, "the connection", is(netns.ClientIP4, netns.OutsideIP4, "tcp/443"))
	if r.Zone != 7 {
		t.Errorf("the zone is %d", r.Zone)
	}
	if n, err := DeleteConnection(context.Background(), opt, r); n != 1 || err != nil {
		t.Fatalf("deleted %d, %v", n, err)
	}
	if end := h.wait(t, "its end", closed(is(netns.ClientIP4, netns.OutsideIP4, "tcp/443"))); end.Zone != 7 {
		t.Errorf("the zone at the end is %d", end.Zone)
	}
}
