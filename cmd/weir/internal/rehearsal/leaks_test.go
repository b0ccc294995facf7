package rehearsal

import (
	"errors"
	"strings"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/lab"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/rehearse"
)

func leak(t *testing.T, list []rehearse.Leak, group string, f flow.Family, way string) rehearse.Leak {
	t.Helper()
	for _, l := range list {
		if l.Group == group && l.Family == f && l.Way == way {
			return l
		}
	}
	t.Fatalf("%s %s %s was not tried", group, f, way)
	return rehearse.Leak{}
}

// Against a whole block step every way is closed, or open by whose decision it
// says, in both families, from each group; against the alert step before it all
// of them were open.
func TestLeaks(t *testing.T) {
	f := step(block)
	f.Step.Narrows, f.Step.Established = []string{"desks", "doorbell", "gateway"}, "cut"
	list, err := Leaks(t.Context(), f, frozen(alert, nil), lab.Run)
	if err != nil {
		t.Fatal(err)
	}
	tries := map[string]int{}
	for _, l := range list {
		t.Logf("%-10s %s %-14s open %-5t was %-5t %s  [%s]", l.Group, l.Family, l.Way, l.Open, l.Was, l.Packet, l.By)
		tries[l.Group+string(l.Family)]++
		if l.Hole || l.Open && l.By == "" || !l.Open && l.By != "" {
			t.Errorf("%+v", l)
		}
		if !l.Was {
			t.Errorf("closed under alert: %+v", l)
		}
	}
	for group, n := range tries {
		if n < 24 {
			t.Errorf("from %s only %d ways were tried", group, n)
		}
	}
	for _, f := range []flow.Family{flow.IPv4, flow.IPv6} {
		for way, want := range map[string]string{
			"https": "rule of group desks", "quic": "", "dns-resolver": "lifeline resolvers", "dns-other": "", "ping-payload": "rule of group desks",
			"icmp-error": "belong to nothing", "gre": "", "6in4": "", "fragments": "", "no-syn": "mid-connection",
			"outside-first": "scope.inbound: observe", "tunnel-switch": "", "tunnel-unblock": "", "esp": "", "wireguard": "",
		} {
			l := leak(t, list, "desks", f, way)
			if l.Open != (want != "") || !strings.Contains(l.By, want) {
				t.Errorf("desks %s %s: open %t by %q, want %q", f, way, l.Open, l.By, want)
			}
		}
		if l := leak(t, list, "guests", f, "quic"); !l.Open || l.By != "group guests is in alert" {
			t.Errorf("guests: %+v", l)
		}
		if l := leak(t, list, "gateway", f, "https"); l.Open {
			t.Errorf("the gateway itself: %+v", l)
		}
		if l := leak(t, list, "gateway", f, "dns-resolver"); l.By != "lifeline resolvers" {
			t.Errorf("the gateway itself: %+v", l)
		}
	}
	// The doorbell is known by its link address: another's source does not help.
	for _, l := range list {
		if l.Group == "doorbell" && l.Way == "spoof" && l.Open && !strings.Contains(l.By, "whose address is believed") {
			t.Errorf("%+v", l)
		}
	}
	s, err := Summary(list)
	if err != nil || s.Ways != len(list) || s.Open == 0 || s.Closes == 0 || s.Opens != 0 {
		t.Errorf("summary %+v: %v", s, err)
	}
	t.Log(s)
}

// What the plan spares goes on by the plan's word; what outside hosts may not
// open is closed.
func TestLeaksOfAPlansChoice(t *testing.T) {
	in := office(compile.Drop)
	in.Scope.Inbound = "refuse"
	f := step(in)
	f.Step.Narrows, f.Step.Established, f.Step.DrainFor = []string{"desks"}, "drain", 24*time.Hour
	list, err := Leaks(t.Context(), f, frozen(alert, nil), lab.Run)
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range []flow.Family{flow.IPv4, flow.IPv6} {
		if l := leak(t, list, "desks", family, "tunnel-switch"); !l.Open || l.By != "the plan's established: drain, for 24h" {
			t.Errorf("%+v", l)
		}
		if l := leak(t, list, "desks", family, "outside-first"); l.Open {
			t.Errorf("%+v", l)
		}
	}
}

// A group that was blocked before stays closed, and what never left is answered by
// nobody.
func TestLeaksOfALaterWave(t *testing.T) {
	next := office(compile.Reject)
	next.Groups[2].Treatment = compile.Reject
	over := frozen(block, nil)
	f := *frozen(next, over)
	f.Step.Narrows, f.Step.Established = []string{"guests"}, "cut"
	list, err := Leaks(t.Context(), f, over, lab.Run)
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range []flow.Family{flow.IPv4, flow.IPv6} {
		for group, was := range map[string]bool{"desks": false, "guests": true} {
			for _, way := range []string{"quic", "tunnel-switch"} {
				if l := leak(t, list, group, family, way); l.Open || l.Was != was {
					t.Errorf("%+v", l)
				}
			}
		}
	}
	if s, err := Summary(list); err != nil || s.Opens != 0 {
		t.Errorf("%+v: %v", s, err)
	}
}

// Holes that were put into the bytes on purpose are found, each named.
func TestLeaktestFindsAHole(t *testing.T) {
	for _, c := range []struct {
		name  string
		stmts []nft.Stmt
		way   string
	}{
		{"everything", []nft.Stmt{nft.Verdict{Kind: "accept"}}, "quic"},
		{"one protocol", []nft.Stmt{nft.Match{Fields: []nft.Field{nft.L4Proto}, Values: []nft.Value{{Lo: []byte{41}}}}, nft.Verdict{Kind: "accept"}}, "6in4"},
		{"names to anybody", []nft.Stmt{nft.Match{Fields: []nft.Field{nft.L4Proto}, Values: []nft.Value{{Lo: []byte{17}}}},
			nft.Match{Fields: []nft.Field{nft.ThDport}, Values: []nft.Value{{Lo: nft.Port(53)}}}, nft.Verdict{Kind: "accept"}}, "dns-other"},
		{"what is established", []nft.Stmt{nft.State("established"), nft.Verdict{Kind: "accept"}}, "tunnel-unblock"},
		{"IPv6", []nft.Stmt{nft.Match{Fields: []nft.Field{nft.NFProtoF}, Values: []nft.Value{{Lo: []byte{10}}}}, nft.Verdict{Kind: "accept"}}, "esp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := step(block)
			f.Step.Narrows, f.Step.Established = []string{"desks"}, "cut"
			insert(t, &f, "_g_desks", c.stmts...)
			list, err := Leaks(t.Context(), f, frozen(alert, nil), lab.Run)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, l := range list {
				found = found || l.Hole && l.Open && l.Way == c.way && l.Group == "desks" && l.By == rehearse.Hole
			}
			if _, err := Summary(list); !found || !errors.Is(err, ErrHole) {
				t.Errorf("the hole %s was not found: %v", c.way, err)
			}
		})
	}
}
