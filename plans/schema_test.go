package plans

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// whole is a plan with every field in it.
const whole = `
apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: whole, owner: me@example.net, ticket: CHG-1}
timezone: Europe/Berlin
environment: operational
scope:
  hooks: [forward, output]
  inside: {prefixes: [10.0.0.0/16], interfaces: [lan0]}
  outside: {prefixes: [198.51.100.0/24, "2001:db8:9::/48"], interfaces: [wan0]}
  inbound: observe
groups:
  desks: {members: [10.0.1.0/24], macs: ["02:00:5e:10:00:07"], interfaces: [lan0], families: [ipv4, ipv6], allow: observed,
    rulesBy: [group, service], owner: desks@example.net}
  child: {members: [10.0.2.0/24], families: [ipv4], extends: desks}
  other: {members: [10.0.3.0/24], families: [ipv4]}
  web: {self: true, uids: [33]}
services: {web: [tcp/80]}
lifelines: [{name: l, from: [192.0.2.1], to: [self], services: [tcp/22], families: [ipv4]}]
declared:
  - {name: d, from: [desks], to: [198.51.100.7], services: [tcp/443], families: [ipv4], owner: dba@example.net, reason: failover,
     exercise: "0 3 1 * *", expires: 2027-12-31, window: {cron: "0 3 * * TUE", daysOfMonth: 8-14, before: 1h, after: 2h}}
never: [{name: n, from: [other], to: [198.51.100.9], services: [tcp/23], deny: drop, reason: old}]
tests: [{from: [other], to: [198.51.100.9], services: [tcp/23], families: [ipv4], expect: denied}]
calendar:
  - {name: ev, cron: "0 0 * * TUE", daysOfMonth: 8-14, before: 1h, after: 48h}
  - {name: ev2, cron: "0 0 1 * *", after: 48h}
monitor: {minimum: 90d, covers: [ev], minDays: 2, witnessed: 95%, unseen: 20%}
enforce:
  rulesBy: [group, service]
  alert: {minimum: 14d, maximum: 90d, quiet: 72h}
  brownouts: [2m]
  waves:
    - {name: pilot, groups: [desks], share: 5%, prefixes: [10.0.1.0/25], deny: drop, established: keep, brownouts: [1m]}
    - {name: desks, groups: [desks, child]}
    - {name: web, groups: [web]}
  leaveOpen: [unassigned, other]
  deny: reject
  established: drain
  keepReason: long sessions
  drainFor: 24h
  soak: 48h
  windows: [{cron: "0 9 * * MON", daysOfMonth: 1-20, before: 1h, after: 6h}]
  freezes: [{name: f, from: 2026-12-15, to: 2027-01-07}]
refactor:
  budget: {addresses: 4096, services: 4}
  steps:
    - {name: r, groups: [desks], allow: [{to: [outside], services: [tcp/443]}], shadow: 14d, budget: {addresses: 8, services: 2}}
    - {name: s, groups: [child], allow: [{to: [outside], services: [tcp/443]}]}
watch: {report: "0 7 * * MON"}
unblock: {longest: 24h, widest4: 24, widest6: 64, from4: 24, from6: 64, contact: noc@example.net}
approvals:
  - {steps: "enforce/*", quorum: 2, selfApproval: false, expireAfter: 10d}
confirmWithin: 10m
onBoot: restore
drift: alert
capture: {logGroup: 100, verdictGroup: 101, honeypotPort: 2323}
health: {every: 10s, within: 3s, lost: 5, onBad: back, probes: [{name: p, kind: https, to: "https://www.example.net/", from: 10.0.0.1, size: 2000, group: desks}]}
notify: {every: 1h, webhooks: [{name: oncall, url: "https://alerts.example.net/weir", secretFile: /etc/weir/secret, least: page}]}
`

