package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"weir/phases/flow"
	"weir/phases/monitor"
)

const suggestPlan = `apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: office, owner: a@b}
timezone: UTC
scope: {hooks: [forward], inside: {prefixes: [10.20.0.0/16, "fd20::/48"]}}
# who
groups:
  desks: {members: [10.20.16.0/22, "fd20:0:0:16::/64"]}   # people
  servers: {members: [10.20.1.0/24], families: [ipv4]}
  relays: {members: [10.20.1.25], families: [ipv4]}
enforce:
  waves: [{name: all, groups: [desks, servers, relays]}]
  leaveOpen: [unassigned]
`

// suggestEvidence writes evidence of desks that browse, one of which sends mail
// itself, of servers of two kinds, and of a relay.
func suggestEvidence(t *testing.T) string {
	e := monitor.New(time.UTC)
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	see := func(client, server, service string, answered bool) {
		s, err := flow.ParseService(service)
		if err != nil {
			t.Fatal(err)
		}
		e.Add(flow.Record{Flow: flow.Flow{Client: netip.MustParseAddr(client), Server: netip.MustParseAddr(server), Proto: s.Proto, Port: s.Lo},
			First: at, Last: at, New: true, Answered: answered, Source: "import", Hook: "forward"})
	}
	for i := range 30 {
		c := fmt.Sprintf("10.20.16.%d", 10+i)
		for j := range 20 {
			see(c, fmt.Sprintf("100.%d.%d.1", 64+i, j), "tcp/443", true)
		}
		see(c, "192.0.2.53", "udp/53", true)
		see(fmt.Sprintf("fd20:0:0:16::%x", 10+i), "2001:db8::53", "udp/53", true)
	}
	see("10.20.16.10", "198.51.100.25", "tcp/25", true)
	see("10.20.16.11", "198.51.100.99", "tcp/99", false) // an attempt
	for i := range 16 {
		c := fmt.Sprintf("10.20.1.%d", 64+i)
		see(c, "192.0.2.53", "udp/53", true)
		if i < 8 {
			see(c, "198.51.100.7", "tcp/5432", true)
			see(c, "198.51.100.8", "tcp/6432", true)
		} else {
			see(c, "203.0.113.7", "tcp/9092", true)
			see(c, "203.0.113.8", "tcp/9093", true)
		}
	}
	for i := range 20 {
		see("10.20.1.25", fmt.Sprintf("100.%d.7.7", 100+i), "tcp/25", true)
	}
	var b strings.Builder
	if err := e.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "flows.jsonl", b.String())
}

