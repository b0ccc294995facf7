package phases

import (
	"bytes"
	"testing"
	"time"

	"weir/nft"
	"weir/phases/approval"
	"weir/phases/compile"
)

const setForm = trustForm + "machines: {name: gateways, members: [m1, m7]}\n"

// pair is two machines of one set, with the same plan and people.
func pair(t *testing.T) (a, b *office) {
	a = newOffice(t)
	a.trust = a.file(setForm)
	machine := func(identity string) *office {
		o := &office{t: t, w: newWorld(), keys: a.keys, spent: spentNonces{}, log: &testLog{size: 3}, trust: a.trust}
		o.m = o.w.open(t)
		o.m.Identity, o.m.Nonces, o.m.Log = identity, o.spent, o.log
		o.ok(o.m.UseTrust(ctx, o.w.now, o.trust, nil))
		o.ok(o.m.Apply(ctx, o.w.now, anna, testPlans["signed"], []byte("signed")))
		return o
	}
	a, b = machine("m1"), machine("m7")
	b.log.size = 1 // each has a log of its own
	a.request(anna)
	return a, b
}

func (o *office) file1() []byte { return o.w.frozen[o.m.State().Request.Digest] }

func (o *office) takes(by Actor, data []byte) error {
	o.w.now = o.w.now.Add(time.Second)
	_, _, err := o.m.Take(ctx, o.w.now, by, data, o.material())
	return err
}

func TestOneSignatureForASet(t *testing.T) {
	a, b := pair(t)
	for range 2 { // two steps, so that there is one to be upon
		text := a.statement(approval.Approve).Text()
		o := []*office{a, b}
		o[1].ok(b.takes(anna, a.file1()))
		if got := b.statement(approval.Approve).Text(); !bytes.Equal(got, text) {
			t.Fatalf("on the second machine this is signed:\n%s\nnot\n%s", got, text)
		}
		for _, key := range []string{"ben", "cleo"} {
			sig := a.sign(key, text)
			for _, x := range o {
				_, err := x.m.Decide(ctx, x.w.now, root, "", approval.Approve, text, sig)
				x.ok(err)
			}
		}
		for _, x := range o {
			x.ok(x.arm())
			x.ok(x.m.Confirm(ctx, x.w.now, anna))
			_, err := x.m.Decide(ctx, x.w.now, root, "", approval.Approve, text, x.sign("dora", text))
			x.want(err, ErrUsed)
		}
		if x, y := a.w.stable(), b.w.stable(); x != y || x == "" {
			t.Fatalf("in force are %q and %q", x, y)
		}
		a.w.now = a.w.now.Add(31 * 24 * time.Hour)
		b.w.now = a.w.now
		a.request(anna)
	}
	b.want(b.takes(anna, a.file1()[:100]), ErrCorrupt)
}

// What this machine would not have made of the same evidence is refused.
func TestTakeRefuses(t *testing.T) {
	edited := func(edit func(*Frozen)) func(a, b *office) error {
		return func(a, b *office) error {
			f, err := DecodeFrozen(a.m.State().Request.Digest, a.file1())
			a.ok(err)
			edit(&f)
			data, err := f.Encode()
			a.ok(err)
			return b.takes(anna, data)
		}
	}
	for name, c := range map[string]struct {
		do   func(a, b *office) error
		want error
	}{
		"a byte": {func(a, b *office) error {
			return b.takes(anna, bytes.Replace(a.file1(), []byte("443"), []byte("444"), 1))
		}, ErrCorrupt},
		"another ruleset":   {edited(func(f *Frozen) { f.Rules.Ruleset.Chains = f.Rules.Ruleset.Chains[1:] }), ErrNotOfSet},
		"another revision":  {edited(func(f *Frozen) { f.Revision = f.OffID }), ErrNotOfSet},
		"another treatment": {edited(func(f *Frozen) { f.Input.Groups[0].Treatment = compile.Drop }), ErrNotOfSet},
		"another target":    {edited(func(f *Frozen) { f.Step.Targets[0].Treatment = compile.Drop }), ErrNotOfSet},
		"fewer need sign":   {edited(func(f *Frozen) { f.Step.Approval.SelfApproval = false }), ErrNotOfSet},
		"no gates":          {edited(func(f *Frozen) { f.Step.Gates = []string{GateSoak} }), ErrNotOfSet},
		"a longer lease":    {edited(func(f *Frozen) { f.Step.Lease *= 100 }), ErrNotOfSet},
		"no way back":       {edited(func(f *Frozen) { f.Backouts = nil }), ErrNotOfSet},
		"another way back":  {edited(func(f *Frozen) { f.Backouts[0].Nft = nft.Rollback{ID: "x"} }), ErrNotOfSet},
		"another plan":      {edited(func(f *Frozen) { f.Plan = hashOf(nil) }), approval.ErrPlan},
		"upon another":      {edited(func(f *Frozen) { f.Over = "r000000000000" }), approval.ErrUpon},
		"of another set":    {edited(func(f *Frozen) { f.Ask.Machine = "set:branches" }), approval.ErrMachine},
		"under other trust": {edited(func(f *Frozen) { f.Ask.Trust = hashOf(nil) }), approval.ErrTrust},
		"not signed at all": {edited(func(f *Frozen) { f.Ask = nil }), ErrNotOfSet},
		"expired":           {func(a, b *office) error { b.w.now = b.w.now.Add(25 * time.Hour); return b.takes(anna, a.file1()) }, approval.ErrLate},
		"spent here": {func(a, b *office) error {
			b.spent[a.m.State().Heads[a.m.State().Request.Digest].Ask.Nonce] = true
			return b.takes(anna, a.file1())
		}, approval.ErrSpent},
		"denied here": {func(a, b *office) error {
			b.ok(b.takes(anna, a.file1()))
			b.ok(b.decide("dora", approval.Deny))
			return b.takes(anna, a.file1())
		}, ErrUsed},
		"a lifeline of this machine's own": {func(a, b *office) error {
			mat := b.material()
			mat.Lifelines = []compile.Lifeline{{Name: "resolver", To: prefixes("192.0.2.53/32"), Services: services("udp/53")}}
			_, _, err := b.m.Take(ctx, b.w.now.Add(time.Second), anna, a.file1(), mat)
			return err
		}, ErrLifeline},
		"the author signs": {func(a, b *office) error {
			b.ok(b.takes(dora, a.file1()))
			return b.decide("anna", approval.Approve)
		}, ErrSelfApproval},
		"who took it signs": {func(a, b *office) error {
			b.ok(b.takes(ben, a.file1()))
			return b.decide("ben", approval.Approve)
		}, ErrSelfApproval},
		"root took it": {func(a, b *office) error {
			b.ok(b.takes(root, a.file1()))
			return b.decide("ben", approval.Approve)
		}, ErrIndistinct},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			a.t, b.t = t, t
			b.want(c.do(a, b), c.want)
		})
	}
	// A machine that is of no set takes nothing.
	a, _ := pair(t)
	o := newOffice(t)
	o.want(o.takes(anna, a.file1()), ErrNotOfSet)
}
