package monitor

import (
	"net/netip"
	"testing"
	"time"

	"weir/phases/flow"
)

var t0 = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// byPrefix is a classifier for tests: MAC before prefix, users by number.
type byPrefix struct {
	macs     map[string]string
	prefixes map[string]string
	uids     map[uint32]string
	ifaces   map[string]string
}

func (b byPrefix) Group(src netip.Addr, mac, iface string) string {
	if g, ok := b.macs[mac]; ok && mac != "" {
		return g
	}
	for p, g := range b.prefixes {
		if netip.MustParsePrefix(p).Contains(src) {
			return g
		}
	}
	if g, ok := b.ifaces[iface]; ok && iface != "" {
		return g
	}
	return "unassigned"
}

func (b byPrefix) GroupSelf(uid *uint32) string {
	if g, ok := b.uids[deref(uid)]; ok {
		return g
	}
	return "host"
}

func deref(uid *uint32) uint32 {
	if uid == nil {
		return 1 << 31
	}
	return *uid
}

var office = byPrefix{
	macs:     map[string]string{"02:00:5e:10:00:07": "doorbell"},
	prefixes: map[string]string{"10.20.16.0/20": "workstations", "fd20:0:0:16::/64": "workstations", "10.20.1.0/24": "servers"},
	uids:     map[uint32]string{33: "web"},
}

func fl(client, server, service string) flow.Flow {
	s, err := flow.ParseService(service)
	if err != nil {
		panic(err)
	}
	return flow.Flow{Client: netip.MustParseAddr(client), Server: netip.MustParseAddr(server), Proto: s.Proto, Port: s.Lo}
}

func addAll(t *testing.T, e *Evidence, rs ...flow.Record) {
	t.Helper()
	for _, r := range rs {
		if !e.Add(r) {
			t.Fatalf("record %+v was refused", r)
		}
	}
}

func one(t *testing.T, rows []Row) Row {
	t.Helper()
	if len(rows) != 1 {
		t.Fatalf("got %d rows, want 1: %+v", len(rows), rows)
	}
	return rows[0]
}

// A connection that the packet log, three dumps and its end saw is one
// connection with the bytes of its end.
func TestConnectionCountsOnce(t *testing.T) {
	f := fl("10.20.16.5", "198.51.100.7", "tcp/443")
	at := func(m int) time.Time { return t0.Add(time.Duration(m) * time.Minute) }
	seen := flow.Record{Flow: f, First: t0, Last: t0, New: true, Verdict: flow.Seen, MAC: "02:00:00:00:00:05", In: "lan0", Source: "kernel", ID: 7, SrcPort: 4000}
	dump := func(m int, out uint64) flow.Record {
		return flow.Record{Flow: f, First: t0, Last: at(m), ID: 7, SrcPort: 4000, BytesOut: out, BytesIn: out * 2, Answered: true, Source: "kernel"}
	}
	end := dump(40, 1000)
	end.Closed, end.New = true, true
	e := New(nil)
	addAll(t, e, seen, dump(10, 100), dump(20, 100), dump(30, 700), end)
	r := one(t, e.Rows(office))
	if r.Connections != 1 || r.BytesOut != 1000 || r.BytesIn != 2000 || !r.Answered || r.Guessed || r.Group != "workstations" {
		t.Errorf("got %+v", r)
	}
	if !r.First.Equal(t0) || !r.Last.Equal(at(40)) || r.Days.Len() != 1 {
		t.Errorf("span %s to %s, %d days", r.First, r.Last, r.Days.Len())
	}
	again := dump(60, 50)
	again.First = at(55)
	addAll(t, e, again)
	if r := one(t, e.Rows(office)); r.Connections != 2 || r.BytesOut != 1050 {
		t.Errorf("the kernel used the id again: got %d connections, %d bytes out", r.Connections, r.BytesOut)
	}
}

// Dumps know no link address: the group comes from what the packet log saw.
func TestDumpIsClassifiedByTheKnownMAC(t *testing.T) {
	e := New(nil)
	f := fl("10.20.16.9", "203.0.113.1", "tcp/443")
	addAll(t, e,
		flow.Record{Flow: f, First: t0, Last: t0, New: true, Verdict: flow.Seen, MAC: "02:00:5E:10:00:07", In: "lan0"},
		flow.Record{Flow: fl("10.20.16.9", "203.0.113.2", "tcp/80"), First: t0, Last: t0, ID: 9, Answered: true})
	for _, r := range e.Rows(office) {
		if r.Group != "doorbell" {
			t.Errorf("%s is in %s", r.Flow(), r.Group)
		}
	}
}

