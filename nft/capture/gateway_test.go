package capture

import (
	"net"
	"testing"
	"time"

	"weir/nft/netns"
	"weir/phases/flow"
)

// A short connection through a gateway is in the log at once and in the
// connection table's events with its bytes, in both families.
func TestShortConnectionIsSeen(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules+bytesRules)
	opt := prepare(t, lab.Gateway)
	_, seen := startLog(t, opt, 100)
	_, ended := startConnections(t, opt)
	for _, c := range []struct{ client, server string }{
		{netns.ClientIP4, netns.OutsideIP4}, {netns.ClientIP6, netns.OutsideIP6},
	} {
		addr := net.JoinHostPort(c.server, "443")
		if err := lab.Outside.EchoTCP(addr); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		conn, err := lab.Client.Dial("tcp", addr, 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := netns.Exchange(conn, 2*time.Second); err != nil {
			t.Fatal(err)
		}
		// A reset ends the entry at once; a FIN leaves it for two minutes.
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		mac, err := lab.Client.MAC(netns.ClientIf)
		if err != nil {
			t.Fatal(err)
		}
		first := seen.wait(t, "first sight of "+addr, is(c.client, c.server, "tcp/443"))
		if first.Verdict != flow.Seen || first.Hook != "forward" || first.In != netns.InsideIf ||
			first.Out != netns.OutsideIf || first.MAC != mac.String() || !first.New || first.SrcPort == 0 {
			t.Errorf("first sight is %s", show(first))
		}
		if first.First.Before(began.Add(-time.Second)) || first.First.After(time.Now().Add(time.Second)) {
			t.Errorf("first sight at %v, want about %v", first.First, began)
		}
	}
	// 10 s is the time that the kernel keeps a connection after a reset.
	deleteAll(t, opt)
	for _, c := range []struct{ client, server string }{
		{netns.ClientIP4, netns.OutsideIP4}, {netns.ClientIP6, netns.OutsideIP6},
	} {
		last := ended.wait(t, "the end of "+c.server, closed(is(c.client, c.server, "tcp/443")))
		if !last.New || !last.Answered || last.Guessed || last.ID == 0 || last.Asked.IsValid() || last.Hook != "forward" {
			t.Errorf("the end is %s", show(last))
		}
		out, in := counted(t, lab.Gateway, c.client)
		if last.BytesOut != out || last.BytesIn != in {
			t.Errorf("bytes of %s are %d out, %d in; the rules counted %d, %d", c.client, last.BytesOut, last.BytesIn, out, in)
		}
	}
}
