package phases

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/nft"
)

// What was put in force is compared once, with the bytes that were frozen, and
// the record has their hash; a difference is written down as one.
func TestReadBack(t *testing.T) {
	o := newOffice(t)
	var asked []string
	var diffs []nft.Difference
	var cannot error
	took := 7 * time.Millisecond
	reopen := func() {
		o.open()
		o.m.Stopwatch = func() func() time.Duration { return func() time.Duration { return took } }
		o.m.Compare = func(_ context.Context, r nft.Revision, known []string) ([]nft.Difference, error) {
			asked = append(asked, r.ID)
			if !slices.Contains(known, r.ID) {
				t.Errorf("%s is not among the known %v", r.ID, known)
			}
			return diffs, cannot
		}
	}
	back := func() *Record {
		t.Helper()
		r, err := o.m.ReadBack(ctx, o.w.now)
		o.ok(err)
		return r
	}
	reopen()
	if r := back(); r != nil {
		t.Fatalf("nothing is in force, and %s", r.Words)
	}
	o.ok(o.decide("ben", "approve"))
	o.ok(o.decide("cleo", "approve"))
	o.ok(o.arm())
	last := o.w.records[len(o.w.records)-1]
	if last.Kind != Seen || last.Took != took || last.Before != "" {
		t.Errorf("armed as %+v", last)
	}
	cannot = errors.New("busy")
	if _, err := o.m.ReadBack(ctx, o.w.now); !errors.Is(err, cannot) {
		t.Fatal(err)
	}
	cannot = nil
	reopen() // what was not compared before a crash is compared after it
	h := o.m.State().Heads[o.m.State().Trial.Digest]
	r := back()
	if r == nil || r.Held != h.Hashes["revision"] || r.Revision != h.Revision || r.Digest != h.Digest() || r.Kind != Noted {
		t.Fatalf("%+v", r)
	}
	if r := back(); r != nil {
		t.Fatalf("compared again: %s", r.Words)
	}
	reopen()
	if r := back(); r != nil {
		t.Fatalf("compared again after a start: %s", r.Words)
	}

	o.ok(o.m.Confirm(ctx, o.w.now, anna))
	diffs = []nft.Difference{{Object: "chain x", What: nft.Changed}}
	if r := back(); r == nil || r.Held != "" || !strings.Contains(r.Words, "does NOT hold "+h.Revision) || !strings.Contains(r.Words, "chain x was changed") {
		t.Fatalf("%+v", r)
	}
	diffs = nil

	o.ok(o.m.Rollback(ctx, o.w.now, anna, StepOff))
	last = o.w.records[len(o.w.records)-1]
	if last.Took != took || last.Before != h.Revision {
		t.Errorf("rolled back as %+v", last)
	}
	if r := back(); r == nil || r.Held != h.Hashes["off"] || r.Revision != h.OffID {
		t.Fatalf("off: %+v", r)
	}
	if want := []string{h.Revision, h.Revision, h.Revision, h.OffID}; !slices.Equal(asked, want) {
		t.Errorf("compared %v, want %v", asked, want)
	}
}