// changes holds for each field of the schema another value; a value with a
// name beside it goes along with the field where it could not stand alone.
var changes = map[string]any{
	"/metadata/name": "other", "/metadata/owner": "you@example.net", "/metadata/ticket": "CHG-2",
	"/timezone": "UTC", "/environment": envNew{},
	"/scope/hooks": []any{"forward", "output", "x"}, "/scope/inside/prefixes": []any{"10.0.0.0/15"}, "/scope/inside/interfaces": []any{"lan0", "lan1"},
	"/scope/outside/prefixes": []any{"198.51.100.0/24"}, "/scope/outside/interfaces": []any{"wan1"}, "/scope/inbound": "refuse",
	"/groups/desks/members": []any{"10.0.1.0/24", "10.0.9.0/24"}, "/groups/desks/macs": []any{"02:00:5e:10:00:08"},
	"/groups/desks/interfaces": []any{"lan1"}, "/groups/desks/families": []any{"ipv4"}, "/groups/desks/allow": "declared",
	"/groups/desks/rulesBy": []any{"endpoint", "destination", "service"}, "/groups/desks/owner": "x@example.net",
	"/groups/desks/self": nil, "/groups/desks/uids": nil, "/groups/desks/extends": "other",
	"/services/web":     []any{"tcp/81"},
	"/lifelines/0/name": "m", "/lifelines/0/from": []any{"192.0.2.2"}, "/lifelines/0/to": []any{"192.0.2.3"}, "/lifelines/0/services": []any{"tcp/2222"}, "/lifelines/0/families": nil,
	"/declared/0/name": "e", "/declared/0/from": []any{"child"}, "/declared/0/to": []any{"198.51.100.8"}, "/declared/0/services": []any{"tcp/444"},
	"/declared/0/families": nil, "/declared/0/owner": "x@example.net", "/declared/0/reason": "drill", "/declared/0/exercise": "0 4 1 * *", "/declared/0/expires": "2027-12-30",
	"/declared/0/window/cron": "0 4 * * TUE", "/declared/0/window/daysOfMonth": "1-7", "/declared/0/window/before": "2h", "/declared/0/window/after": "3h",
	"/never/0/name": "m", "/never/0/from": []any{"child"}, "/never/0/to": []any{"198.51.100.10"}, "/never/0/services": []any{"tcp/24"}, "/never/0/deny": "honeypot", "/never/0/reason": "new",
	"/tests/0/from": []any{"child"}, "/tests/0/to": []any{"198.51.100.10"}, "/tests/0/services": []any{"tcp/24"}, "/tests/0/families": nil, "/tests/0/expect": "allowed",
	"/calendar/0/name": nil, "/calendar/0/cron": "0 1 * * TUE", "/calendar/0/daysOfMonth": "1-7", "/calendar/0/before": "2h", "/calendar/0/after": "3h",
	"/monitor/minimum": "30d", "/monitor/covers": []any{"ev2"}, "/monitor/minDays": 3, "/monitor/witnessed": "90%", "/monitor/unseen": "10%",
	"/enforce/rulesBy":       []any{"group", "destination", "service"},
	"/enforce/alert/minimum": "15d", "/enforce/alert/maximum": "80d", "/enforce/alert/quiet": "71h", "/enforce/brownouts": []any{"3m"},
	"/enforce/waves/0/name": "first", "/enforce/waves/0/groups": []any{"desks", "unassigned"}, "/enforce/waves/0/share": "6%", "/enforce/waves/0/prefixes": []any{"10.0.1.128/25"},
	"/enforce/waves/0/deny": "honeypot", "/enforce/waves/0/established": "cut!", "/enforce/waves/0/brownouts": []any{},
	"/enforce/leaveOpen": []any{"other", "unassigned", "x"}, "/enforce/deny": "drop", "/enforce/established": "cut!", "/enforce/keepReason": "other", "/enforce/drainFor": "23h", "/enforce/soak": "1h",
	"/enforce/windows/0/cron": "0 8 * * MON", "/enforce/windows/0/daysOfMonth": "1-21", "/enforce/windows/0/before": "2h", "/enforce/windows/0/after": "5h",
	"/enforce/freezes/0/name": "g", "/enforce/freezes/0/from": "2026-12-16", "/enforce/freezes/0/to": "2027-01-08",
	"/refactor/steps/0/name": "q", "/refactor/steps/0/groups": []any{"web"}, "/refactor/steps/0/shadow": "13d",
	"/refactor/budget/addresses": 5000, "/refactor/budget/services": 5, "/refactor/steps/0/budget/addresses": 9, "/refactor/steps/0/budget/services": 3,
	"/refactor/steps/0/allow/0/to": []any{"198.51.100.0/25"}, "/refactor/steps/0/allow/0/services": []any{"tcp/80"},
	"/watch/report": "0 8 * * MON", "/unblock/longest": "23h", "/unblock/widest4": 25, "/unblock/widest6": 65, "/unblock/from4": 25, "/unblock/from6": 65, "/unblock/contact": "x@example.net",
	"/approvals/0/steps": "watch", "/approvals/0/quorum": 3, "/approvals/0/selfApproval": true, "/approvals/0/expireAfter": "9d",
	"/drift": "repair", "/confirmWithin": "9m", "/onBoot": "open", "/capture/logGroup": 102, "/capture/verdictGroup": 103, "/capture/honeypotPort": 2324,
	"/health/every": "11s", "/health/within": "4s", "/health/lost": 6, "/health/onBad": "page", "/health/probes/0/name": "q", "/health/probes/0/kind": nil,
	"/health/probes/0/to": "https://www.example.org/", "/health/probes/0/ask": nil, "/health/probes/0/from": "10.0.0.2", "/health/probes/0/size": 2001, "/health/probes/0/group": "other",
	"/notify/every": "2h", "/notify/webhooks/0/name": "noc", "/notify/webhooks/0/url": "http://127.0.0.1:9/x", "/notify/webhooks/0/secretFile": "/etc/weir/other", "/notify/webhooks/0/least": "info",
}

