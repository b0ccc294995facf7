package phases

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"weir/phases/approval"
	"weir/phases/compile"
)

var dora = Actor{UID: 1004, LoginUID: 1004, Name: "dora"}

// take requests, signs, arms and confirms the next step.
func (o *office) take(tickets ...approval.Ticket) {
	o.t.Helper()
	o.ask(tickets...)
	o.ok(o.decide("ben", approval.Approve))
	o.ok(o.decide("cleo", approval.Approve))
	o.ok(o.arm())
	o.ok(o.m.Confirm(ctx, o.w.now, anna))
}

func (o *office) ask(tickets ...approval.Ticket) {
	o.t.Helper()
	o.w.now = o.w.now.Add(31 * 24 * time.Hour)
	mat := o.material()
	mat.Tickets = tickets
	_, _, err := o.m.Request(ctx, o.w.now, anna, "", mat)
	o.ok(err)
}

// atBlock is an office whose next step blocks the cameras.
func atBlock(t *testing.T) *office {
	o := newOffice(t)
	o.take()
	o.take()
	o.ok(o.m.Drilled(ctx, o.w.now, anna, time.Second))
	return o
}

var forDora = approval.Ticket{Group: "cameras", Account: "dora", Times: 2, For: 48 * time.Hour}

func (o *office) cameras() compile.Treatment {
	_, _, targets, _ := o.m.State().Current()
	i := slices.IndexFunc(targets, func(t Target) bool { return t.Group == "cameras" })
	return targets[i].Treatment
}

func TestTicket(t *testing.T) {
	o := atBlock(t)
	o.ask(forDora)
	s := o.statement(approval.Approve)
	if fmt.Sprint(s.Tickets) != "[cameras dora 2 48h0m0s]" {
		t.Fatalf("what is signed holds %v", s.Tickets)
	}
	other := s
	other.Tickets = []approval.Ticket{{Group: "cameras", Account: "eve", Times: 2, For: 48 * time.Hour}}
	_, err := o.m.Decide(ctx, o.w.now, root, "", approval.Approve, other.Text(), o.sign("ben", other.Text()))
	o.want(err, approval.ErrTicket)
	o.want(o.m.UseTicket(ctx, o.w.now, dora, "cameras", "x"), ErrNoTicket) // not armed yet
	o.ok(o.decide("ben", approval.Approve))
	o.ok(o.decide("cleo", approval.Approve))
	o.ok(o.arm())
	o.ok(o.m.Confirm(ctx, o.w.now, anna))
	if o.cameras() != compile.Drop {
		t.Fatalf("the cameras are in %s", o.cameras())
	}
	// Nobody else's, for nothing else.
	o.want(o.m.UseTicket(ctx, o.w.now, ben, "cameras", "x"), ErrNoTicket)
	o.want(o.m.UseTicket(ctx, o.w.now, dora, "desks", "x"), ErrNoTicket)
	o.want(o.m.UseTicket(ctx, o.w.now, Actor{LoginUID: NoLogin, Name: "dora"}, "cameras", "x"), ErrNoTicket)
	o.ok(o.m.UseTicket(ctx, o.w.now, dora, "cameras", "the gate is dark"))
	if o.cameras() != compile.Alert || o.m.State().Pause == nil {
		t.Errorf("the cameras are in %s, paused %v", o.cameras(), o.m.State().Pause)
	}
	i := slices.IndexFunc(o.w.records, func(r Record) bool { return r.Op == OpGroup && r.Kind == Intent })
	if r := o.w.records[i]; r.Words != "put group cameras back to alert by a ticket: the gate is dark" || r.Actor.Name != "dora" {
		t.Errorf("the record is %+v", r)
	}
	o.want(o.m.UseTicket(ctx, o.w.now, dora, "cameras", "again"), ErrNothing) // in alert already: not used up
	o.open()
	if got := o.m.Tickets(o.w.now); len(got) != 1 || got[0].Left != 1 {
		t.Errorf("left is %+v", got)
	}
	o.w.now = o.w.now.Add(48 * time.Hour)
	o.want(o.m.UseTicket(ctx, o.w.now, dora, "cameras", "late"), ErrNoTicket)
}

// The uses count, and they end with the step.
func TestTicketIsBounded(t *testing.T) {
	o := atBlock(t)
	o.take(forDora)
	for range 2 {
		o.ok(o.m.UseTicket(ctx, o.w.now, dora, "cameras", "dark"))
		o.ok(o.w.k.Back(ctx, "cameras", false, "aabbccddeeff")) // somebody puts it into block by hand
	}
	o.want(o.m.UseTicket(ctx, o.w.now, dora, "cameras", "dark"), ErrNoTicket)

	o = atBlock(t)
	o.take(forDora)
	o.ok(o.m.Rollback(ctx, o.w.now, anna, ""))
	o.want(o.m.UseTicket(ctx, o.w.now, dora, "cameras", "dark"), ErrNoTicket)
}

func TestTicketOnTrial(t *testing.T) {
	o := atBlock(t)
	o.ask(forDora)
	o.ok(o.decide("ben", approval.Approve))
	o.ok(o.decide("cleo", approval.Approve))
	o.ok(o.arm())
	o.ok(o.m.UseTicket(ctx, o.w.now, dora, "cameras", "dark"))
	if got := o.m.Tickets(o.w.now); len(got) != 1 || got[0].Left != 1 {
		t.Errorf("left is %+v", got)
	}
}

func TestTicketsAskedFor(t *testing.T) {
	o := atBlock(t)
	o.w.now = o.w.now.Add(31 * 24 * time.Hour)
	for name, edit := range map[string]func(*approval.Ticket){
		"not blocked":   func(t *approval.Ticket) { t.Group = "desks" },
		"no group":      func(t *approval.Ticket) { t.Group = "x\ny" },
		"root":          func(t *approval.Ticket) { t.Account = "root" },
		"two words":     func(t *approval.Ticket) { t.Account = "do ra" },
		"never":         func(t *approval.Ticket) { t.Times = 0 },
		"often":         func(t *approval.Ticket) { t.Times = 11 },
		"no time":       func(t *approval.Ticket) { t.For = 0 },
		"for ever":      func(t *approval.Ticket) { t.For = 31 * 24 * time.Hour },
		"half a second": func(t *approval.Ticket) { t.For = 1500 * time.Millisecond },
	} {
		bad := forDora
		edit(&bad)
		mat := o.material()
		mat.Tickets = []approval.Ticket{bad}
		_, _, err := o.m.Request(ctx, o.w.now, anna, "", mat)
		if o.want(err, ErrTicket); t.Failed() {
			t.Fatal(name)
		}
	}
}
