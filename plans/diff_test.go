package plans

import (
	"fmt"
	"strings"
	"testing"
)

// TestDiff changes one thing in the example and looks at what moves. What is
// not named stays the same. The doorbell is known by its MAC and may have any
// address, so flows from an address may be its own.
func TestDiff(t *testing.T) {
	for _, tc := range []struct{ name, from, to, want string }{
		{"nothing", "CHG-0042", "CHG-0043", ""},
		{"times", "soak: 48h", "soak: 24h", ""},
		{"more services", "web:  [tcp/80,", "web:  [tcp/81, tcp/80,", "cameras widens, doorbell widens, workstations widens"},
		{"fewer services", "web:  [tcp/80, tcp/443, udp/443]", "web:  [tcp/80, tcp/443]", "cameras narrows, doorbell narrows, workstations narrows"},
		{"a declared flow for one", "never:", "  - {name: more, from: [10.20.1.40], to: [198.51.100.9], services: [tcp/1], families: [ipv4]}\nnever:", "doorbell widens, servers widens"},
		{"a wider destination", "to: [198.51.100.7]", "to: [198.51.100.0/24]", "doorbell widens, servers widens"},
		{"an earlier expiry", "expires: 2027-12-31", "expires: 2027-12-30", "doorbell narrows, servers narrows"},
		{"a later expiry", "expires: 2027-12-31", "expires: 2028-12-31", "doorbell widens, servers widens"},
		{"a shorter window", "window: {cron: \"0 3 1 * *\", after: 2h}", "window: {cron: \"0 3 1 * *\", after: 1h}", "cameras narrows, doorbell narrows"},
		{"a never for one", "never:  ", "never:\n  - {name: no-x, from: [servers], services: [tcp/9]}  ", "servers narrows"},
		{"a part of a never", "tcp/3389, tcp/23]", "tcp/3389]", "cameras widens, doorbell widens, mail-relays widens, servers widens, unassigned widens, workstations widens"},
		{"a new group", "  cameras:   ", "  printers: {members: [10.20.16.0/24], families: [ipv4], allow: declared}\n  cameras:   ", "printers new"},
		{"a group that lost a member", "members: [10.20.16.0/20, \"fd20:0:0:16::/64\"]", "members: [10.20.24.0/21, \"fd20:0:0:16::/64\"]", "unassigned members"},
		{"a smaller group in a larger one", "members: [10.20.1.25, \"fd20:0:0:1::25\"]", "members: [10.20.1.26, \"fd20:0:0:1::25\"]", "mail-relays members, servers members"},
		{"only declared", "\"fd20:0:0:1::/64\"], allow: observed", "\"fd20:0:0:1::/64\"], allow: declared", "servers narrows"},
		{"finer rules", "rulesBy: [group, service]  ", "rulesBy: [group, destination, service]  ", "unassigned narrows, workstations narrows"},
		{"refuse", "inbound: observe", "inbound: refuse", "cameras narrows, doorbell narrows, mail-relays narrows, servers narrows, unassigned narrows, workstations narrows"},
		{"a wider refactoring", "services: [smtp]}], shadow", "services: [smtp, web]}], shadow", "mail-relays widens"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := string(Example())
			changed := strings.Replace(text, tc.from, tc.to, 1)
			if changed == text {
				t.Fatal("the example has no such text")
			}
			if tc.name == "a new group" {
				changed = strings.Replace(changed, "leaveOpen: [", "leaveOpen: [printers, ", 1)
			}
			var got []string
			for _, c := range Diff(parseText(t, text), parseText(t, changed)) {
				if (c.Kind == Same) != (len(c.Why) == 0) {
					t.Errorf("%s is %s because of %v", c.Group, c.Kind, c.Why)
				}
				if c.Kind != Same {
					got = append(got, fmt.Sprintf("%s %s", c.Group, c.Kind))
				}
			}
			if s := strings.Join(got, ", "); s != tc.want {
				t.Errorf("got  %s\nwant %s", s, tc.want)
			}
		})
	}
}

func TestDiffGone(t *testing.T) {
	old := parseText(t, classes)
	plan := parseText(t, strings.NewReplacer("  guests:  {interfaces: [lan1]}\n", "", "guests, ", "").Replace(classes))
	var got []string
	for _, c := range Diff(old, plan) {
		if c.Kind != Same {
			got = append(got, fmt.Sprintf("%s %s %t", c.Group, c.Kind, c.Alert()))
		}
	}
	if s := strings.Join(got, ", "); s != "guests gone false, unassigned members true" {
		t.Error(s)
	}
}