type envNew struct{}

// elsewhere are changes that need more than one value.
var elsewhere = map[string]func(doc map[string]any){
	"/environment": func(doc map[string]any) {
		doc["environment"] = "new"
		set(doc, "/groups/desks/allow", "declared")
	},
	"/scope/hooks": func(doc map[string]any) {
		set(doc, "/scope/hooks", []any{"forward"})
		delete(doc["groups"].(map[string]any), "web")
		waves := doc["enforce"].(map[string]any)["waves"].([]any)
		doc["enforce"].(map[string]any)["waves"] = waves[:2]
	},
	"/groups/desks/self": func(doc map[string]any) { set(doc, "/groups/all", map[string]any{"self": true}); open(doc, "all") },
	"/groups/desks/uids": func(doc map[string]any) { set(doc, "/groups/web/uids", []any{34}) },
	"/lifelines/0/families": func(doc map[string]any) {
		set(doc, "/lifelines/0", map[string]any{"name": "l", "to": []any{"self"}, "services": []any{"tcp/22"}, "families": []any{"ipv6"}})
	},
	"/declared/0/families": func(doc map[string]any) {
		set(doc, "/declared/0/to", []any{"198.51.100.7", "2001:db8:9::1"})
		set(doc, "/declared/0/families", []any{"ipv6"})
	},
	"/tests/0/families": func(doc map[string]any) {
		set(doc, "/tests/0/from", []any{"desks"})
		set(doc, "/tests/0/to", []any{"outside"})
		set(doc, "/tests/0/families", []any{"ipv6"})
	},
	"/health/probes/0/kind": func(doc map[string]any) {
		set(doc, "/health/probes/0", map[string]any{"name": "p", "kind": "webhook", "to": "https://www.example.net/", "from": "10.0.0.1", "group": "desks"})
	},
	"/health/probes/0/ask": func(doc map[string]any) {
		set(doc, "/health/probes/0", map[string]any{"name": "p", "kind": "dns", "to": "10.0.0.53:53", "ask": "example.net"})
	},
	"/calendar/0/name": func(doc map[string]any) {
		set(doc, "/calendar/0/name", "renamed")
		set(doc, "/monitor/covers", []any{"ev2"})
	},
	"/enforce/waves/0/established": func(doc map[string]any) {
		set(doc, "/enforce/waves/0/established", "cut")
		delete(doc["enforce"].(map[string]any), "keepReason")
	},
	"/enforce/established": func(doc map[string]any) {
		set(doc, "/enforce/established", "cut")
		delete(doc["enforce"].(map[string]any), "drainFor")
	},
	"/enforce/leaveOpen": func(doc map[string]any) {
		open(doc, "other")
		doc["enforce"].(map[string]any)["waves"] = append(doc["enforce"].(map[string]any)["waves"].([]any), map[string]any{"name": "last", "groups": []any{"unassigned"}})
	},
}

