package flow_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

	"weir/phases/flow"
)

func TestParseService(t *testing.T) {
	for _, c := range []struct {
		text string
		want flow.Service
		back string
	}{
		{"tcp/443", flow.Service{Proto: flow.TCP, Lo: 443, Hi: 443}, "tcp/443"},
		{"tcp/8000-8100", flow.Service{Proto: flow.TCP, Lo: 8000, Hi: 8100}, "tcp/8000-8100"},
		{"udp", flow.Service{Proto: flow.UDP, Lo: 0, Hi: 65535}, "udp"},
		{"udp/0-65535", flow.Service{Proto: flow.UDP, Lo: 0, Hi: 65535}, "udp"},
		{"icmp/8", flow.Service{Proto: flow.ICMP, Lo: 8, Hi: 8}, "icmp/8"},
		{"icmpv6", flow.Service{Proto: flow.ICMPv6, Lo: 0, Hi: 255}, "icmpv6"},
		{"esp", flow.Service{Proto: flow.ESP}, "esp"},
		{"ip/50", flow.Service{Proto: flow.ESP}, "esp"},
		{"ip/41", flow.Service{Proto: 41}, "ip/41"},
		{"ip/6", flow.Service{Proto: flow.TCP, Lo: 0, Hi: 65535}, "tcp"},
	} {
		got, err := flow.ParseService(c.text)
		if err != nil || got != c.want || got.String() != c.back {
			t.Errorf("%q: %v %q %v, want %v %q", c.text, got, got, err, c.want, c.back)
		}
	}
	for _, bad := range []string{"", "tcp/", "tcp/70000", "tcp/10-5", "tcp/-1", "tcp/1-", "icmp/256", "esp/5", "ip/0", "ip/256", "ip/", "TCP/80", "tcp/80,443", "http", "tcp/0x50", "tcp/+1"} {
		if s, err := flow.ParseService(bad); err == nil {
			t.Errorf("%q was read as %v", bad, s)
		}
	}
}

func TestFamilies(t *testing.T) {
	if flow.FamilyOf(netip.MustParseAddr("::ffff:10.0.0.1")) != flow.IPv4 {
		t.Error("IPv4 in IPv6 is IPv4")
	}
	for p, want := range map[flow.Proto][2]bool{flow.ICMP: {true, false}, flow.ICMPv6: {false, true}, flow.TCP: {true, true}, 41: {true, true}} {
		if p.Fits(flow.IPv4) != want[0] || p.Fits(flow.IPv6) != want[1] {
			t.Errorf("%s fits %v %v", p, p.Fits(flow.IPv4), p.Fits(flow.IPv6))
		}
	}
}

// Merging keeps exactly the ports.
func TestMergeServices(t *testing.T) {
	in := []flow.Service{flow.Single(flow.TCP, 82), flow.Single(flow.UDP, 80), flow.Single(flow.TCP, 80), flow.Single(flow.TCP, 81),
		{Proto: flow.TCP, Lo: 100, Hi: 200}, {Proto: flow.TCP, Lo: 150, Hi: 160}, flow.All(flow.ESP), flow.Single(flow.TCP, 65535)}
	before := slices.Clone(in)
	out := flow.MergeServices(in)
	if !slices.Equal(in, before) {
		t.Error("the argument was changed")
	}
	has := func(ss []flow.Service, s flow.Service) bool {
		return slices.ContainsFunc(ss, func(x flow.Service) bool { return x.Contains(s) })
	}
	for _, p := range []flow.Proto{flow.TCP, flow.UDP, flow.ESP} {
		for port := range int(p.Max()) + 1 {
			s := flow.Single(p, uint16(port))
			if has(in, s) != has(out, s) {
				t.Fatalf("%s: %v before, %v after", s, has(in, s), has(out, s))
			}
		}
	}
	if len(out) != 5 {
		t.Errorf("%v: want 5 services", out)
	}
}

func TestServiceJSON(t *testing.T) {
	b, err := json.Marshal([]flow.Service{flow.Single(flow.TCP, 25), {}})
	if err != nil || string(b) != `["tcp/25",""]` {
		t.Fatalf("%s %v", b, err)
	}
	var back []flow.Service
	if err := json.Unmarshal(b, &back); err != nil || back[0] != flow.Single(flow.TCP, 25) || back[1] != (flow.Service{}) {
		t.Fatalf("%v %v", back, err)
	}
	if err := json.Unmarshal([]byte(`["nonsense/1"]`), &back); err == nil {
		t.Error("unknown text was read")
	}
}

// Whatever is read prints as what is read again.
func FuzzParseService(f *testing.F) {
	for _, s := range []string{"tcp/443", "tcp/8000-8100", "udp", "icmp/8", "esp", "ip/41", "ip/6", "tcp/0-65535", "icmpv6/128"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := flow.ParseService(text)
		if err != nil {
			return
		}
		back, err := flow.ParseService(s.String())
		if err != nil || back != s {
			t.Fatalf("%q is %v, which prints as %q and reads as %v, %v", text, s, s, back, err)
		}
		if s.Lo > s.Hi || s.Hi > s.Proto.Max() {
			t.Fatalf("%q gives %+v", text, s)
		}
	})
}