// TestPolicySuggest: what is proposed has its reasons beside it, passes weir
// check in the plan, and says what it widens.
func TestPolicySuggest(t *testing.T) {
	plan, evidence := writeFile(t, "plan.yaml", suggestPlan), suggestEvidence(t)
	out, errs, code := runWeir(t, "policy", "suggest", plan, "--evidence", evidence)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"# A proposal, level 5 of 9.", "# *    5",
		"servers-kafka: {members: [10.20.1.72/29], families: [ipv4], extends: servers}",
		"# 8 endpoints of servers behave alike: purity 1.00",
		"- {name: mail-from-relays, from: [desks, servers], to: [outside], services: [tcp/25, tcp/465, tcp/587]",
		"# denies what 1 endpoint did: 10.20.16.10",
		"{to: [outside], services: [tcp/443]}",
		"tcp/443 to anywhere outside: used by up to 30 of 60",
		"(counted over the destinations ever seen)",
		"- {name: suggested, groups: [servers-kafka]}",
		"- {from: [desks, servers], services: [tcp/25, tcp/465, tcp/587], expect: denied}",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if !strings.Contains(errs, "1 flow left out: never answered") {
		t.Errorf("stderr %s", errs)
	}
	for _, args := range [][]string{nil, {"--level", "1"}, {"--level", "9"}, {"--rules", "12"}} {
		merged, errs, code := runWeir(t, append([]string{"policy", "suggest", plan, "--evidence", evidence, "--merge"}, args...)...)
		if code != 0 || !strings.Contains(merged, "# people") {
			t.Fatalf("%v: exit %d: %s\n%s", args, code, errs, merged)
		}
		if out, errs, code := runWeir(t, "check", writeFile(t, "merged.yaml", merged)); code != 0 {
			t.Errorf("%v: %s%s\n%s", args, out, errs, merged)
		}
	}
	out, _, code = runWeir(t, "policy", "suggest", plan, "--evidence", evidence, "-o", "json")
	var doc struct {
		Kind string
		Data struct {
			Level   int
			Curve   []struct{ Granted, Seen, Beyond uint64 }
			Classes []struct{ Name string }
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 || doc.Kind != "Proposal" || doc.Data.Level != 5 || len(doc.Data.Curve) != 9 || len(doc.Data.Classes) != 4 {
		t.Errorf("json: %v %+v", err, doc)
	}
	names := writeFile(t, "names.csv", "192.0.2.0/24,Example resolvers\n")
	if out, errs, code := runWeir(t, "policy", "suggest", plan, "--evidence", evidence, "--names", names); code != 0 || !strings.Contains(out, "udp/53 to Example resolvers") {
		t.Errorf("names: exit %d %s%s", code, out, errs)
	}
	t.Setenv("WEIR_SOCKET", t.TempDir()+"/none")
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{8, "no daemon answers", []string{plan}},
		{64, "no level has 1 rules", []string{plan, "--evidence", evidence, "--rules", "1"}},
		{64, "levels 1 to 9", []string{plan, "--evidence", evidence, "--level", "10"}},
		{3, "cannot read --names", []string{plan, "--evidence", evidence, "--names", "none"}},
		{3, "is not a prefix", []string{plan, "--evidence", evidence, "--names", writeFile(t, "bad.csv", "x,y\n")}},
		{3, "cannot read the evidence", []string{plan, "--evidence", os.DevNull}},
		{4, "contradicts the plan's tests", []string{writeFile(t, "tested.yaml", suggestPlan+"tests:\n  - {from: [desks], services: [tcp/443], expect: denied}\n"), "--evidence", evidence}},
	} {
		out, errs, code := runWeir(t, append([]string{"policy", "suggest"}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.says) || out != "" {
			t.Errorf("%v: exit %d, want %d: %s%s", c.args, code, c.code, out, errs)
		}
	}
}

// TestPlansAreCompared by what they let pass in the end: refactorings, what is
// never allowed, lifelines, and with evidence what was observed.
func TestPlansAreCompared(t *testing.T) {
	evidence := suggestEvidence(t)
	plan := writeFile(t, "plan.yaml", suggestPlan)
	with := func(more string) string { return writeFile(t, "changed.yaml", suggestPlan+more) }
	web := "refactor: {steps: [{name: desks, groups: [desks], allow: [{services: [tcp/443]}]}]}\n"
	for _, c := range []struct {
		name, b string
		args    []string
		code    int
		has     []string
		not     string
	}{
		{name: "the same", b: plan, code: 0, has: []string{"allow the same packets"}},
		{name: "a refactoring", b: with(web), code: 2, has: []string{"tcp FROM 10.20.16.0/22", "FOR https", "refactor step desks"}},
		{name: "the same, seen", b: plan, args: []string{"--evidence", evidence}, code: 0, has: []string{"allow the same packets"}},
		{name: "a refactoring, seen", b: with(web), args: []string{"--evidence", evidence}, code: 2,
			has: []string{"Only " + plan, "FOR domain", "FOR smtp", "observed of desks"}, not: "Only " + "changed"},
		{name: "never", b: with("never: [{name: no-web, services: [tcp/443]}]\n"), args: []string{"--evidence", evidence}, code: 2,
			has: []string{"Only " + plan, "FOR https", "never no-web"}},
		{name: "a lifeline", b: with("lifelines: [{name: ntp, from: [inside], to: [192.0.2.123], services: [udp/123]}]\n"), code: 2,
			has: []string{"TO 192.0.2.123 FOR ntp", "lifeline ntp"}},
	} {
		out, errs, code := runWeir(t, append([]string{"policy", "compare", plan, c.b}, c.args...)...)
		if code != c.code {
			t.Errorf("%s: exit %d, want %d\n%s%s", c.name, code, c.code, out, errs)
		}
		for _, h := range c.has {
			if !strings.Contains(out, h) {
				t.Errorf("%s: no %q in\n%s", c.name, h, out)
			}
		}
		if c.not != "" && strings.Contains(out, c.not) {
			t.Errorf("%s: %q in\n%s", c.name, c.not, out)
		}
		if says := strings.Contains(errs, "what was observed of desks, relays, servers is not in the plan"); says != (c.args == nil) {
			t.Errorf("%s: stderr %s", c.name, errs)
		}
	}
}
