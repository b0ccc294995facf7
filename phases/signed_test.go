package phases

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"weir/phases/approval"
)

// office is a machine with a trust file, and the people who can sign for it.
type office struct {
	t     *testing.T
	w     *world
	m     *Machine
	trust []byte
	keys  map[string]ssh.Signer
	spent spentNonces
	log   *testLog
}

type spentNonces map[string]bool

func (s spentNonces) Spend(n string) error         { s[n] = true; return nil }
func (s spentNonces) Spent(n string) (bool, error) { return s[n], nil }

// testLog is a log whose root is its length.
type testLog struct{ size uint64 }

func (l *testLog) Root() (uint64, string, error) { return l.size, fmt.Sprint("root-", l.size), nil }
func (l *testLog) Extends(size uint64, root string) error {
	if size > l.size || root != fmt.Sprint("root-", size) {
		return errors.New("it is shorter")
	}
	return nil
}

func (o *office) key(name string) string {
	if o.keys[name] == nil {
		_, priv, err := ed25519.GenerateKey(nil)
		if err != nil {
			o.t.Fatal(err)
		}
		if o.keys[name], err = ssh.NewSignerFromSigner(priv); err != nil {
			o.t.Fatal(err)
		}
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(o.keys[name].PublicKey())))
}

const trustForm = `apiVersion: weir/v1
kind: Trust
profile: quorum
signers:
  anna: {login: anna, keys: ["KEY anna"]}
  ben: {login: ben, keys: ["KEY ben", "KEY ben2"]}
  cleo: {login: cleo, keys: ["KEY cleo"]}
  dora: {keys: ["KEY dora"]}
least:
  - {steps: "monitor", quorum: 2}
`

func (o *office) file(form string) []byte {
	for name := range map[string]bool{"anna": true, "ben": true, "ben2": true, "cleo": true, "dora": true, "eve": true} {
		form = strings.ReplaceAll(form, `"KEY `+name+`"`, `"`+o.key(name)+`"`)
	}
	return []byte(form)
}

func newOffice(t *testing.T) *office {
	o := &office{t: t, w: newWorld(), keys: map[string]ssh.Signer{}, spent: spentNonces{}, log: &testLog{size: 3}}
	p := planNamed("signed", nil)
	p.Hash = hashOf([]byte("signed"))
	testPlans["signed"] = p
	o.trust = o.file(trustForm)
	o.open()
	o.ok(o.m.Apply(ctx, o.w.now, anna, p, []byte("signed")))
	o.request(anna)
	return o
}

func (o *office) open() {
	o.m = o.w.open(o.t)
	o.m.Identity, o.m.Nonces, o.m.Log = "m1", o.spent, o.log
	o.ok(o.m.UseTrust(ctx, o.w.now, o.trust, nil))
}

func (o *office) ok(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) material() Material {
	mat := material(o.w)
	mat.Evidence = hashOf([]byte("evidence"))
	return mat
}

func (o *office) request(by Actor) {
	o.t.Helper()
	o.w.now = o.w.now.Add(time.Second)
	_, _, err := o.m.Request(ctx, o.w.now, by, "", o.material())
	o.ok(err)
}

func (o *office) sign(key string, text []byte) []byte {
	o.t.Helper()
	sig, err := sshsig.Sign(bytes.NewReader(text), o.keys[key], sshsig.HashSHA512, approval.Namespace)
	o.ok(err)
	return sshsig.Armor(sig)
}

func (o *office) statement(d approval.Decision) approval.Statement {
	o.t.Helper()
	s, err := o.m.Statement("", d)
	o.ok(err)
	return s
}

func (o *office) decide(key string, d approval.Decision) error {
	o.t.Helper()
	text := o.statement(d).Text()
	_, err := o.m.Decide(ctx, o.w.now, root, "", d, text, o.sign(key, text))
	return err
}

func (o *office) arm() error {
	_, err := o.m.Advance(ctx, o.w.now, anna, "", 0, facts(o.w))
	return err
}

func (o *office) want(err, want error) {
	o.t.Helper()
	if !errors.Is(err, want) {
		o.t.Errorf("%v; want: %v", err, want)
	}
}

