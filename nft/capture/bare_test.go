package capture

import (
	"net"
	"testing"
	"time"

	"weir/nft/netns"
	"weir/phases/flow"
)

// Protocols without ports are flows without a port, whatever their first bytes
// say, and ICMP is told by its type; in the log and in the table.
func TestBareProtocols(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	log, seen := startLog(t, opt, 100)
	conns, ended := startConnections(t, opt)
	for _, c := range []struct {
		network, to, client, service string
		payload                      []byte
	}{
		{"ip4:50", netns.OutsideIP4, netns.ClientIP4, "esp", []byte{0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 1}},
		{"ip6:50", netns.OutsideIP6, netns.ClientIP6, "esp", []byte{0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 1}},
		{"ip4:47", netns.OutsideIP4, netns.ClientIP4, "gre", []byte{0, 0, 8, 0, 0x45, 0, 0, 0}},
		{"ip6:47", netns.OutsideIP6, netns.ClientIP6, "gre", []byte{0, 0, 8, 0, 0x45, 0, 0, 0}},
		// Enhanced GRE of PPTP: the kernel keeps the call id as a port.
		{"ip4:47", netns.OutsideIP4, netns.ClientIP4, "gre", []byte{0x30, 1, 0x88, 0x0b, 0, 4, 0x12, 0x34, 0, 0, 0, 1}},
		{"ip4:41", netns.OutsideIP4, netns.ClientIP4, "ip/41", make([]byte, 40)},
		{"ip4:1", netns.OutsideIP4, netns.ClientIP4, "icmp/8", []byte{8, 0, 0xf7, 0xfe, 0, 1, 0, 0}},
		{"ip6:58", netns.OutsideIP6, netns.ClientIP6, "icmpv6/128", []byte{128, 0, 0, 0, 0, 1, 0, 0}},
	} {
		err := lab.Client.Do(func() error {
			conn, err := net.Dial(c.network, c.to)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write(c.payload)
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", c.network, err)
		}
		seen.wait(t, c.service, is(c.client, c.to, c.service))
	}
	time.Sleep(20 * time.Millisecond) // replies are on their way
	deleteAll(t, opt)
	for service, answered := range map[string]bool{"esp": false, "gre": false, "ip/41": false, "icmp/8": true} {
		r := ended.wait(t, service, closed(is(netns.ClientIP4, netns.OutsideIP4, service)))
		if r.Answered != answered || r.Asked.IsValid() || r.BytesOut == 0 {
			t.Errorf("%s: %s", service, show(r))
		}
	}
	for service, answered := range map[string]bool{"esp": false, "gre": false, "icmpv6/128": true} {
		r := ended.wait(t, service, closed(is(netns.ClientIP6, netns.OutsideIP6, service)))
		if r.Answered != answered || r.Asked.IsValid() {
			t.Errorf("%s: %s", service, show(r))
		}
	}
	portless := func(r flow.Record) bool { return r.Port+r.SrcPort != 0 && r.Proto.Max() == 0 }
	seen.none(t, "a port where there is none", portless)
	ended.none(t, "a port where there is none", portless)
	if s := log.Stats(); s.Undecoded != 0 || s.Foreign != 0 {
		t.Errorf("the log's statistics are %+v", s)
	}
	if s := conns.Stats(); s.Undecoded != 0 {
		t.Errorf("the table's statistics are %+v", s)
	}
}

// A datagram in fragments is one flow with its ports, in both families.
func TestFragments(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	log, seen := startLog(t, opt, 100)
	for _, f := range bothFamilies {
		if err := lab.Outside.EchoUDP(net.JoinHostPort(f.server, "2049")); err != nil {
			t.Fatal(err)
		}
		c, err := lab.Client.Dial("udp", net.JoinHostPort(f.server, "2049"), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
		seen.wait(t, "the datagram", is(f.client, f.server, "udp/2049"))
	}
	if s := log.Stats(); s.Records != 2 || s.Undecoded != 0 {
		t.Errorf("statistics are %+v", s)
	}
}

// Lines of weir's other prefixes carry their verdict and group; a line of
// somebody else's rule is counted, not reported.
func TestVerdictLines(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, `
table inet t {
  chain f { type filter hook forward priority 10; policy accept;
    udp dport 1001 log prefix "weir a desks " group 101
    udp dport 1002 log prefix "weir d cams-1 " group 101
    udp dport 1003 log prefix "weir q " group 101
    udp dport 1004 log prefix "weir in " group 100
    udp dport 1005 log prefix "somebody else " group 101
    udp dport 1007 log prefix "weir w desks " group 101
    udp dport 1008 log prefix "weir c desks " group 101
  }
  chain n { type nat hook prerouting priority -90; policy accept;
    udp dport 1006 log prefix "weir h desks " group 101 redirect to :2323
  }
}`)
	opt := prepare(t, lab.Gateway)
	log, h := startLog(t, opt, 100, 101)
	spray(t, lab.Client, 1001, 8)
	for port, want := range map[string]flow.Record{
		"udp/1001": {Verdict: flow.WouldDeny, Group: "desks"},
		"udp/1002": {Verdict: flow.Denied, Group: "cams-1"},
		"udp/1003": {Verdict: flow.Denied},
		"udp/1004": {Verdict: flow.Seen, Inbound: true, New: true},
		"udp/1006": {Verdict: flow.Captured, Group: "desks"},
		"udp/1007": {Verdict: flow.Widens, Group: "desks"},
		"udp/1008": {Verdict: flow.Narrows, Group: "desks"},
	} {
		r := h.wait(t, port, is(netns.ClientIP4, netns.OutsideIP4, port))
		if r.Verdict != want.Verdict || r.Group != want.Group || r.Inbound != want.Inbound || r.New != want.New || r.Hook != "forward" {
			t.Errorf("%s is %s", port, show(r))
		}
	}
	h.none(t, "a foreign line", is(netns.ClientIP4, netns.OutsideIP4, "udp/1005"))
	if s := log.Stats(); s.Foreign != 1 || s.Records != 7 {
		t.Errorf("statistics are %+v", s)
	}
}
