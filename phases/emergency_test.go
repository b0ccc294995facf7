package phases

import (
	"testing"
	"time"

	"weir/phases/approval"
)

func TestEmergency(t *testing.T) {
	o := newOffice(t)
	make := func(lease time.Duration, reason string) ([]byte, error) {
		s, err := o.m.EmergencyStatement(o.w.now, "", lease, reason)
		return s.Text(), err
	}
	take := func(text []byte, key string) error {
		_, _, err := o.m.Emergency(ctx, o.w.now, root, text, o.sign(key, text), facts(o.w))
		return err
	}
	_, err := make(5*time.Hour, "worm")
	o.want(err, ErrWindow)
	_, err = make(0, "worm")
	o.want(err, ErrWindow)
	_, err = make(time.Hour, "")
	o.want(err, approval.ErrForm)
	_, err = make(time.Hour, "two\nlines")
	o.want(err, approval.ErrForm)

	text, err := make(time.Hour, "worm on the desks")
	o.ok(err)
	o.want(take(text, "eve"), approval.ErrSigner)
	o.want(take(o.statement(approval.Approve).Text(), "ben"), approval.ErrSubject)
	s, err := approval.Parse(text)
	o.ok(err)
	for _, edit := range []func(*approval.Statement){
		func(s *approval.Statement) { s.Lease = 5 * time.Hour },
		func(s *approval.Statement) { s.NotAfter = s.NotAfter.Add(time.Hour) },
	} {
		other := s
		edit(&other)
		o.want(take(other.Text(), "ben"), ErrWindow)
	}
	other := s
	other.Machine = "m2"
	o.want(take(other.Text(), "ben"), approval.ErrMachine)

	// One signer, the author too; no longer than signed; used once.
	o.ok(take(text, "anna"))
	if l, err := o.w.k.Look(ctx); err != nil || l.Left > time.Hour || l.Left < 59*time.Minute {
		t.Errorf("%s left, %v", l.Left, err)
	}
	st := o.m.Status(o.w.now, facts(o.w))
	if st.Trial == nil || st.Trial.Emergency != "worm on the desks" || st.Trial.By != "anna (root)" {
		t.Errorf("on trial is %+v", st.Trial)
	}
	o.want(o.m.Confirm(ctx, o.w.now, anna), ErrNotApproved)
	o.w.now = o.w.now.Add(time.Hour)
	if o.w.running() != "" {
		t.Error("the kernel did not end it")
	}
	if _, err := o.m.Recover(ctx, o.w.now); err != nil {
		t.Fatal(err)
	}
	o.want(o.arm(), ErrNotApproved) // it left nothing behind
}

func TestEmergencyOnce(t *testing.T) {
	o := newOffice(t)
	arm := func(key string) ([]byte, error) {
		s, err := o.m.EmergencyStatement(o.w.now, "", time.Minute, "worm")
		o.ok(err)
		_, _, err = o.m.Emergency(ctx, o.w.now, root, s.Text(), o.sign(key, s.Text()), facts(o.w))
		return s.Text(), err
	}
	text, err := arm("ben")
	o.ok(err)
	o.w.now = o.w.now.Add(2 * time.Minute)
	_, err = o.m.Recover(ctx, o.w.now)
	o.ok(err)
	_, _, err = o.m.Emergency(ctx, o.w.now, root, text, o.sign("ben", text), facts(o.w))
	o.want(err, ErrUsed)
	if len(o.m.State().Brown) != 0 {
		t.Error("it counts as a brownout")
	}

	// It is void: not once more by the same person, whatever the key.
	_, err = arm("ben")
	o.want(err, ErrAlone)
	_, err = arm("ben2")
	o.want(err, ErrAlone)
	o.open()
	_, err = arm("ben")
	o.want(err, ErrAlone)

	// The quorum signs while it runs: then it is kept, and the signatures are used.
	_, err = arm("cleo")
	o.ok(err)
	o.ok(o.decide("ben", approval.Approve))
	o.want(o.m.Confirm(ctx, o.w.now, anna), ErrNotApproved)
	o.ok(o.decide("cleo", approval.Approve))
	yes := o.statement(approval.Approve).Text()
	o.open()
	o.ok(o.m.Confirm(ctx, o.w.now, anna))
	if name, _, _, _ := o.m.State().Current(); name != StepMonitor {
		t.Errorf("in force is %s", name)
	}
	_, err = o.m.Decide(ctx, o.w.now, root, "", approval.Approve, yes, o.sign("dora", yes))
	o.want(err, ErrUsed)
	if len(o.m.State().Alone) != 0 {
		t.Errorf("the quorum signed, and these have acted alone: %v", o.m.State().Alone)
	}
}

func TestEmergencyAfterANo(t *testing.T) {
	o := newOffice(t)
	s, err := o.m.EmergencyStatement(o.w.now, "", time.Minute, "worm")
	o.ok(err)
	o.ok(o.decide("dora", approval.Deny))
	_, _, err = o.m.Emergency(ctx, o.w.now, root, s.Text(), o.sign("ben", s.Text()), facts(o.w))
	o.want(err, ErrDenied)
}
