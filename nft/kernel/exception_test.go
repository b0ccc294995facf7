package kernel_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/netns"
	"weir/phases/flow"
)

var client = map[string]string{"ipv4": netns.ClientIP4 + "/32", "ipv6": netns.ClientIP6 + "/128"}

func exception(id, family, service string, d time.Duration) nft.Exception {
	s := flow.Service{}
	if service != "" {
		var err error
		if s, err = flow.ParseService(service); err != nil {
			panic(err)
		}
	}
	to := netip.MustParseAddr(strings.Trim(outside[family], "[]"))
	return nft.Exception{ID: id, From: netip.MustParsePrefix(client[family]),
		To: netip.PrefixFrom(to, to.BitLen()), Service: s, For: d}
}

// An exception lets through what the policy denies; the kernel ends it, and the
// connection that it let in with it, and it is not spared.
func TestExceptionEndsWithItsConnections(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	rev := narrow(t, idA)
	l.step(rev, "", "t")
	l.answers("tcp", bad, false)
	const length = 900 * time.Millisecond
	must(t, l.AddException(ctx, exception("e4", "ipv4", "tcp/1002", length)))
	must(t, l.AddException(ctx, exception("e6", "ipv6", "tcp/1002", length)))
	end := time.Now().Add(length)
	l.answers("tcp", bad, true)
	l.answers("udp", bad, false)
	four, six := l.dial("tcp", "ipv4", bad), l.dial("tcp", "ipv6", bad)
	must(t, netns.Exchange(four, time.Second))
	must(t, netns.Exchange(six, time.Second))
	list, err := l.Exceptions(ctx)
	must(t, err)
	if len(list) != 2 || list[0].ID != "e4" || list[0].Packets == 0 || list[0].For <= 0 || list[0].For > length {
		t.Errorf("listed: %+v", list)
	}
	time.Sleep(time.Until(end.Add(20 * time.Millisecond)))
	l.answers("tcp", bad, false)
	// Sparing open connections does not reach those of an exception.
	must(t, l.Arm(ctx, nft.Arm{ID: idA, Entry: rev.Entry, Tx: "t9", Lease: time.Minute, Spare: []string{"desks"}, Over: idA}))
	for _, c := range []net.Conn{four, six} {
		if err := netns.Exchange(c, 150*time.Millisecond); err == nil {
			t.Error("the connection went on after its exception had ended")
		}
	}
	if list, err = l.Exceptions(ctx); err != nil || len(list) != 0 {
		t.Errorf("listed after the end: %v, %v", list, err)
	}
}

// Every shape of service is written, read back as it was, and takes effect
// together with others that overlap it.
func TestExceptionShapes(t *testing.T) {
	ctx := context.Background()
	n, k := newNS(t)
	must(t, k.Load(ctx, narrow(t, idA)))
	rows := []struct{ from, to, service string }{
		{"10.20.0.0/16", "198.51.100.0/24", ""},
		{"10.20.16.0/24", "198.51.100.7/32", ""},
		{"10.20.16.10/32", "0.0.0.0/0", "tcp/443"},
		{"10.20.16.10/32", "198.51.100.7/32", "tcp/443"},
		{"10.20.16.10/32", "198.51.100.7/32", "tcp/440-450"},
		{"10.20.16.10/32", "198.51.100.7/32", "udp"},
		{"10.20.16.10/32", "198.51.100.7/32", "esp"},
		{"10.20.16.10/32", "198.51.100.7/32", "icmp/8"},
		{"10.20.16.10/32", "198.51.100.7/32", "icmp"},
		{"fd20::/48", "::/0", "icmpv6/128-129"},
		{"fd20::10/128", "2001:db8::/32", "tcp/22"},
		{"fd20::10/128", "2001:db8::7/128", ""},
		{"fd20::10/128", "2001:db8::7/128", "ip/41"},
	}
	for i, r := range rows {
		e := nft.Exception{ID: fmt.Sprintf("e%x", i), From: netip.MustParsePrefix(r.from), To: netip.MustParsePrefix(r.to), For: time.Hour}
		if r.service != "" {
			e.Service, _ = flow.ParseService(r.service)
		}
		must(t, k.AddException(ctx, e))
	}
	list, err := k.Exceptions(ctx)
	must(t, err)
	if len(list) != len(rows) {
		t.Fatalf("%d exceptions listed, want %d:\n%s", len(list), len(rows), nftIn(t, n, "", "list", "ruleset"))
	}
	for i, r := range rows {
		e := list[i]
		if e.From.String() != r.from || e.To.String() != r.to || e.Service.String() != r.service || e.For < time.Hour-time.Minute || e.For > time.Hour {
			t.Errorf("%v came back as %+v", r, e)
		}
	}
	must(t, k.EndException(ctx, "e1"))
	must(t, k.EndException(ctx, "e1"))
	// The id of a running one replaces it.
	e := list[2]
	e.For = 2 * time.Hour
	must(t, k.AddException(ctx, e))
	list, err = k.Exceptions(ctx)
	must(t, err)
	if len(list) != len(rows)-1 || slices.ContainsFunc(list, func(e nft.Exception) bool { return e.ID == "e1" }) {
		t.Errorf("after ending one: %+v", list)
	}
	i := slices.IndexFunc(list, func(x nft.Exception) bool { return x.ID == e.ID })
	if list[i].For <= time.Hour {
		t.Errorf("the replaced exception has %v left", list[i].For)
	}
	// A revision's load leaves exceptions alone.
	must(t, k.Load(ctx, wide(t, idB)))
	if again, err := k.Exceptions(ctx); err != nil || len(again) != len(list) {
		t.Errorf("after a load: %d exceptions, %v", len(again), err)
	}
}

// What has ended is cleaned by a later call, and only that.
func TestEndedExceptionsAreSwept(t *testing.T) {
	ctx := context.Background()
	n, k := newNS(t)
	must(t, k.Load(ctx, narrow(t, idA)))
	must(t, k.AddException(ctx, exception("e1", "ipv4", "tcp/1", 20*time.Millisecond)))
	must(t, k.AddException(ctx, exception("e2", "ipv4", "tcp/2", time.Hour)))
	time.Sleep(40 * time.Millisecond)
	must(t, k.AddException(ctx, exception("e3", "ipv4", "tcp/3", time.Hour)))
	text := nftIn(t, n, "", "list", "table", "inet", "weir")
	if strings.Contains(text, "w_u_e1") || !strings.Contains(text, "w_u_e2") || !strings.Contains(text, "w_u_e3") {
		t.Errorf("sets after the sweep:\n%s", text)
	}
}

func TestQuarantine(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	l.step(narrow(t, idA), "", "t")
	c := l.dial("tcp", "ipv4", good)
	must(t, netns.Exchange(c, time.Second))
	for _, p := range client {
		must(t, l.Quarantine(ctx, netip.MustParsePrefix(p).Addr(), time.Hour))
	}
	l.answers("tcp", good, false)
	if netns.Exchange(c, 150*time.Millisecond) == nil {
		t.Error("an open connection went on in quarantine")
	}
	must(t, l.Quarantine(ctx, netip.MustParseAddr(netns.ClientIP4), time.Minute))
	list, err := l.Quarantines(ctx)
	must(t, err)
	if len(list) != 2 || list[0].Left > time.Minute || list[1].Left <= time.Minute {
		t.Errorf("quarantined: %+v", list)
	}
	for _, q := range list {
		must(t, l.Unquarantine(ctx, q.Addr))
	}
	l.answers("tcp", good, true)
}
