package suggest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/phases/flow"
	"weir/plans"
)

const office = `apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: office, owner: a@b}
scope: {hooks: [forward], inside: {prefixes: [10.20.0.0/16, "fd20::/48"]}}
groups:
  desks: {members: [10.20.16.0/22, "fd20:0:0:16::/64"]}
  servers: {members: [10.20.1.0/24, "fd20:0:0:1::/64"]}
  relays: {members: [10.20.1.25, "fd20:0:0:1::25"]}
  web-proxies: {members: [10.20.1.31, "fd20:0:0:1::31"]}
  cameras: {members: [10.20.40.0/24], families: [ipv4]}
  doors: {members: [10.20.41.0/24], families: [ipv4]}
declared:
  - {name: firmware, from: [doors], to: [203.0.113.9], services: [tcp/443]}
enforce:
  waves: [{name: all, groups: [desks, servers, relays, web-proxies, cameras, doors]}]
  leaveOpen: [unassigned]
`

// office observes: desks that browse, two of which send mail themselves; 20
// servers with a database outside, five of which go anywhere by web; a relay; a
// proxy; cameras of which nothing is seen; and what more is given.
func observed(t *testing.T, more ...Observation) *Input {
	in := &Input{}
	see := func(group, client, server, service string) {
		s, err := flow.ParseService(service)
		if err != nil {
			t.Fatal(err)
		}
		add(t, in, Observation{group, netip.MustParseAddr(client), netip.MustParseAddr(server), s})
	}
	site := 0
	browse := func(group, client string, n int) {
		for range n {
			site++
			see(group, client, fmt.Sprintf("100.%d.%d.1", 64+site/200, site%200), "tcp/443")
		}
	}
	for i := range 40 {
		c := fmt.Sprintf("10.20.16.%d", 10+i)
		browse("desks", c, 20)
		see("desks", c, "192.0.2.53", "udp/53")
		see("desks", fmt.Sprintf("fd20:0:0:16::%x", 10+i), "2001:db8::53", "udp/53")
		if i < 2 {
			see("desks", c, "198.51.100.25", "tcp/25")
		}
	}
	for i := range 20 {
		c := fmt.Sprintf("10.20.1.%d", 100+i)
		see("servers", c, "192.0.2.53", "udp/53")
		see("servers", c, "198.51.100.7", "tcp/5432")
		see("servers", c, "198.51.100.8", "tcp/443")
		if i < 5 {
			browse("servers", c, 14)
		}
	}
	for i := range 20 {
		see("relays", "10.20.1.25", fmt.Sprintf("100.%d.7.7", 100+i), "tcp/25")
	}
	browse("web-proxies", "10.20.1.31", 60)
	for _, o := range more {
		add(t, in, o)
	}
	return in
}

