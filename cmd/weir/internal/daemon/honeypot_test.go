package daemon

import (
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/cmd/weir/internal/honeypot"
	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/plans"
)

var (
	visitor = netip.MustParseAddr("10.20.16.10")
	gateway = netip.MustParseAddr("10.20.16.1")
	server  = netip.MustParseAddr("198.51.100.7")
)

func potted() *Daemon {
	p := plans.Plan{Groups: []plans.Group{{Name: "desks", Members: []netip.Prefix{netip.MustParsePrefix("10.20.16.0/24")}}}}
	p.Scope.Inside = []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}
	return &Daemon{cfg: Config{Now: time.Now}, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		evidence: monitor.New(time.UTC), classes: plans.NewClassifier(&p),
		pot: pot{entries: honeypot.Redirected{Port: 2323, Mine: map[netip.Addr]bool{gateway: true}}}}
}

func visit(port uint16, said string, at time.Time) honeypot.Visit {
	return honeypot.Visit{Client: netip.AddrPortFrom(visitor, port), Asked: netip.AddrPortFrom(server, 3389), At: at, Ended: at, First: []byte(said)}
}

func line(port uint16, at time.Time) flow.Record {
	return flow.Record{Flow: flow.Flow{Client: visitor, Server: server, Proto: flow.TCP, Port: 3389}, SrcPort: port,
		First: at, Last: at, Group: "desks", Verdict: flow.Captured, Hook: "forward"}
}

// The way from a client to the honeypot is a connection of the table like any
// other, and no evidence; the flow that it stands for is in the kernel's line.
func TestOfHoneypot(t *testing.T) {
	d := potted()
	entry := flow.Record{Flow: flow.Flow{Client: visitor, Server: gateway, Proto: flow.TCP, Port: 2323},
		Asked: netip.AddrPortFrom(server, 3389), Hook: "input"}
	if !d.ofHoneypot(entry) {
		t.Error("the entry of a captured connection is evidence")
	}
	if d.ofHoneypot(line(1, time.Now())) {
		t.Error("the kernel's line is no evidence")
	}
	entry.Asked = netip.AddrPort{}
	if d.ofHoneypot(entry) {
		t.Error("a connection to the port itself was taken for a captured one")
	}
}

// A visit and the kernel's line of it count once, in whichever order they come;
// a visit of which there is no line counts too.
func TestVisitsCountOnce(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		visits, lines []uint16
		want          uint64
	}{
		"both":      {[]uint16{1, 2}, []uint16{1, 2}, 2},
		"no line":   {[]uint16{1, 2}, []uint16{2}, 2},
		"no visit":  {nil, []uint16{1, 2, 3}, 3},
		"no lines":  {[]uint16{1, 2, 3}, nil, 3},
		"only some": {[]uint16{1, 2}, []uint16{2, 3}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			d := potted()
			old := now.Add(-time.Minute)
			for _, p := range c.visits {
				d.visited(visit(p, "x", old))
			}
			for _, p := range c.lines {
				d.ofHoneypot(line(p, old))
				d.evidence.Add(line(p, old))
			}
			d.matchVisits(time.Now().Add(potWait))
			d.matchVisits(time.Now().Add(potWait))
			got := d.visitors()
			if len(got) != 1 || got[0].Count != c.want || len(d.pot.waiting) != 0 {
				t.Fatalf("%+v, %d wait", got, len(d.pot.waiting))
			}
			if f := got[0]; f.Kind != finding.Captured || f.Severity != finding.Warning || f.Group != "desks" || f.Check() != nil {
				t.Errorf("%+v: %v", f, f.Check())
			}
		})
	}
	// A line may be on its way yet.
	d := potted()
	d.visited(visit(1, "x", now))
	d.matchVisits(now)
	if len(d.visitors()) != 0 || len(d.pot.waiting) != 1 {
		t.Error("did not wait for the kernel's line")
	}
}

// What a visitor sends reaches no terminal as it came, and fills no memory.
func TestVisitorsWords(t *testing.T) {
	d := potted()
	old := time.Now().Add(-time.Minute)
	v := visit(1, "\x1b[2J\"\n", old)
	v.ServerName = "a\x1b[31m.example"
	d.visited(v)
	d.matchVisits(time.Now().Add(potWait))
	got := d.visitors()
	if len(got) != 1 || strings.ContainsAny(got[0].Words, "\x1b\n") || !strings.Contains(got[0].Words, `it said "\x1b[2J\"\x0a" and asked for "a\x1b[31m.example"`) {
		t.Fatalf("%+v", got)
	}
	for i := range 3 * potRecent {
		v := visit(uint16(i), "x", old)
		v.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}), 1)
		d.visited(v)
		r := line(uint16(i), old)
		r.Port = uint16(i >> 3)
		d.ofHoneypot(r)
	}
	if len(d.pot.waiting) > potRecent || len(d.pot.logged) > potRecent || len(d.pot.notes) > potNotes {
		t.Errorf("%d visits, %d lines, %d notes are kept", len(d.pot.waiting), len(d.pot.logged), len(d.pot.notes))
	}
	d.matchVisits(time.Now().Add(2 * time.Minute))
	if len(d.pot.logged) != 0 || len(d.pot.waiting) != 0 {
		t.Errorf("%d lines and %d visits stay for ever", len(d.pot.logged), len(d.pot.waiting))
	}
}