func TestSignedQuorum(t *testing.T) {
	o := newOffice(t)
	o.want(o.m.Approve(ctx, o.w.now, ben, ""), ErrUnsigned)
	o.want(o.arm(), ErrNotApproved)
	o.ok(o.decide("ben", approval.Approve))
	o.want(o.decide("ben", approval.Approve), ErrApprovedOnce)
	o.want(o.decide("ben2", approval.Approve), ErrApprovedOnce) // one person, two keys
	o.want(o.arm(), ErrNotApproved)                             // the plan asks for one, the trust file for two
	o.want(o.decide("anna", approval.Approve), ErrSelfApproval)
	o.log.size = 9 // the log went on
	o.ok(o.decide("cleo", approval.Approve))
	s := o.m.Status(o.w.now, facts(o.w))
	if s.Request.Quorum != 2 || !s.Request.Signed || fmt.Sprint(s.Request.Have) != "[ben (root) cleo (root)]" || s.Trust == nil || s.Trust.Office {
		t.Errorf("the status is %+v, %+v", s.Request, s.Trust)
	}
	o.open() // a new process
	o.ok(o.arm())
	o.want(func() error {
		_, err := o.m.Decide(ctx, o.w.now, root, "", approval.Approve, nil, o.sign("cleo", nil))
		return err
	}(), ErrUsed)
}

