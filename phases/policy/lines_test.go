package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/phases/flow"
)

func TestBoxLines(t *testing.T) {
	everywhere := Policy{Rules: []Rule{{Group: "desks", Services: []flow.Service{flow.Single(flow.UDP, 123)}}}}
	server := Policy{Rules: []Rule{{Group: "desks", Services: []flow.Service{flow.Single(flow.UDP, 123)},
		To: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8::/64")}}}}
	lost, _ := Diff(everywhere, server)
	got := Lines(lost, nil)
	want := []string{"desks -> any ipv4 but 198.51.100.7 udp/123 (for example 192.0.2.10 -> 198.51.100.80 udp/123)", "desks -> any ipv6 but 2001:db8::/64 udp/123 (for example 2001:db8::10 -> 2001:db8:100::80 udp/123)"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q of %d boxes, want %q", got, len(lost), want)
	}
	few := []Box{{Group: "mail", Family: flow.IPv4, Client: netip.MustParsePrefix("0.0.0.0/0"),
		Server: netip.MustParsePrefix("198.51.100.25/32"), Service: flow.Single(flow.TCP, 25)}}
	if got := Lines(few, nil); len(got) != 1 || !strings.HasPrefix(got[0], "mail -> 198.51.100.25 tcp/25 (for example ") {
		t.Errorf("got %q", got)
	}
}

func TestWithout(t *testing.T) {
	all := netip.MustParsePrefix("10.0.0.0/8")
	for _, c := range []struct{ covered, want string }{
		{"", "10.0.0.0/8"},
		{"10.0.0.0/8", ""},
		{"0.0.0.0/0", ""},
		{"10.0.0.0/9", "10.128.0.0/9"},
		{"10.0.0.0/9 10.192.0.0/10", "10.128.0.0/10"},
		{"192.0.2.0/24", "10.0.0.0/8"},
	} {
		var covered []netip.Prefix
		for _, w := range strings.Fields(c.covered) {
			covered = append(covered, netip.MustParsePrefix(w))
		}
		var got []string
		for _, p := range remainder(all, covered) {
			got = append(got, p.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("10.0.0.0/8 without %q: got %q, want %q", c.covered, got, c.want)
		}
	}
}
