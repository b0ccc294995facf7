package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/phases/flow"
)

func text(lines []Lifeline) []string {
	var out []string
	for _, l := range lines {
		var s strings.Builder
		fmt.Fprintf(&s, "%s: %v -> %v %v %v", l.Name, l.From, l.To, l.Names, l.Services)
		if l.Reply {
			s.WriteString(" reply")
		}
		out = append(out, s.String())
	}
	return out
}

func TestLifelines(t *testing.T) {
	a := netip.MustParseAddr
	m := Machine{
		Resolvers:   []Resolver{{Addr: a("10.0.0.53")}, {Addr: a("fe80::1%eth0")}, {Addr: a("9.9.9.9"), TLS: true}},
		TimeServers: []TimeServer{{Addr: a("192.0.2.123")}, {Name: "pool.example.net", NTS: true}},
		Leases:      []Lease{{Own: true, Addr: a("10.0.0.8"), Server: a("10.0.0.1")}, {Addr: a("fd20::8")}},
		Sessions: []Session{
			{Local: netip.MustParseAddrPort("10.0.0.8:22"), Remote: netip.MustParseAddrPort("192.0.2.10:50000"), Operator: true},
			{Local: netip.MustParseAddrPort("[fd00::8]:2222"), Remote: netip.MustParseAddrPort("[fd00::9]:50000")},
		},
		Peers:   []Peer{{Addr: a("198.51.100.1")}},
		Daemons: []string{"bird", "keepalived"},
	}
	want := []string{
		"resolvers: [] -> [9.9.9.9/32 10.0.0.53/32 fe80::1/128] [] [udp/53 tcp/53]",
		"resolvers-tls: [] -> [9.9.9.9/32] [] [tcp/853]",
		"time: [] -> [192.0.2.123/32] [pool.example.net] [udp/123]",
		"time-keys: [] -> [] [pool.example.net] [tcp/4460]",
		"dhcp: [] -> [10.0.0.1/32 255.255.255.255/32] [] [udp/67]",
		"dhcp6-serve: [] -> [fe80::/10] [] [udp/546]",
		"vrrp: [] -> [0.0.0.0/0 ::/0] [] [vrrp]",
		"ospf: [] -> [0.0.0.0/0 ::/0] [] [ospf]",
		"bgp: [] -> [198.51.100.1/32] [] [tcp/179]",
		"bgp-answers: [] -> [198.51.100.1/32] [] [tcp/179] reply",
		"session-1: [10.0.0.8/32] -> [192.0.2.10/32] [] [tcp/22] reply",
		"session-2: [fd00::8/128] -> [fd00::9/128] [] [tcp/2222] reply",
	}
	if got := text(Lifelines(m)); !slices.Equal(got, want) {
		t.Errorf("lifelines are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := Lifelines(Machine{}); len(got) != 0 {
		t.Errorf("a machine that needs nothing has %q", text(got))
	}
	if why := m.Shares(); len(why) != 1 || !strings.Contains(why[0], "keepalived") {
		t.Errorf("shares: %q", why)
	}
}

// No lifeline is wider than one service, and none opens everything.
func TestLifelinesAreNarrow(t *testing.T) {
	m := Machine{Daemons: slices.Clone(watched), Leases: []Lease{{Own: true, Addr: netip.MustParseAddr("10.0.0.1")}}}
	for _, l := range Lifelines(m) {
		if len(l.Services) == 0 || len(l.To) == 0 {
			t.Errorf("%s is open to everything", l.Name)
		}
		for _, s := range l.Services {
			if s.Proto.HasPorts() && s.Lo != s.Hi {
				t.Errorf("%s holds %s open", l.Name, s)
			}
		}
	}
}

func TestResolve(t *testing.T) {
	lines := []Lifeline{{Name: "time", To: hosts([]netip.Addr{netip.MustParseAddr("192.0.2.1")}),
		Names: []string{"known", "unknown"}, Services: []flow.Service{ntp}}}
	got, err := Resolve(context.Background(), lines, func(_ context.Context, name string) ([]netip.Addr, error) {
		if name == "known" {
			return []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.2")}, nil
		}
		return nil, errors.New("no such name")
	})
	if err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("the error is %v", err)
	}
	want := []string{"time: [] -> [192.0.2.1/32 192.0.2.2/32 2001:db8::1/128] [unknown] [udp/123]"}
	if !slices.Equal(text(got), want) {
		t.Errorf("got %q, want %q", text(got), want)
	}
	if len(lines[0].Names) != 2 || len(lines[0].To) != 1 {
		t.Error("Resolve changed its argument")
	}
}

// Behind Pin no lifeline is for everybody, and the others are as they were.
func TestPin(t *testing.T) {
	m := Machine{
		Interfaces: []Interface{{Name: "lo", Loopback: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
			{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.8/24"), netip.MustParsePrefix("fd00::8/64")}}},
		Resolvers: []Resolver{{Addr: netip.MustParseAddr("10.0.0.53")}},
		Leases:    []Lease{{Own: true, Addr: netip.MustParseAddr("10.0.0.8")}},
		Sessions:  []Session{{Local: netip.MustParseAddrPort("10.0.0.8:22"), Remote: netip.MustParseAddrPort("192.0.2.10:50000")}},
	}
	lines := Lifelines(m)
	want := []string{
		"resolvers: [10.0.0.8/32 fd00::8/128] -> [10.0.0.53/32] [] [udp/53 tcp/53]",
		"dhcp: [0.0.0.0/32 10.0.0.8/32 fd00::8/128] -> [255.255.255.255/32] [] [udp/67]",
		"session-1: [10.0.0.8/32] -> [192.0.2.10/32] [] [tcp/22] reply",
	}
	if got := text(Pin(m, lines)); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(lines[0].From) != 0 {
		t.Error("Pin changed its argument")
	}
}