// Each reason why a signature does not count has its own words.
func TestSignedRefusals(t *testing.T) {
	twice := func(o *office) {
		o.ok(o.decide("ben", approval.Approve))
		o.ok(o.decide("cleo", approval.Approve))
	}
	changed := func(edit func(*approval.Statement)) func(*office) error {
		return func(o *office) error {
			s := o.statement(approval.Approve)
			edit(&s)
			_, err := o.m.Decide(ctx, o.w.now, root, "", approval.Approve, s.Text(), o.sign("ben", s.Text()))
			return err
		}
	}
	for name, c := range map[string]struct {
		do   func(*office) error
		want error
	}{
		"another machine": {changed(func(s *approval.Statement) { s.Machine = "m2" }), approval.ErrMachine},
		"another plan":    {changed(func(s *approval.Statement) { s.Plan = hashOf(nil) }), approval.ErrPlan},
		"another upon":    {changed(func(s *approval.Statement) { s.Upon = "r000000000000" }), approval.ErrUpon},
		"another request": {changed(func(s *approval.Statement) { s.Nonce = strings.Repeat("0", 32) }), approval.ErrNonce},
		"longer":          {changed(func(s *approval.Statement) { s.NotAfter = s.NotAfter.Add(time.Hour) }), approval.ErrWindow},
		"another log":     {changed(func(s *approval.Statement) { s.LogRoot = "x" }), approval.ErrLog},
		"a no as a yes":   {changed(func(s *approval.Statement) { s.Decision = approval.Deny }), approval.ErrSubject},
		"nobody's key":    {func(o *office) error { return o.decide("eve", approval.Approve) }, approval.ErrSigner},
		"an account that nobody knows": {func(o *office) error {
			o.request(Actor{UID: 1009, LoginUID: 1009, Name: "zed"})
			o.ok(o.decide("ben", approval.Approve))
			return o.decide("dora", approval.Approve)
		}, ErrIndistinct},
		"requested by root": {func(o *office) error { o.request(root); return o.decide("ben", approval.Approve) }, ErrIndistinct},
		"no statement": {func(o *office) error {
			_, err := o.m.Decide(ctx, o.w.now, root, "", approval.Approve, nil, o.sign("ben", []byte("yes")))
			return err
		}, approval.ErrSignature},
		"moved to another machine": {func(o *office) error { twice(o); o.m.Identity = "m2"; return o.arm() }, approval.ErrMachine},
		"expired before":           {func(o *office) error { o.w.now = o.w.now.Add(24 * time.Hour); return o.decide("ben", approval.Approve) }, approval.ErrLate},
		"expired after":            {func(o *office) error { twice(o); o.w.now = o.w.now.Add(24 * time.Hour); return o.arm() }, approval.ErrLate},
		"before its window": {func(o *office) error {
			mat := o.material()
			mat.NotBefore, mat.NotAfter = o.w.now.Add(time.Hour), o.w.now.Add(2*time.Hour)
			_, _, err := o.m.Request(ctx, o.w.now, anna, "", mat)
			o.ok(err)
			twice(o)
			return o.arm()
		}, approval.ErrEarly},
		"a window too long": {func(o *office) error {
			mat := o.material()
			mat.NotAfter = o.w.now.Add(25 * time.Hour)
			_, _, err := o.m.Request(ctx, o.w.now, anna, "", mat)
			return err
		}, ErrWindow},
		"denied after": {func(o *office) error {
			twice(o)
			o.ok(o.decide("dora", approval.Deny))
			return o.arm()
		}, ErrDenied},
		"signed after a no": {func(o *office) error {
			text := o.statement(approval.Approve).Text()
			o.ok(o.decide("dora", approval.Deny))
			_, err := o.m.Decide(ctx, o.w.now, root, "", approval.Approve, text, o.sign("ben", text))
			return err
		}, ErrDenied},
		"denied by an account": {func(o *office) error {
			twice(o)
			o.ok(o.m.Deny(ctx, o.w.now, root, "", "no"))
			return o.arm()
		}, ErrDenied},
		"used": {func(o *office) error {
			text := o.statement(approval.Approve).Text()
			twice(o)
			o.ok(o.arm())
			_, err := o.m.Decide(ctx, o.w.now, root, "", approval.Approve, text, o.sign("ben", text))
			return err
		}, ErrUsed},
		"an old database": {func(o *office) error {
			twice(o)
			old := len(o.w.records)
			o.ok(o.arm())
			o.ok(o.m.Rollback(ctx, o.w.now, anna, ""))
			o.w.records = o.w.records[:old]
			o.w.k.Delete()
			o.open()
			return o.arm()
		}, approval.ErrSpent},
		"an old database, denied": {func(o *office) error {
			twice(o)
			old := len(o.w.records)
			o.ok(o.decide("dora", approval.Deny))
			o.w.records = o.w.records[:old]
			o.open()
			return o.arm()
		}, approval.ErrSpent},
		"an old log": {func(o *office) error { twice(o); o.log.size = 2; return o.arm() }, approval.ErrLog},
		"trust edited": {func(o *office) error {
			twice(o)
			o.trust = append(o.trust, "# mine\n"...)
			o.ok(o.m.UseTrust(ctx, o.w.now, o.trust, nil))
			return o.arm()
		}, ErrTrustChanged},
		"trust gone": {func(o *office) error {
			twice(o)
			o.ok(o.m.UseTrust(ctx, o.w.now, nil, nil))
			return o.arm()
		}, ErrTrustChanged},
		"trust writable": {func(o *office) error {
			twice(o)
			o.ok(o.m.UseTrust(ctx, o.w.now, nil, errors.New("others may write it")))
			return o.arm()
		}, ErrTrustFile},
		"trust edited, by account": {func(o *office) error {
			o.ok(o.m.UseTrust(ctx, o.w.now, nil, nil))
			return o.m.Approve(ctx, o.w.now, ben, "")
		}, ErrTrustChanged},
		"a record put into the journal": {func(o *office) error {
			o.ok(o.decide("ben", approval.Approve))
			fake := ben
			fake.Signer = "cleo"
			if _, err := o.w.Append(Record{At: o.w.now, Kind: Approved, Actor: fake, Digest: o.m.State().Request.Digest}); err != nil {
				return err
			}
			o.open()
			return o.arm()
		}, approval.ErrArmour},
		"a signature copied in the journal": {func(o *office) error {
			o.ok(o.decide("ben", approval.Approve))
			r := o.w.records[len(o.w.records)-1]
			r.Actor.Signer = "cleo"
			if _, err := o.w.Append(r); err != nil {
				return err
			}
			o.open()
			return o.arm()
		}, ErrNotApproved},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.want(c.do(o), c.want)
			if trial := o.w.running(); name != "used" && trial != "" {
				t.Errorf("%s is armed", trial)
			}
		})
	}
}

