package plans

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const classes = `
apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: classes, owner: me@example.net}
scope: {hooks: [forward, output], inside: {prefixes: [10.0.0.0/16, "fd00::/48"], interfaces: [lan0, lan1]}}
groups:
  wide:    {members: [10.0.0.0/20, "fd00:0:0:1::/64"]}
  narrow:  {members: [10.0.1.0/24], families: [ipv4]}
  one:     {members: [10.0.1.7], families: [ipv4]}
  camera:  {macs: ["02:00:5E:10:00:07"]}
  guests:  {interfaces: [lan1]}
  machine: {self: true}
  backup:  {self: true, uids: [34, 35]}
enforce: {waves: [], leaveOpen: [wide, narrow, one, camera, guests, machine, backup]}
`

func TestClassifier(t *testing.T) {
	p := parseText(t, classes)
	plain := NewClassifier(p)
	linked := NewClassifier(p, netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("fd00:0:0:1::/64"))
	const mac = "02:00:5e:10:00:07"
	for _, tc := range []struct{ src, mac, iface, want, wantLinked string }{
		{"10.0.0.9", "", "", "wide", "wide"},
		{"10.0.1.9", "", "", "narrow", "narrow"},
		{"10.0.1.7", "", "", "one", "one"},
		{"::ffff:10.0.1.7", "", "", "one", "one"},
		{"fd00:0:0:1::9", "", "", "wide", "wide"},
		{"10.0.99.9", "", "", Unassigned, Unassigned},
		{"10.0.99.9", "", "lan1", "guests", "guests"},
		{"10.0.99.9", "", "lan0", Unassigned, Unassigned},
		{"10.0.1.7", "", "lan1", "one", "one"},
		{"10.0.1.7", mac, "lan1", "camera", "camera"},
		{"10.0.1.7", "02:00:5E:10:00:07", "", "camera", "camera"},
		{"10.0.2.7", mac, "", "camera", "wide"}, // behind a router: the MAC is the router's
		{"fd00:0:0:1::7", mac, "", "camera", "camera"},
		{"203.0.113.9", mac, "lan0", Unassigned, Unassigned},
		{"10.0.1.9", "02:00:5e:10:00:08", "", "narrow", "narrow"},
	} {
		a := netip.MustParseAddr(tc.src)
		if got := plain.Group(a, tc.mac, tc.iface); got != tc.want {
			t.Errorf("%s %q %q: %s, want %s", tc.src, tc.mac, tc.iface, got, tc.want)
		}
		if got := linked.Group(a, tc.mac, tc.iface); got != tc.wantLinked {
			t.Errorf("%s %q %q with links: %s, want %s", tc.src, tc.mac, tc.iface, got, tc.wantLinked)
		}
	}
	backup, other := uint32(34), uint32(1000)
	for uid, want := range map[*uint32]string{nil: "machine", &backup: "backup", &other: "machine"} {
		if got := plain.GroupSelf(uid); got != want {
			t.Errorf("uid %v: %s, want %s", uid, got, want)
		}
	}
	if got := NewClassifier(parseText(t, short)).GroupSelf(&other); got != Unassigned {
		t.Errorf("without a group for this machine: %s", got)
	}
}

// TestClassifierLikeLinearSearch compares with a search through all members.
func TestClassifierLikeLinearSearch(t *testing.T) {
	p := parseText(t, classes)
	c := NewClassifier(p)
	rapid.Check(t, func(t *rapid.T) {
		src := netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 20).Draw(t, "b")), byte(rapid.IntRange(0, 10).Draw(t, "c"))})
		want, best := Unassigned, -1
		for _, g := range p.Groups {
			for _, m := range g.Members {
				if m.Contains(src) && m.Bits() > best {
					want, best = g.Name, m.Bits()
				}
			}
		}
		if got := c.Group(src, "", ""); got != want {
			t.Fatalf("%s: %s, want %s", src, got, want)
		}
	})
}

// TestClientsHoldEveryGroupMember takes sources at random: a source that the
// target names is among its group's clients, another is not.
func TestClientsHoldEveryGroupMember(t *testing.T) {
	p := parseText(t, classes)
	c := NewClassifier(p)
	rapid.Check(t, func(t *rapid.T) {
		var target Target
		for range rapid.IntRange(1, 3).Draw(t, "n") {
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				a := netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 20).Draw(t, "b")), byte(rapid.IntRange(0, 10).Draw(t, "c"))})
				target.Prefixes = append(target.Prefixes, netip.PrefixFrom(a, rapid.IntRange(16, 32).Draw(t, "bits")).Masked())
			case 1:
				target.Groups = append(target.Groups, rapid.SampledFrom([]string{"wide", "narrow", "one", "guests", Unassigned}).Draw(t, "group"))
			case 2:
				target.Self = true
			}
		}
		src := netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 20).Draw(t, "sb")), byte(rapid.IntRange(0, 10).Draw(t, "sc"))})
		iface := rapid.SampledFrom([]string{"lan0", "lan1"}).Draw(t, "iface")
		group := c.Group(src, "", iface)
		want := slices.Contains(target.Groups, group) || slices.ContainsFunc(target.Prefixes, func(q netip.Prefix) bool { return q.Contains(src) })
		got := false
		for _, cl := range p.Clients(target) {
			if cl.Group == group && !(group == Unassigned && target.Self && len(cl.Endpoints) == 0 && !slices.Contains(target.Groups, group)) {
				got = got || len(cl.Endpoints) == 0 || slices.ContainsFunc(cl.Endpoints, func(q netip.Prefix) bool { return q.Contains(src) })
			}
		}
		if want && !got && !(target.Self && group == Unassigned) || got && !want {
			t.Fatalf("%s of %s, from %s: is a client %t, want %t; clients %v", src, group, target, got, want, p.Clients(target))
		}
	})
}

func TestResolve(t *testing.T) {
	p := parseText(t, string(Example()))
	for _, tc := range []struct {
		target Target
		want   string
		all    bool
	}{
		{Target{Any: true}, "", true},
		{Target{Outside: true}, "", true},
		{Target{Inside: true}, "10.20.0.0/16, fd20::/48", false},
		{Target{Groups: []string{"servers"}}, "10.20.1.0/24, fd20:0:0:1::/64", false},
		{Target{Groups: []string{"doorbell"}}, "", true},
		{Target{Groups: []string{"cameras"}}, "10.20.40.0/24", true}, // the doorbell extends the cameras
		{Target{}, "", false},
	} {
		ps, all := p.Resolve(tc.target)
		if got := (Target{Prefixes: ps}).String(); got != tc.want || all != tc.all {
			t.Errorf("%s: %s, %t; want %s, %t", tc.target, got, all, tc.want, tc.all)
		}
	}
	if got := p.Heirs("cameras"); !slices.Equal(got, []string{"cameras", "doorbell"}) {
		t.Errorf("heirs of cameras: %v", got)
	}
	if g := p.Group("doorbell"); g == nil || g.Allow != "declared" || !slices.Equal(g.Families, p.Group("cameras").Families) {
		t.Errorf("the doorbell has nothing from the cameras: %+v", g)
	}
	if p.Group("nobody") != nil || p.Group(Unassigned) == nil {
		t.Error("Group finds what is not there, or not what is")
	}
}