// What was opened while a gate stood open is the opening's, also when its
// connection goes on; what began before is normal; other groups are not touched.
func TestOpeningsAreKeptApart(t *testing.T) {
	e := New(nil)
	e.Open(Opening{ID: "rollback-1", Kind: "rollback", From: t0.Add(time.Hour), Groups: []string{"workstations"}})
	rec := func(client string, id uint32, first, last time.Duration) flow.Record {
		return flow.Record{Flow: fl(client, "198.51.100.7", "tcp/25"), ID: id, First: t0.Add(first), Last: t0.Add(last), Answered: true, BytesOut: 10}
	}
	addAll(t, e, rec("10.20.16.5", 1, 0, 90*time.Minute), rec("10.20.16.6", 2, 70*time.Minute, 80*time.Minute), rec("10.20.1.5", 3, 70*time.Minute, 80*time.Minute))
	e.Open(Opening{ID: "rollback-1", Kind: "rollback", From: t0.Add(time.Hour), To: t0.Add(2 * time.Hour), Groups: []string{"workstations"}})
	addAll(t, e, rec("10.20.16.6", 2, 70*time.Minute, 180*time.Minute), rec("10.20.16.7", 4, 170*time.Minute, 180*time.Minute))
	got := map[string]string{}
	for _, r := range e.Rows(office) {
		got[r.Client.String()] = r.Opening
		if r.Normal() != (r.Opening == "") {
			t.Errorf("%s: normal %v, opening %q", r.Flow(), r.Normal(), r.Opening)
		}
	}
	want := map[string]string{"10.20.16.5": "", "10.20.16.6": "rollback-1", "10.20.1.5": "", "10.20.16.7": ""}
	for client, opening := range want {
		if got[client] != opening {
			t.Errorf("%s: opening %q, want %q", client, got[client], opening)
		}
	}
}

func TestUsersOfOneFlowAreRowsOfTheirGroups(t *testing.T) {
	e := New(nil)
	web, root := uint32(33), uint32(0)
	f := fl("192.0.2.9", "198.51.100.7", "udp/53")
	addAll(t, e,
		flow.Record{Flow: f, First: t0, Last: t0, New: true, Verdict: flow.Seen, Hook: "output", UID: &web, Unit: "nginx.service"},
		flow.Record{Flow: f, First: t0, Last: t0, New: true, Verdict: flow.Seen, Hook: "output", UID: &root},
		flow.Record{Flow: f, First: t0, Last: t0, ID: 4, Answered: true})
	rows := e.Rows(office)
	if len(rows) != 2 || rows[0].Group != "host" || rows[1].Group != "web" || rows[1].Units[0] != "nginx.service" {
		t.Errorf("got %+v", rows)
	}
}

func TestStates(t *testing.T) {
	for _, c := range []struct {
		name string
		r    flow.Record
		want string
	}{
		{"answered", flow.Record{Flow: fl("10.20.1.5", "198.51.100.7", "tcp/443"), ID: 1, Answered: true}, "answered"},
		{"guessed", flow.Record{Flow: fl("10.20.1.5", "198.51.100.7", "tcp/443"), ID: 1, Answered: true, Guessed: true}, "guessed"},
		{"syn to nobody", flow.Record{Flow: fl("10.20.1.5", "198.51.100.7", "tcp/443"), ID: 1}, "attempted"},
		{"syslog", flow.Record{Flow: fl("10.20.1.5", "198.51.100.7", "udp/514"), ID: 1}, "one-way"},
		{"esp one way", flow.Record{Flow: fl("10.20.1.5", "198.51.100.7", "esp"), ID: 1}, "one-way"},
		{"ping to nobody", flow.Record{Flow: fl("10.20.1.5", "198.51.100.7", "icmp/8"), ID: 1}, "attempted"},
		{"first packet only", flow.Record{Flow: fl("10.20.1.5", "198.51.100.7", "udp/514"), Verdict: flow.Seen, New: true}, "first-sight"},
	} {
		c.r.First, c.r.Last = t0, t0
		e := New(nil)
		addAll(t, e, c.r)
		if got := one(t, e.Rows(office)).State(); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestRecordsWithoutAFlowAreRefused(t *testing.T) {
	if New(nil).Add(flow.Record{First: t0, Last: t0}) {
		t.Error("a record without addresses was taken in")
	}
}
