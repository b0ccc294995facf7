package monitor

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/phases/finding"
	"weir/phases/flow"
	"weir/plans"
)

func pf(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func plan() *plans.Plan {
	both := []flow.Family{flow.IPv4, flow.IPv6}
	web := []flow.Service{flow.Single(flow.TCP, 80), flow.Single(flow.TCP, 443), flow.Single(flow.UDP, 443)}
	return &plans.Plan{Timezone: time.UTC,
		Scope: plans.Scope{Hooks: []string{"forward"}, Inside: pf("10.20.0.0/16", "fd20::/48"), Inbound: "observe"},
		Groups: []plans.Group{
			{Name: "doorbell", MACs: []string{"02:00:5e:10:00:07", "02:00:5e:10:00:08"}, Families: both},
			{Name: "servers", Members: pf("10.20.1.0/24", "10.20.1.25/32"), Families: []flow.Family{flow.IPv4}},
			{Name: "unassigned", Families: both},
			{Name: "workstations", Members: pf("10.20.16.0/20"), Families: both},
		},
		Services: map[string][]flow.Service{"web": web},
		Declared: []plans.Declared{{Name: "failover", From: plans.Target{Prefixes: pf("10.20.1.31/32")}, To: plans.Target{Outside: true},
			Services: []flow.Service{flow.Single(flow.TCP, 5432), flow.Single(flow.ICMPv6, 128)}}},
	}
}

func report(t *testing.T) (*plans.Plan, *Evidence, *plans.Classifier) {
	e := New(nil)
	add := func(client, server, service string, id uint32, change func(*flow.Record)) {
		r := flow.Record{Flow: fl(client, server, service), First: t0, Last: t0.Add(time.Minute), ID: id, New: true, Closed: true,
			BytesOut: 10, BytesIn: 100, Answered: true, Source: "kernel"}
		if change != nil {
			change(&r)
		}
		addAll(t, e, r)
	}
	add("10.20.16.5", "198.51.100.7", "tcp/443", 1, nil)
	add("10.20.16.5", "198.51.100.8", "tcp/443", 2, nil)
	add("10.20.16.6", "198.51.100.7", "tcp/443", 3, func(r *flow.Record) { r.Last = t0.Add(49 * time.Hour) })
	add("10.20.16.6", "198.51.100.9", "tcp/25", 4, func(r *flow.Record) { r.Answered = false })
	add("10.20.16.7", "198.51.100.9", "tcp/25", 5, func(r *flow.Record) { r.Answered = false })
	add("10.20.1.5", "198.51.100.9", "udp/514", 6, func(r *flow.Record) { r.Answered, r.BytesIn = false, 0 })
	add("192.0.2.66", "10.20.1.5", "tcp/22", 7, func(r *flow.Record) { r.Inbound, r.BytesIn = true, 5000 })
	addAll(t, e, flow.Record{Flow: fl("10.20.16.9", "198.51.100.7", "tcp/443"), First: t0, Last: t0, New: true, Verdict: flow.Seen,
		MAC: "02:00:5e:10:00:07", In: "lan0"})
	p := plan()
	return p, e, plans.NewClassifier(p)
}

func TestFlows(t *testing.T) {
	_, e, c := report(t)
	rows := e.Rows(c)
	for _, tc := range []struct {
		name string
		f    Filter
		by   By
		want []string
	}{
		{"by group", Filter{Normal: true}, By{Group: true}, []string{
			"doorbell - - - first-sight 1/1 1", "servers - - - one-way 1/1 1",
			"workstations - - - answered 2/2 3", "workstations - - - attempted 2/1 2"}},
		{"by service of one destination", Filter{Destination: pf("198.51.100.7/32")[0], Group: "workstations"}, By{Group: true, Service: true},
			[]string{"workstations - - tcp/443 answered 2/1 2"}},
		{"since", Filter{Since: t0.Add(time.Hour)}, ByAll, []string{"workstations 10.20.16.6 198.51.100.7 tcp/443 answered 1/1 1"}},
		{"inbound", Filter{Service: flow.Single(flow.TCP, 22)}, ByAll, []string{"servers 192.0.2.66 10.20.1.5 tcp/22 answered 1/1 1"}},
	} {
		var got []string
		dash := func(s string) string {
			if s == "" || s == "invalid IP" {
				return "-"
			}
			return s
		}
		for _, l := range Flows(rows, tc.f, tc.by) {
			got = append(got, fmt.Sprintf("%s %s %s %s %s %d/%d %d", l.Group, dash(l.Client.String()), dash(l.Destination.String()),
				dash(l.Service.String()), l.State, l.Endpoints, l.Destinations, l.Connections))
		}
		if fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: got\n%q\nwant\n%q", tc.name, got, tc.want)
		}
	}
}