func TestTrustChange(t *testing.T) {
	o := newOffice(t)
	o.ok(o.decide("ben", approval.Approve))
	o.ok(o.decide("cleo", approval.Approve))
	_, err := o.m.TrustStatement(o.w.now)
	o.want(err, ErrSameTrust)
	first := o.trust
	o.trust = o.file(trustForm + "  - {steps: \"watch\", quorum: 3}\n")
	o.ok(o.m.UseTrust(ctx, o.w.now, o.trust, nil))
	s, err := o.m.TrustStatement(o.w.now)
	o.ok(err)
	accept := func(s approval.Statement, keys ...string) error {
		var sigs [][]byte
		for _, k := range keys {
			sigs = append(sigs, o.sign(k, s.Text()))
		}
		return o.m.AcceptTrust(ctx, o.w.now, root, s.Text(), sigs)
	}
	o.want(accept(s, "ben"), ErrNotApproved)
	o.want(accept(s, "ben", "ben2"), ErrNotApproved)
	o.want(accept(s, "ben", "eve"), approval.ErrSigner)
	other := s
	other.Digest = hashOf(nil)
	o.want(accept(other, "ben", "cleo"), approval.ErrDigest)
	other = s
	other.Machine = "m2"
	o.want(accept(other, "ben", "cleo"), approval.ErrMachine)
	other = s
	other.NotAfter = s.NotAfter.AddDate(1, 0, 0)
	o.want(accept(other, "ben", "cleo"), ErrWindow)
	o.want(o.arm(), ErrTrustChanged)
	o.ok(accept(s, "ben", "cleo"))
	// What was asked for under the old file is void, signed or not.
	o.want(o.arm(), approval.ErrTrust)
	if got, err := o.m.Trust(); err != nil || got.Hash != hashOf(o.trust) {
		t.Errorf("in force is %v, %v", got, err)
	}
	// Back to the first file: the old statement is of no use a second time.
	o.open()
	second := o.trust
	o.trust = first
	o.ok(o.m.UseTrust(ctx, o.w.now, first, nil))
	back, err := o.m.TrustStatement(o.w.now)
	o.ok(err)
	o.ok(accept(back, "ben", "cleo", "anna"))
	o.ok(o.m.UseTrust(ctx, o.w.now, second, nil))
	o.want(accept(s, "ben", "cleo"), ErrUsed)
}

func TestTrustOfAnotherSet(t *testing.T) {
	o := newOffice(t)
	for form, want := range map[string]error{
		trustForm + "machines: {name: gateways, members: [m7]}\n":     ErrTrustFile,
		trustForm + "machines: {name: gateways, members: [m7, m1]}\n": nil,
	} {
		w := newWorld()
		o.w, o.trust = w, o.file(form)
		o.open()
		_, err := o.m.Trust()
		o.want(err, want)
		if want == nil {
			o.ok(o.m.Apply(ctx, w.now, anna, testPlans["signed"], []byte("signed")))
			o.request(anna)
			if s := o.statement(approval.Approve); s.Machine != "set:gateways" {
				t.Errorf("it is for %s", s.Machine)
			}
		}
	}
}

// Status says why nothing waits, once, and what follows a step on trial.
func TestStatusOfWhatIsGone(t *testing.T) {
	o := newOffice(t)
	status := func() Status { return o.m.Status(o.w.now, facts(o.w)) }
	o.ok(o.decide("dora", approval.Deny))
	if s := status(); s.Request != nil || s.Void != ErrDenied.Error() {
		t.Errorf("after a no: %+v, %q", s.Request, s.Void)
	}
	o.request(anna)
	if s := status(); s.Void != "" || s.Next != StepMonitor || len(s.Gates) != len(Gates(o.m.plan, o.m.State().Heads[s.Request.Digest].Step, facts(o.w), o.m.State(), o.w.now)) {
		t.Errorf("with a request: %q, next %s", s.Void, s.Next)
	}
	o.ok(o.decide("ben", approval.Approve))
	o.ok(o.decide("cleo", approval.Approve))
	o.ok(o.arm())
	if s := status(); s.Void != "" || s.Next != StepAlert || s.Gates != nil {
		t.Errorf("on trial: %q, next %s, gates %v", s.Void, s.Next, s.Gates)
	}
	o.ok(o.m.Confirm(ctx, o.w.now, anna))
	if s := status(); s.Void != "" || s.Next != StepAlert {
		t.Errorf("confirmed: %q, next %s", s.Void, s.Next)
	}
	o.request(anna)
	o.ok(o.m.Rollback(ctx, o.w.now, anna, "off"))
	if s := status(); s.Request == nil || s.Request.Refused == "" {
		t.Errorf("rolled back: %+v", s.Request)
	}
}