func open(doc map[string]any, group string) {
	set(doc, "/enforce/leaveOpen", []any{"other", group}[:1+btoi(group != "other")])
}

func set(doc any, path string, v any) {
	parts := strings.Split(path, "/")[1:]
	for _, p := range parts[:len(parts)-1] {
		doc = step(doc, p)
	}
	last := parts[len(parts)-1]
	switch d := doc.(type) {
	case map[string]any:
		d[last] = v
	case []any:
		d[int(last[0]-'0')] = v
	}
}

func step(doc any, p string) any {
	switch d := doc.(type) {
	case map[string]any:
		return d[p]
	case []any:
		return d[int(p[0]-'0')]
	}
	return nil
}

// schemaPaths lists the places of all fields that are not maps themselves.
func schemaPaths(t *testing.T, s schemaNode, at string, out *[]string) {
	s = s.resolve()
	if more, ok := s.more(); ok {
		name := map[string]string{"/groups": "desks", "/services": "web"}[at]
		if name == "" {
			t.Fatalf("%s: a map with free keys that this test does not know", at)
		}
		schemaPaths(t, more, at+"/"+name, out)
		return
	}
	for name, p := range s.Properties {
		schemaPaths(t, p, at+"/"+name, out)
	}
	if s.Items != nil && len(s.Items.resolve().Properties) > 0 {
		schemaPaths(t, *s.Items, at+"/0", out)
		return
	}
	if len(s.Properties) == 0 {
		*out = append(*out, at)
	}
}

// TestSchemaHasOnlyWhatPlanObeys walks the schema: each field, changed alone,
// changes the Plan.
func TestSchemaHasOnlyWhatPlanObeys(t *testing.T) {
	base := parseText(t, whole)
	root := newReader("", []byte(whole)).read()
	var paths []string
	schemaPaths(t, schemaTree(), "", &paths)
	slices.Sort(paths)
	if len(paths) < 80 {
		t.Fatalf("only %d fields found", len(paths))
	}
	for _, path := range paths {
		if path == "/apiVersion" || path == "/kind" {
			continue // they have one value
		}
		v, known := changes[path]
		if !known {
			t.Errorf("%s is in the schema, and this test does not know what it changes", path)
			continue
		}
		doc := root.value().(map[string]any)
		if f := elsewhere[path]; f != nil {
			f(doc)
		} else {
			set(doc, path, v)
		}
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse(path, b)
		if err != nil {
			t.Errorf("%s:\n%v", path, err)
			continue
		}
		if reflect.DeepEqual(withoutPlaces(base), withoutPlaces(p)) {
			t.Errorf("%s is read and changes nothing in the plan", path)
		}
		delete(changes, path)
	}
	delete(changes, "/apiVersion")
	for path := range changes {
		t.Errorf("%s is not in the schema", path)
	}
}

// withoutPlaces returns a plan whose hash and places are gone.
func withoutPlaces(p *Plan) string {
	b, err := json.Marshal(p)
	if err != nil {
		return err.Error()
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		return err.Error()
	}
	v["Hash"], v["Timezone"] = "", p.Timezone.String()
	var clean func(any)
	clean = func(x any) {
		switch y := x.(type) {
		case map[string]any:
			delete(y, "Pos")
			for _, z := range y {
				clean(z)
			}
		case []any:
			for _, z := range y {
				clean(z)
			}
		}
	}
	clean(v)
	b, _ = json.Marshal(v)
	return string(b)
}