func TestPorts(t *testing.T) {
	p, e, c := report(t)
	var got []string
	for _, l := range Ports(p, e.Rows(c)) {
		if l.Group == "servers" || l.Group == "workstations" {
			got = append(got, fmt.Sprintf("%s %s %s used=%v %d/%d", l.Group, l.Service, l.Name, l.Used, l.Endpoints, l.Destinations))
		}
	}
	// ICMPv6 is never of a group that has IPv4 only; declared counts where its source is.
	want := []string{
		"servers udp/514  used=true 1/1", "servers tcp/80 web used=false 0/0", "servers tcp/443 web used=false 0/0",
		"servers tcp/5432  used=false 0/0", "servers udp/443 web used=false 0/0",
		"workstations tcp/443 web used=true 2/2", "workstations tcp/80 web used=false 0/0", "workstations udp/443 web used=false 0/0"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestEndpoints(t *testing.T) {
	p, e, c := report(t)
	known := []Known{{netip.MustParseAddr("10.20.16.200"), "02:00:00:00:00:c8"}, {netip.MustParseAddr("10.20.16.5"), "02:00:00:00:00:05"}}
	var got []string
	for _, l := range Endpoints(p, e, c, known) {
		got = append(got, fmt.Sprintf("%s %s %s %s %d in=%d", l.Group, addrText(l.Addr), l.MAC, l.State, l.Flows, l.Inbound))
	}
	want := []string{
		"doorbell  02:00:5e:10:00:08 silent 0 in=0", "doorbell 10.20.16.9 02:00:5e:10:00:07 attempts 0 in=0",
		"servers 10.20.1.5  talks 1 in=1", "servers 10.20.1.25  silent 0 in=0",
		"workstations 10.20.16.5  talks 2 in=0", "workstations 10.20.16.6  talks 1 in=0",
		"workstations 10.20.16.7  attempts 0 in=0", "workstations 10.20.16.200 02:00:00:00:00:c8 never 0 in=0"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestUnansweredShare(t *testing.T) {
	_, e, c := report(t)
	got, err := json.Marshal(UnansweredShare(e.Rows(c)))
	if err != nil || string(got) != `[{"group":"workstations","flows":5,"unanswered":2,"share":0.4}]` {
		t.Errorf("got %s, %v", got, err)
	}
}

// A name that a spreadsheet would run must arrive as text, and quotes, commas
// and lines inside a cell must stay inside it.
func TestCSV(t *testing.T) {
	for _, bad := range []string{`=cmd|' /C calc'!A0`, "+1", "-1", "@SUM(A1)", "\t=1", "|x", "%x"} {
		var b bytes.Buffer
		if err := WriteFlowsCSV(&b, []FlowLine{{Group: bad, Opening: "a,\"b\"\nc"}}); err != nil {
			t.Fatal(err)
		}
		all, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(all) != 2 || len(all[0]) != len(all[1]) {
			t.Fatalf("%q: %q, %v", bad, all, err)
		}
		if all[1][0] != "'"+bad || all[1][6] != "a,\"b\"\nc" {
			t.Errorf("%q became %q and %q", bad, all[1][0], all[1][6])
		}
	}
	p, e, c := report(t)
	var b bytes.Buffer
	for name, err := range map[string]error{"ports": WritePortsCSV(&b, Ports(p, e.Rows(c))), "endpoints": WriteEndpointsCSV(&b, Endpoints(p, e, c, nil))} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := strings.Count(b.String(), "\n"); n < 15 {
		t.Errorf("%d lines:\n%s", n, b.String())
	}
}

func TestObservedAndCoverage(t *testing.T) {
	e := New(nil)
	h := func(n float64) time.Time { return t0.Add(time.Duration(n * float64(time.Hour))) }
	e.Observed(h(4), h(6))
	e.Observed(h(0), h(1))
	e.Observed(h(1), h(2))
	e.Observed(h(5), h(7))
	e.Observed(h(9), h(9))
	e.AddGap(Gap{Span{h(4.5), h(5)}, "overrun", 9})
	e.AddGap(Gap{Span{h(4.75), h(5.25)}, "overrun", 3})
	if got := fmt.Sprint(e.Spans()); got != fmt.Sprint([]Span{{h(0), h(2)}, {h(4), h(7)}}) {
		t.Errorf("spans %s", got)
	}
	if got, want := e.ObservedTime(h(0), h(10)), 5*time.Hour-45*time.Minute; got != want {
		t.Errorf("observed %s, want %s: overlapping losses count once", got, want)
	}
	if got := e.ObservedTime(h(1.5), h(4.6)); got != time.Hour {
		t.Errorf("observed in part: %s", got)
	}
	var causes []string
	for _, g := range e.Gaps(h(0), h(10)) {
		causes = append(causes, fmt.Sprintf("%s %s", g.Cause, g.Duration()))
	}
	if fmt.Sprint(causes) != "[not running 2h0m0s overrun 30m0s overrun 30m0s not running 3h0m0s]" {
		t.Errorf("gaps %q", causes)
	}
	got := e.Coverage([]Occasion{{"inside", Span{h(0), h(2)}}, {"half", Span{h(1), h(3)}}, {"missed", Span{h(8), h(9)}}})
	for i, want := range []float64{1, 0.5, 0} {
		if got[i].Share != want {
			t.Errorf("%s: share %v, want %v", got[i].Name, got[i].Share, want)
		}
	}
}

func TestWitnessed(t *testing.T) {
	e := New(nil)
	if _, known := e.Witnessed(); known {
		t.Error("a share of nothing")
	}
	e.Observed(t0, t0.Add(time.Hour))
	e.AddSent("wan0", Sent{Bytes: 1000 + 14*10, Packets: 10})
	old := flow.Record{Flow: fl("10.20.16.5", "198.51.100.7", "tcp/443"), First: t0.Add(-99 * time.Hour), Last: t0, ID: 1, BytesOut: 1e9}
	addAll(t, e, old, // what it moved before is not of this hour
		flow.Record{Flow: fl("10.20.16.5", "198.51.100.7", "tcp/25"), First: t0.Add(time.Minute), Last: t0.Add(2 * time.Minute), ID: 2, BytesOut: 300, Closed: true},
		flow.Record{Flow: fl("192.0.2.6", "10.20.1.5", "tcp/25"), First: t0.Add(time.Minute), Last: t0.Add(2 * time.Minute), ID: 3, BytesOut: 9999, BytesIn: 100, Inbound: true})
	old.Last, old.BytesOut = t0.Add(10*time.Minute), 1e9+200
	addAll(t, e, old)
	if got, known := e.Witnessed(); !known || got != 0.6 {
		t.Errorf("got %v, want 0.6", got)
	}
}

func TestDeviceFindings(t *testing.T) {
	e := New(nil)
	see := func(client, mac, iface string, at time.Duration) {
		addAll(t, e, flow.Record{Flow: fl(client, "198.51.100.7", "tcp/443"), First: t0.Add(at), Last: t0.Add(at), New: true,
			Verdict: flow.Seen, MAC: mac, In: iface})
	}
	see("10.20.16.5", "02:00:00:00:00:05", "lan0", 0)
	see("10.20.16.5", "02:00:00:00:00:66", "lan0", time.Hour)
	see("10.20.16.6", "02:00:00:00:00:06", "lan0", 0)
	see("10.20.16.6", "02:00:00:00:00:06", "guest0", time.Hour)
	see("10.20.16.7", "02:00:00:00:00:07", "lan0", 0) // as it should be
	for i := range 200 {                              // two routers take turns
		see(fmt.Sprintf("10.20.2.%d", i), "02:00:00:00:aa:01", "lan1", 0)
		see(fmt.Sprintf("10.20.2.%d", i), "02:00:00:00:aa:02", "lan1", time.Hour)
	}
	see("10.20.16.20", "02:00:5e:10:00:07", "lan0", 0) // the doorbell, with two addresses
	see("10.20.16.21", "02:00:5e:10:00:07", "lan0", time.Hour)
	addAll(t, e, flow.Record{Flow: fl("192.0.2.6", "10.20.1.5", "tcp/22"), First: t0, Last: t0, ID: 3, BytesIn: 4711, Inbound: true, Answered: true})
	e.AddGap(Gap{Span{t0, t0}, "overrun", 12})
	p := plan()
	var got []string
	for _, f := range Findings(p, e, plans.NewClassifier(p)) {
		if err := f.Check(); err != nil {
			t.Error(err)
		}
		got = append(got, fmt.Sprintf("%s %s %s %d: %s", f.Severity, f.Kind, f.Group, f.Count, f.Words))
	}
	text := strings.Join(got, "\n")
	for _, want := range []string{
		"warning mac-change workstations 1: 10.20.16.5 changed its link address from 02:00:00:00:00:05 to 02:00:00:00:00:66",
		"warning iface-change workstations 1: 10.20.16.6 came in by lan0 and then by guest0",
		"notice mac-change unassigned 200: addresses moved from the router 02:00:00:00:aa:01 to the router 02:00:00:00:aa:02",
		"notice many-addresses  200: the link address 02:00:00:00:aa:01",
		"warning many-addresses doorbell 2: the link address 02:00:5e:10:00:07 has 2 IPv4",
		"notice inbound servers 1: outside hosts opened tcp/22 to 10.20.1.5, which sent 4711 bytes out by it",
		"warning loss  12: the capture lost records: overrun",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in\n%s", want, text)
		}
	}
	if len(got) != 8 {
		t.Errorf("%d findings:\n%s", len(got), text)
	}
	kinds := map[finding.Kind]bool{}
	for _, f := range Findings(p, New(nil), plans.NewClassifier(p)) {
		kinds[f.Kind] = true
	}
	if len(kinds) != 0 {
		t.Errorf("findings of nothing: %v", kinds)
	}
}

// Three minutes saw 5 flows, seven days 41: pairs that were seen on one day only
// say how much was not seen.
func TestDiscovery(t *testing.T) {
	var rows []Row
	pair := func(n int, days ...int32) {
		r := Row{Group: "servers", Client: netip.MustParseAddr("10.20.1.5"), Server: netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}),
			Service: flow.Single(flow.TCP, 443), Answered: true, Traced: true}
		for _, d := range days {
			r.Days.Add(20000 + d)
		}
		rows = append(rows, r)
	}
	for i := range 10 {
		pair(i, 0, 1, 2, 3)
	}
	steady := Discovery(rows)[0]
	if steady.Unseen != 0 || steady.Once != 0 || len(steady.Curve) != 1 || steady.Curve[0].Pairs != 10 {
		t.Errorf("steady: %+v", steady)
	}
	for i := range 10 {
		pair(100+i, int32(i%4))
	}
	pair(200, 2, 3)
	growing := Discovery(rows)[0]
	if growing.Once != 10 || growing.Twice != 1 || growing.Unseen < 15 || growing.Unseen > 18 || growing.Days != 4 {
		t.Errorf("growing: %+v", growing)
	}
}

func TestInScope(t *testing.T) {
	v6 := plans.Scope{Hooks: []string{"forward"}, Inside: pf("10.20.0.0/16", "fd20::/48"), Inbound: "observe"}
	outside := v6
	outside.Outside = pf("198.51.100.0/24")
	ignore := v6
	ignore.Inbound = "ignore"
	host := plans.Scope{Hooks: []string{"output"}, Inbound: "observe"}
	ifaces := plans.Scope{Hooks: []string{"forward"}, InsideIfaces: []string{"lan0"}, Inbound: "observe"}
	for _, c := range []struct {
		name           string
		s              plans.Scope
		client, server string
		want           string
	}{
		{"outbound", v6, "10.20.1.5", "198.51.100.7", "yes"},
		{"outbound IPv6", v6, "fd20::5", "2001:db8::7", "yes"},
		{"IPv4 in IPv6", v6, "::ffff:10.20.1.5", "198.51.100.7", "yes"},
		{"inside", v6, "10.20.1.5", "10.20.2.5", "no"},
		{"inbound", v6, "198.51.100.7", "10.20.1.5", "inbound"},
		{"inbound, ignored", ignore, "198.51.100.7", "10.20.1.5", "no"},
		{"the gateway's own", v6, "192.0.2.1", "198.51.100.7", "no"},
		{"multicast", v6, "10.20.1.5", "224.0.0.251", "no"},
		{"broadcast", v6, "10.20.1.5", "255.255.255.255", "no"},
		{"link-local", v6, "fd20::5", "fe80::1", "no"},
		{"of the outside that is named", outside, "10.20.1.5", "198.51.100.7", "yes"},
		{"of another", outside, "10.20.1.5", "203.0.113.7", "no"},
		{"host", host, "192.0.2.1", "198.51.100.7", "yes"},
		{"host to itself", host, "127.0.0.1", "127.0.0.1", "no"},
		{"interfaces", ifaces, "10.20.1.5", "198.51.100.7", "yes"},
	} {
		got := "no"
		if r, ok := InScope(c.s, flow.Record{Flow: fl(c.client, c.server, "tcp/443")}); ok && r.Inbound {
			got = "inbound"
		} else if ok {
			got = "yes"
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}