func suggested(t *testing.T, in *Input, o Options) (*Proposal, *plans.Plan) {
	t.Helper()
	p, err := plans.Parse("office.yaml", []byte(office))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Suggest(p, in, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, merge(t, office, s)
}

// TestTypicalRefactorings are recognised and proposed by name: as never
// entries with a test, or as a rule that is left out.
func TestTypicalRefactorings(t *testing.T) {
	s, q := suggested(t, observed(t), Options{})
	var got []string
	for _, n := range s.Named {
		got = append(got, fmt.Sprintf("%s %v %v %d", n.Kind, n.Groups, n.Services, n.Endpoints))
	}
	want := []string{
		"mail-from-relays [cameras desks doors servers web-proxies] [tcp/25 tcp/465 tcp/587] 2",
		"web-through-proxy [servers] [tcp/80 tcp/443 udp/443] 5",
		"needs-nothing [cameras] [] 0",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(q.Never) != 2 || len(q.Tests) != 2 {
		t.Errorf("%d never entries and %d tests", len(q.Never), len(q.Tests))
	}
	// the servers keep their single destination by the same port
	for _, r := range q.Refactor {
		text := fmt.Sprint(r.Allow)
		switch r.Name {
		case "servers":
			if !strings.Contains(text, "198.51.100.8") || strings.Contains(text, "outside") {
				t.Errorf("servers may %s", text)
			}
		case "desks":
			if !strings.Contains(text, "tcp/443") || strings.Contains(text, "tcp/25") {
				t.Errorf("desks may %s", text)
			}
		}
	}
	if len(s.Exceptions) != 0 { // what is taken away is no exception
		t.Errorf("exceptions %v", s.Exceptions)
	}
	if len(q.Refactor) != 4 { // not of cameras and doors: nothing was seen of them
		t.Errorf("%d steps", len(q.Refactor))
	}
}

// TestMailOfMany is not a mistake of few: nothing is proposed.
func TestMailOfMany(t *testing.T) {
	var more []Observation
	for i := range 12 {
		more = append(more, Observation{"servers", netip.MustParseAddr(fmt.Sprintf("10.20.1.%d", 100+i)), netip.MustParseAddr("198.51.100.25"), tcp(25)})
	}
	s, _ := suggested(t, observed(t, more...), Options{})
	for _, n := range s.Named {
		if n.Kind == "mail-from-relays" {
			t.Errorf("proposed %+v", n)
		}
	}
}

// TestClassWithinAGroup: servers that do something else become a group, with
// the prefixes that hold them, and one that fits neither is an exception.
func TestClassWithinAGroup(t *testing.T) {
	var more []Observation
	see := func(last int, server string, s flow.Service) {
		more = append(more, Observation{"servers", netip.AddrFrom4([4]byte{10, 20, 1, byte(last)}), netip.MustParseAddr(server), s})
	}
	for i := range 8 {
		see(64+i, "198.51.100.77", tcp(9092))
		see(64+i, "198.51.100.78", tcp(9093))
		see(64+i, "192.0.2.123", udp(123))
	}
	see(100, "203.0.113.99", tcp(22))
	s, q := suggested(t, observed(t, more...), Options{})
	i := slices.IndexFunc(s.Classes, func(c Class) bool { return c.New })
	if i < 0 {
		t.Fatalf("no new group in %+v", s.Classes)
	}
	c := s.Classes[i]
	if c.Of != "servers" || c.Seen != 8 || fmt.Sprint(c.Members) != "[10.20.1.64/29]" || c.Purity != 1 || len(c.Misfits) != 0 {
		t.Errorf("%+v", c)
	}
	g := q.Group(c.Name)
	if g == nil || g.Extends != "servers" || fmt.Sprint(g.Families) != "[ipv4]" {
		t.Errorf("group %+v", g)
	}
	if len(s.Exceptions) != 1 || fmt.Sprint(s.Exceptions[0]) != "{servers [10.20.1.100] [203.0.113.99] [tcp/22]}" {
		t.Errorf("exceptions %v", s.Exceptions)
	}
	if !slices.ContainsFunc(s.Roles, func(r Role) bool { return fmt.Sprint(r.Services) == "[udp/53 to 192.0.2.53]" }) {
		t.Errorf("no role of name resolution in %+v", s.Roles)
	}
}

// TestNames: the addresses of one name are one destination, all of its
// prefixes; a rule says how much that widens.
func TestNames(t *testing.T) {
	names, err := ReadNames(strings.NewReader("# who\n198.51.100.0/25,AS64500 Example\n198.51.100.0/25,AS64500 Example\n10.20.0.0/24,AS64500 Example\n203.0.113.0/24\tAS64500 Example\n198.51.100.0/24 AS64501 Other\n"))
	if err != nil {
		t.Fatal(err)
	}
	var more []Observation
	for i := range 20 {
		more = append(more, Observation{"servers", netip.AddrFrom4([4]byte{10, 20, 1, byte(100 + i)}), netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), tcp(8443)})
	}
	s, _ := suggested(t, observed(t, more...), Options{Names: names})
	for _, c := range s.Classes {
		for _, r := range c.Rules {
			if c.Name == "servers" && slices.Contains(r.Services, tcp(8443)) {
				if fmt.Sprint(r.To, r.Names) != "[198.51.100.0/25 203.0.113.0/24] [AS64500 Example]" || r.Granted != 20*20+20+20 || r.Seen != 20+20+20 {
					t.Errorf("%+v", r)
				}
				return
			}
		}
	}
	t.Error("no rule")
}

func TestReadNamesRefuses(t *testing.T) {
	for _, bad := range []string{"198.51.100.0/24", "nonsense,x", "0.0.0.0/0,all", "198.51.100.0/24,", "198.51.100.0/24,a\x07b", "198.51.100.0/24,a\u202eb"} {
		if n, err := ReadNames(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read as %v", bad, n.prefixes)
		}
	}
}

// TestLimitOfRules takes the narrowest level that is small enough.
func TestLimitOfRules(t *testing.T) {
	s, _ := suggested(t, observed(t), Options{})
	last := s.Curve[len(s.Curve)-1]
	for _, c := range s.Curve {
		n := c.Rules + c.Exceptions
		got, _ := suggested(t, observed(t), Options{Rules: n})
		for _, d := range got.Curve[:got.Level-1] {
			if d.Rules+d.Exceptions <= n {
				t.Errorf("%d rules: level %d was taken, %d has %d", n, got.Level, d.Level, d.Rules+d.Exceptions)
			}
		}
	}
	p, _ := plans.Parse("office.yaml", []byte(office))
	if _, err := Suggest(p, observed(t), Options{Rules: 1}); err == nil || last.Rules < 2 {
		t.Error("one rule was promised")
	}
}

// FuzzReadNames: what is read names its addresses, or is refused.
func FuzzReadNames(f *testing.F) {
	f.Add("198.51.100.0/24,AS64500 Example\n2001:db8::/32\tB # c\n")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ReadNames(strings.NewReader(text))
		if err != nil {
			return
		}
		for name, prefixes := range n.prefixes {
			if name == "" || strings.ContainsAny(name, "\n\r\x1b") {
				t.Fatalf("name %q", name)
			}
			for _, p := range prefixes {
				if _, ok := n.table.Lookup(p.Addr()); !ok || p.Bits() == 0 {
					t.Fatalf("%s of %s is not found", p, name)
				}
			}
		}
	})
}