func parseText(t *testing.T, s string) *Plan {
	t.Helper()
	p, err := Parse("plan.yaml", []byte(s))
	if err != nil {
		t.Fatalf("Parse:\n%v", err)
	}
	return p
}

func TestSchemaIsValidDraft7(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	meta := jsonschema.NewCompiler().MustCompile("http://json-schema.org/draft-07/schema#")
	if err := meta.Validate(doc); err != nil {
		t.Error(err)
	}
}

// TestDefaultsAreThoseOfTheSchema reads a short plan and compares what is
// filled in with the defaults that the schema states.
func TestDefaultsAreThoseOfTheSchema(t *testing.T) {
	p := parseText(t, short)
	var doc map[string]any
	if err := json.Unmarshal(Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		if d, ok := m["default"]; ok {
			b, _ := json.Marshal(d)
			want[at] = strings.Trim(string(b), `"`)
		}
		if props, ok := m["properties"].(map[string]any); ok {
			for k, v := range props {
				walk(at+"/"+k, v)
			}
		}
		walk(at+"/0", m["items"])
	}
	walk("", doc)
	js := func(v any) string { b, _ := json.Marshal(v); return strings.Trim(string(b), `"`) }
	got := map[string]string{
		"/timezone": p.Timezone.String(), "/environment": p.Environment, "/scope/inbound": p.Scope.Inbound,
		"/monitor/minimum": FormatDuration(p.Monitor.Minimum), "/monitor/minDays": js(p.Monitor.MinDays),
		"/enforce/alert/minimum": FormatDuration(p.Enforce.Alert.Minimum), "/enforce/alert/quiet": FormatDuration(p.Enforce.Alert.Quiet),
		"/enforce/waves/0/share": js(p.Enforce.Waves[0].Share) + "%", "/enforce/deny": p.Enforce.Deny, "/enforce/established": p.Enforce.Established,
		"/enforce/drainFor": FormatDuration(p.Enforce.DrainFor), "/enforce/soak": FormatDuration(p.Enforce.Soak),
		"/refactor/steps/0/shadow": FormatDuration(p.Refactor[0].Shadow),
		"/unblock/longest":         FormatDuration(p.Unblock.Longest), "/unblock/widest4": js(p.Unblock.Widest4), "/unblock/widest6": js(p.Unblock.Widest6), "/unblock/from4": js(p.Unblock.From4), "/unblock/from6": js(p.Unblock.From6),
		"/approvals/0/quorum": js(p.Approvals[0].Quorum), "/approvals/0/selfApproval": js(p.Approvals[0].SelfApproval), "/approvals/0/expireAfter": FormatDuration(p.Approvals[0].ExpireAfter),
		"/confirmWithin": FormatDuration(p.ConfirmWithin), "/onBoot": p.OnBoot,
		"/drift":            p.Drift,
		"/capture/logGroup": js(p.Capture.LogGroup), "/capture/verdictGroup": js(p.Capture.VerdictGroup), "/capture/honeypotPort": js(p.Capture.HoneypotPort),
		"/health/every": FormatDuration(p.Health.Every), "/health/within": FormatDuration(p.Health.Within), "/health/lost": js(p.Health.Lost), "/health/onBad": p.Health.OnBad,
		"/notify/every": FormatDuration(p.Notify.Every), "/notify/webhooks/0/least": p.Notify.Webhooks[0].Least,
	}
	for k, w := range want {
		d, err1 := ParseDuration(w)
		g, err2 := ParseDuration(got[k])
		if err1 == nil && err2 == nil && d == g {
			got[k] = w
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults of the schema (-) and of the plan (+):\n%s", diff)
	}
}

const short = `
apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: short, owner: me@example.net}
scope: {hooks: [forward], inside: {prefixes: [10.0.0.0/16]}}
groups: {desks: {members: [10.0.1.0/24]}}
enforce: {waves: [{name: desks, groups: [desks]}]}
refactor: {steps: [{name: r, groups: [desks], allow: [{services: [tcp/443]}]}]}
approvals: [{steps: "*"}]
notify: {webhooks: [{name: noc, url: "https://alerts.example.net/weir"}]}
`
