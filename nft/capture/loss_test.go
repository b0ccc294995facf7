package capture

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/nft/netns"
	"weir/phases/flow"
)

// spray sends one datagram to each of n ports of the outside host.
func spray(t testing.TB, ns *netns.NS, from, n int) {
	t.Helper()
	err := ns.Do(func() error {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(netns.ClientIP4)})
		if err != nil {
			return err
		}
		defer c.Close()
		for i := range n {
			to := netip.AddrPortFrom(netip.MustParseAddr(netns.OutsideIP4), uint16(from+i))
			if _, err := c.WriteToUDPAddrPort([]byte("x"), to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stuck is a sink whose first record waits until it is let go.
func stuck(h *heard) (sink Sink, began, letGo chan struct{}) {
	began, letGo = make(chan struct{}), make(chan struct{})
	first := true
	sink = h.sink()
	give := sink.Record
	sink.Record = func(r flow.Record) {
		if first {
			first = false
			close(began)
			<-letGo
		}
		give(r)
	}
	return sink, began, letGo
}

// wantCount waits until the records that fit and the losses told are n.
func wantCount(t *testing.T, h *heard, n uint64, fits func(flow.Record) bool) (lost uint64) {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		var got uint64
		lost = 0
		h.mu.Lock()
		for _, r := range h.records {
			if fits(r) {
				got++
			}
		}
		for _, g := range h.gaps {
			lost += g.Lost
		}
		h.mu.Unlock()
		if got+lost == n {
			return lost
		}
		select {
		case <-h.changed:
		case <-late:
			t.Fatalf("%d records and %d lost, want %d together", got, lost, n)
		}
	}
}

// run starts a reader with a sink of its own until the test ends.
func runWith(t *testing.T, run func(context.Context, Sink) error, sink Sink, close func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, sink) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the reader ended with %v", err)
		}
		if err := close(); err != nil {
			t.Error(err)
		}
	})
}

// A reader that was too slow says how many log lines it lost, and goes on.
func TestStory25LogLossIsCounted(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	opt.Buffer = 4096
	l, err := OpenPacketLog(opt, 100)
	if err != nil {
		t.Fatal(err)
	}
	h := newHeard()
	sink, began, letGo := stuck(h)
	runWith(t, l.Run, sink, l.Close)
	udp := func(r flow.Record) bool { return r.Proto == flow.UDP && r.Port >= 10000 }
	spray(t, lab.Client, 10000, 1)
	<-began
	spray(t, lab.Client, 10001, 5000)
	time.Sleep(300 * time.Millisecond) // longer than the kernel holds lines back
	close(letGo)
	// The next line's number tells how many are missing before it.
	time.Sleep(100 * time.Millisecond)
	spray(t, lab.Client, 20000, 1)
	if lost := wantCount(t, h, 5002, udp); lost == 0 {
		t.Error("nothing was lost: the test tests nothing")
	}
	if s := l.Stats(); s.Gaps == 0 || s.Lost == 0 || s.Undecoded != 0 {
		t.Errorf("statistics are %+v", s)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.gaps {
		if g.Source != SourceLog || g.From.IsZero() || g.To.Before(g.From) {
			t.Errorf("the gap is %+v", g)
		}
	}
}

// Lost events of ended connections are counted, the table is read again, and
// later ends are told.
func TestDestroyLossIsCountedAndRepaired(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	opt.Buffer = 4096
	if err := lab.Outside.EchoTCP("198.51.100.7:443"); err != nil {
		t.Fatal(err)
	}
	c, err := OpenConnections(opt)
	if err != nil {
		t.Fatal(err)
	}
	h := newHeard()
	sink, began, letGo := stuck(h)
	runWith(t, c.Run, sink, c.Close)
	waitDumps(t, c, 1)
	spray(t, lab.Client, 10000, 1)
	deleteAll(t, opt)
	<-began
	spray(t, lab.Client, 10001, 3000)
	waitTable(t, opt, 3000)
	deleteAll(t, opt)
	// Opened while nobody looked: only a new dump can tell.
	conn := open(t, lab.Client, "tcp", "198.51.100.7:443")
	_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	close(letGo)
	lost := wantCount(t, h, 3001, func(r flow.Record) bool { return r.Closed && r.Proto == flow.UDP })
	if lost == 0 {
		t.Error("nothing was lost: the test tests nothing")
	}
	r := h.wait(t, "the open connection", func(r flow.Record) bool { return itoa(r.SrcPort) == port })
	if r.Closed || !r.Answered {
		t.Errorf("the open connection is %s", show(r))
	}
	deleteAll(t, opt)
	h.wait(t, "its end", closed(func(r flow.Record) bool { return itoa(r.SrcPort) == port }))
	waitDumps(t, c, 2) // the one that told of the connection may not have come to its end
	if s := c.Stats(); s.Gaps == 0 || s.Lost != lost {
		t.Errorf("statistics are %+v, lost %d", s, lost)
	}
}

func waitDumps(t *testing.T, c *Connections, n uint64) {
	t.Helper()
	for range 500 {
		if c.Stats().Dumps >= n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the table was read %d times, not %d", c.Stats().Dumps, n)
}

func waitTable(t *testing.T, opt Options, n uint64) {
	t.Helper()
	for range 100 {
		room, err := ReadHeadRoom(opt)
		if err != nil {
			t.Fatal(err)
		}
		if room.Count >= n {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the table never had %d entries", n)
}

// The second listener of a group is told, and nothing of it stays bound.
func TestGroupTaken(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	first, err := OpenPacketLog(opt, 101)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPacketLog(opt, 100, 101); !errors.Is(err, ErrGroupTaken) {
		t.Fatalf("the second listener gets %v", err)
	}
	third, err := OpenPacketLog(opt, 100)
	if err != nil {
		t.Fatalf("the failed one holds on to group 100: %v", err)
	}
	for _, l := range []*PacketLog{first, third} {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := third.Run(context.Background(), Sink{Record: func(flow.Record) {}}); err == nil {
		t.Error("a closed log ran")
	}
}

func TestDropsOfOneSocket(t *testing.T) {
	drops, err := parseDrops(strings.NewReader("sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n"+
		"0000000000000000 0 77 00000000 0 0 0 2 5 1\n0000000000000000 12 77 00000004 0 0 0 2 4711 1\n"), 12, 77)
	if err != nil || drops != 4711 {
		t.Errorf("%d, %v", drops, err)
	}
	if _, err := parseDrops(strings.NewReader(""), 12, 77); err == nil {
		t.Error("a socket that is not listed has drops")
	}
}
