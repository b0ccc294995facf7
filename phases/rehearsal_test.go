package phases

import (
	"context"
	"errors"
	"testing"
	"time"
)

// What was not rehearsed is not armed: a rehearsal that fails freezes nothing,
// what it found is a part of the digest, and a step of a weir that did not
// rehearse is asked for again.
func TestNotRehearsedNotArmed(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill req ok:anna")
	older := s.m.state.Request.Digest
	bad := errors.New("a hole")
	s.m.Rehearse = func(context.Context, Frozen, *Frozen) (Rehearsal, error) { return Rehearsal{}, bad }
	if _, err := s.m.Advance(ctx, s.w.now, anna, older, 0, s.f(s.w)); !errors.Is(err, ErrUnrehearsed) {
		t.Errorf("a step that was never rehearsed: %v", err)
	}
	records, writes := len(s.w.records), s.w.writes
	if _, _, err := s.m.Request(ctx, s.w.now, anna, "", Material{Facts: s.f(s.w), UpTo: s.w.now}); !errors.Is(err, bad) {
		t.Errorf("a rehearsal that failed: %v", err)
	}
	if len(s.w.records) != records || s.w.writes != writes || s.m.state.Request.Digest != older {
		t.Error("a rehearsal that failed changed something")
	}
	over := 0
	s.m.Rehearse = func(_ context.Context, f Frozen, o *Frozen) (Rehearsal, error) {
		if (o != nil) != (f.OverStep != "") || o != nil && o.Digest() != f.OverStep {
			t.Errorf("rehearsed %s over %v, not over %q", f.Step.Name, o, f.OverStep)
		}
		if o != nil {
			over++
		}
		return Rehearsal{Took: 5 * time.Millisecond, Packets: 7, Recorded: 1, Of: 2, Hash: "sha256:x", Back: "off"}, nil
	}
	s.run("req ok:anna arm yes wait:25h req")
	if over != 1 {
		t.Errorf("%d rehearsals upon a confirmed step, want 1", over)
	}
	f, err := s.m.Frozen(s.m.state.Request.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Rehearsal.String(); got != "rehearsed in 5 ms: 7 packets, 1 of 2 recorded flows; back to off, hash equal" {
		t.Errorf("the frozen step says %q", got)
	}
	if w := s.m.Status(s.w.now, s.f(s.w)).Request; w == nil || w.Rehearsal == nil || w.Rehearsal.Packets != 7 {
		t.Errorf("the status says %+v", w)
	}
	other := f
	other.digest = ""
	other.Rehearsal = nil
	if other.Head.Digest() == f.Digest() {
		t.Error("the digest does not cover the rehearsal")
	}
}
