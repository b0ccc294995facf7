package plans

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var office = &Machine{
	Interfaces: []Interface{
		{Name: "lo", Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
		{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}, Default: true},
		{Name: "eth1", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.1.1/24"), netip.MustParsePrefix("fd00:0:0:1::1/64"), netip.MustParsePrefix("fe80::1/64")}},
		{Name: "br-guest", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.2.1/24")}},
		{Name: "#odd*", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.2.128/25")}},
	},
	Neighbours: []Neighbour{
		{netip.MustParseAddr("192.168.1.20"), "02:00:5e:10:00:07", "eth1"},
		{netip.MustParseAddr("fd00:0:0:1::20"), "02:00:5e:10:00:07", "eth1"},
		{netip.MustParseAddr("192.0.2.1"), "02:00:5e:10:00:99", "eth0"},
	},
	Leases:       []Lease{{netip.MustParseAddr("192.168.1.30"), "02:00:5e:10:00:08", "printer\n{evil: yes"}},
	RulesSummary: []string{"nat postrouting: masquerade out of eth0", "tab\tand\nnewline"},
	Timezone:     "Europe/Berlin",
}

// uncomment finds the examples in comments, but for groups, which need a wave.
var uncomment = regexp.MustCompile(`(?m)^# ((lifelines|declared|never|tests|refactor):|  steps:| +- \{| +reason:)`)

// TestInit writes each profile, with and without a machine, and reads it back.
func TestInit(t *testing.T) {
	for _, profile := range Profiles() {
		for name, look := range map[string]*Machine{"plain": nil, "look": office, "empty": {}} {
			t.Run(profile+"-"+name, func(t *testing.T) {
				got, err := Init(profile, look)
				if err != nil {
					t.Fatal(err)
				}
				p := parseText(t, string(got))
				for _, g := range p.Groups {
					if g.Name != Unassigned && len(g.Members)+len(g.MACs)+len(g.Ifaces) == 0 && !g.Self {
						t.Errorf("the group %s has nobody in it", g.Name)
					}
				}
				if strings.Contains(string(got), "02:00:5e:10:00:99") {
					t.Error("the provider's router is listed as a device")
				}
				if name == "empty" {
					return
				}
				file := "testdata/init/" + profile + "-" + name + ".yaml"
				if *update {
					if err := os.WriteFile(file, got, 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != string(want) {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
		}
	}
	for _, profile := range Profiles() {
		got, err := Init(profile, office)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(profile, []byte(uncomment.ReplaceAllString(string(got), "$1"))); err != nil {
			t.Errorf("the examples in the comments:\n%v", err)
		}
	}
	if _, err := Init("castle", nil); err == nil || !strings.Contains(err.Error(), "host, office, gateway, new") {
		t.Errorf("an unknown profile gives %v", err)
	}
}

// TestInitFitsAnyMachine writes plans for machines at random: whatever the
// kernel may call an interface, the plan has no mistakes.
func TestInitFitsAnyMachine(t *testing.T) {
	name := rapid.OneOf(rapid.StringMatching(`[a-z]{1,4}[0-9.]{0,3}`), rapid.StringN(0, 16, 20), rapid.SampledFrom([]string{"lo", "eth0", "1e3", "null", "-", "*", "yes", "0x1f", "a: b", "\xff\xfe"}))
	prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
		if rapid.Bool().Draw(t, "v6") {
			b := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr6"))
			return netip.PrefixFrom(netip.AddrFrom16(b), rapid.IntRange(0, 128).Draw(t, "bits"))
		}
		b := [4]byte(rapid.SliceOfN(rapid.ByteRange(8, 11), 4, 4).Draw(t, "addr4"))
		return netip.PrefixFrom(netip.AddrFrom4(b), rapid.IntRange(0, 32).Draw(t, "bits"))
	})
	iface := rapid.Custom(func(t *rapid.T) Interface {
		return Interface{name.Draw(t, "name"), rapid.SliceOfN(prefix, 0, 3).Draw(t, "prefixes"), rapid.Bool().Draw(t, "default")}
	})
	rapid.Check(t, func(t *rapid.T) {
		m := Machine{Interfaces: rapid.SliceOfN(iface, 0, 5).Draw(t, "interfaces"), Timezone: rapid.SampledFrom([]string{"", "UTC", "Local", "Mars/Olympus"}).Draw(t, "zone"),
			RulesSummary: rapid.SliceOfN(rapid.String(), 0, 2).Draw(t, "rules"),
			Leases:       []Lease{{prefix.Draw(t, "lease").Addr(), "02:00:5e:10:00:08", rapid.String().Draw(t, "client")}}}
		if _, err := Init(rapid.SampledFrom(Profiles()).Draw(t, "profile"), &m); err != nil {
			t.Fatalf("%v", err)
		}
	})
}
