package plans

import (
	"fmt"
	"testing"
)

// TestTesters says whose flows a test speaks of.
func TestTesters(t *testing.T) {
	const head = "apiVersion: weir/v1\nkind: RolloutPlan\nmetadata: {name: m, owner: a@b}\n"
	const gateway = head + `scope: {hooks: [forward], inside: {prefixes: [10.0.0.0/16]}}
groups:
  desks: {members: [10.0.1.0/24]}
  boss: {members: [10.0.1.7]}
  bells: {macs: ["02:00:5e:10:00:07"]}
enforce: {waves: [{name: a, groups: [desks, boss, bells]}], leaveOpen: [unassigned]}
`
	const host = head + `scope: {hooks: [output]}
groups:
  this-host: {self: true}
  backup: {self: true, uids: [34]}
enforce: {waves: [{name: a, groups: [this-host, backup]}], leaveOpen: [unassigned]}
`
	const users = head + `scope: {hooks: [output]}
groups:
  backup: {self: true, uids: [34]}
enforce: {waves: [{name: a, groups: [backup]}], leaveOpen: [unassigned]}
`
	for _, c := range []struct{ plan, from, want string }{
		{gateway, "desks", "[{desks []}]"},
		{gateway, "10.0.1.0/24", "[{boss [10.0.1.7/32]} {desks [10.0.1.0/24]}]"},
		{gateway, "10.0.1.7", "[{boss [10.0.1.7/32]}]"},
		{gateway, "10.0.9.7", "[{unassigned [10.0.9.7/32]}]"},
		{gateway, "inside", "[{bells []} {boss []} {desks []} {unassigned []}]"},
		{host, "self", "[{backup []} {this-host []}]"},
		{host, "any", "[{backup []} {this-host []}]"},
		{users, "self", "[{backup []} {unassigned []}]"},
	} {
		p, err := Parse("plan.yaml", []byte(c.plan+"tests: [{from: ["+c.from+"], services: [tcp/25], expect: denied}]\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(p.Testers(p.Tests[0].From)); got != c.want {
			t.Errorf("%s: %s, want %s", c.from, got, c.want)
		}
	}
}
