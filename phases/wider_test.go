package phases

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/phases/approval"
	"weir/phases/flow"
)

// wide is an unblock that no trust file would let one operator do.
func wide() Wider {
	return Wider{Kind: KindUnblock, From: netip.MustParsePrefix("10.20.0.0/16"), To: netip.MustParsePrefix("198.51.100.0/24"),
		Service: flow.Single(flow.TCP, 443), For: 2 * time.Hour, Reason: "CHG-9: the portal"}
}

func (o *office) wider(d approval.Decision, w Wider, by Actor, keys ...string) ([]byte, error) {
	s, err := o.m.WiderStatement(o.w.now, d, w)
	if err != nil {
		return nil, err
	}
	return s.Text(), o.bring(s.Text(), by, keys...)
}

func (o *office) bring(text []byte, by Actor, keys ...string) error {
	var sigs [][]byte
	for _, k := range keys {
		sigs = append(sigs, o.sign(k, text))
	}
	_, _, err := o.m.AcceptWider(ctx, o.w.now, by, text, sigs, func(Wider) (string, error) { return "e1", nil })
	return err
}

func (o *office) leastForUnblock() {
	o.trust = o.file(trustForm + "  - {steps: \"unblock\", quorum: 2}\n")
	w := newWorld()
	o.w = w
	o.open()
	o.ok(o.m.Apply(ctx, w.now, anna, testPlans["signed"], []byte("signed")))
}

func TestWiderByQuorum(t *testing.T) {
	o := newOffice(t)
	o.leastForUnblock()
	long := wide()
	long.For = 24 * time.Hour
	text, err := o.wider(approval.Approve, long, anna, "ben")
	o.want(err, ErrNotApproved)
	o.want(o.bring(text, anna, "ben", "ben2"), ErrNotApproved)
	o.want(o.bring(text, anna, "ben", "eve"), approval.ErrSigner)
	o.want(o.bring(text, anna, "ben", "anna"), ErrSelfApproval)
	o.want(o.bring(text, root, "ben", "cleo"), ErrIndistinct)
	o.ok(o.bring(text, anna, "ben", "cleo"))
	last := o.w.records[len(o.w.records)-1]
	if last.Kind != Noted || last.Line != "e1" || last.Emergency != "" || last.Nonce == "" || len(last.Signatures) != 2 ||
		last.Words != "unblock 10.20.0.0/16 198.51.100.0/24 tcp/443 for 1d, signed by ben, cleo: CHG-9: the portal" {
		t.Errorf("the record is %+v", last)
	}
	// Used once, and an old database brings it not back.
	o.want(o.bring(text, anna, "ben", "cleo"), ErrUsed)
	o.w.records = o.w.records[:len(o.w.records)-1]
	o.open()
	o.want(o.bring(text, anna, "ben", "cleo"), approval.ErrSpent)
}

func TestWiderAlone(t *testing.T) {
	o := newOffice(t)
	o.leastForUnblock()
	long := wide()
	long.For = 5 * time.Hour
	_, err := o.wider(approval.Emergency, long, anna, "ben")
	o.want(err, ErrWindow)
	text, err := o.wider(approval.Emergency, wide(), anna, "anna") // the author too
	o.ok(err)
	last := o.w.records[len(o.w.records)-1]
	if last.Emergency != "CHG-9: the portal" || last.Actor.Signer != "anna" || !strings.HasPrefix(last.Words, "EMERGENCY: unblock ") {
		t.Errorf("the record is %+v", last)
	}
	o.want(o.bring(text, anna, "anna"), ErrUsed)
	_, err = o.wider(approval.Emergency, wide(), anna, "anna")
	o.want(err, ErrAlone)
	o.w.now = o.w.now.Add(23 * time.Hour)
	_, err = o.wider(approval.Emergency, wide(), anna, "anna")
	o.want(err, ErrAlone)
	_, err = o.wider(approval.Emergency, wide(), anna, "ben")
	o.ok(err)
	_, err = o.wider(approval.Approve, wide(), anna, "ben", "cleo")
	o.ok(err)
	_, err = o.wider(approval.Emergency, wide(), anna, "anna") // the quorum has signed since
	o.ok(err)
	quarantine := Wider{Kind: KindQuarantine, From: netip.MustParsePrefix("10.20.16.10/32"), For: time.Hour, Reason: "beacon"}
	_, err = o.wider(approval.Emergency, quarantine, anna, "cleo")
	o.ok(err)
}

// What is not exactly what was asked for is refused, and with its own words.
func TestWiderRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*approval.Statement)
		want error
	}{
		"another machine": {func(s *approval.Statement) { s.Machine = "m2" }, approval.ErrMachine},
		"another plan":    {func(s *approval.Statement) { s.Plan = hashOf(nil) }, approval.ErrPlan},
		"another trust":   {func(s *approval.Statement) { s.Ask.Trust = hashOf(nil) }, approval.ErrTrust},
		"wider":           {func(s *approval.Statement) { s.Targets[0] = strings.Replace(s.Targets[0], "/24", "/23", 1) }, approval.ErrDigest},
		"not its hash":    {func(s *approval.Statement) { s.Targets[0] = strings.Replace(s.Targets[0], "443", "444", 1) }, approval.ErrDigest},
		"another form":    {func(s *approval.Statement) { s.Targets[0] = strings.Replace(s.Targets[0], "10.20.0.0", "10.20.1.0", 1) }, approval.ErrForm},
		"too long":        {func(s *approval.Statement) { s.Lease = 31 * 24 * time.Hour }, ErrWindow},
		"for weeks":       {func(s *approval.Statement) { s.NotAfter = s.NotAfter.Add(time.Hour) }, ErrWindow},
		"expired":         {func(s *approval.Statement) { s.NotAfter = s.NotAfter.Add(-25 * time.Hour) }, approval.ErrLate},
		"another log":     {func(s *approval.Statement) { s.LogRoot = "x" }, approval.ErrLog},
		"two":             {func(s *approval.Statement) { s.Targets = append(s.Targets, s.Targets[0]) }, approval.ErrForm},
		"no reason":       {func(s *approval.Statement) { s.Reason = "" }, approval.ErrForm},
		"another kind":    {func(s *approval.Statement) { s.Name = "quarantine" }, approval.ErrForm},
		"no":              {func(s *approval.Statement) { s.Decision = approval.Deny }, approval.ErrSubject},
		"of a step":       {func(s *approval.Statement) { s.Subject, s.Lease, s.Reason = approval.Step, 0, "" }, approval.ErrSubject},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.leastForUnblock()
			s, err := o.m.WiderStatement(o.w.now, approval.Approve, wide())
			o.ok(err)
			c.edit(&s)
			records := len(o.w.records)
			o.want(o.bring(s.Text(), anna, "ben", "cleo"), c.want)
			if len(o.w.records) != records || len(o.spent) != 0 {
				t.Error("it left something behind")
			}
		})
	}
}
