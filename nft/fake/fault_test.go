package fake_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/fake"
	"weir/nft/suite"
)

var ctx = context.Background()

// calls is a whole life of a revision, one call after the other.
func calls(k *fake.Kernel) []func() error {
	a := suite.Revision("a")
	return []func() error{
		func() error { return k.Load(ctx, a) },
		func() error { return k.Arm(ctx, nft.Arm{ID: a.ID, Entry: a.Entry, Tx: "t1", Lease: time.Minute}) },
		func() error { return k.Confirm(ctx, nft.Confirm{ID: a.ID, Entry: a.Entry, Tx: "t2"}) },
		func() error { return k.Back(ctx, suite.Group, true, "t3") },
		func() error { return k.Rollback(ctx, nft.Rollback{Hooks: suite.Hooks, Tx: "t4", Kind: nft.TxRollback}) },
	}
}

func newFake() *fake.Kernel {
	return fake.New(func() time.Time { return time.Unix(0, 0) })
}

func look(t *testing.T, k *fake.Kernel) nft.Look {
	t.Helper()
	l, err := k.Look(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The looks after 0, 1, 2 … calls without a fault.
func looks(t *testing.T) []nft.Look {
	k := newFake()
	out := []nft.Look{look(t, k)}
	for i, c := range calls(k) {
		if err := c(); err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
		out = append(out, look(t, k))
	}
	return out
}

func TestFaults(t *testing.T) {
	want := looks(t)
	own := errors.New("no memory")
	for at := 1; at < len(want); at++ {
		for _, applied := range []bool{false, true} {
			for _, cause := range []error{nil, own} {
				k := newFake()
				k.Inject(fake.Fault{At: at, Applied: applied, Stays: true, Err: cause})
				for i, c := range calls(k)[:at] {
					err := c()
					switch {
					case i+1 < at && err != nil:
						t.Errorf("call %d before the fault at %d: %v", i+1, at, err)
					case i+1 == at && cause == nil && !errors.Is(err, nft.ErrUnknown):
						t.Errorf("call %d: %v, want ErrUnknown", at, err)
					case i+1 == at && cause != nil && !errors.Is(err, own):
						t.Errorf("call %d: %v, want the cause", at, err)
					}
				}
				if _, err := k.Look(ctx); err == nil || !k.Fired() {
					t.Errorf("fault at %d: the kernel answers after the crash", at)
				}
				k.Inject(fake.Fault{})
				n := at - 1
				if applied {
					n = at
				}
				if got := look(t, k); !reflect.DeepEqual(got, want[n]) {
					t.Errorf("fault at %d, applied %v:\ngot  %+v\nwant %+v", at, applied, got, want[n])
				}
			}
		}
	}
}

func TestOneFaultOnly(t *testing.T) {
	k := newFake()
	k.Inject(fake.Fault{At: 2})
	c := calls(k)
	if err := errors.Join(c[0](), c[2]()); !errors.Is(err, nft.ErrUnknown) {
		t.Errorf("call 2: %v", err)
	}
	if err := errors.Join(c[1](), c[2]()); err != nil || k.Calls() != 4 {
		t.Errorf("after the fault: %v, %d calls", err, k.Calls())
	}
}

func TestCancelled(t *testing.T) {
	k := newFake()
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := k.Load(done, suite.Revision("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if look(t, k).Present {
		t.Error("a cancelled call took effect")
	}
}

func TestRebootAndDelete(t *testing.T) {
	for name, end := range map[string]func(*fake.Kernel){"reboot": (*fake.Kernel).Reboot, "delete": (*fake.Kernel).Delete} {
		k := newFake()
		before := look(t, k).BootID
		for _, c := range calls(k)[:3] {
			if err := c(); err != nil {
				t.Fatal(err)
			}
		}
		end(k)
		l := look(t, k)
		if l.Present || (l.BootID != before) != (name == "reboot") {
			t.Errorf("after %s: %+v", name, l)
		}
	}
}

func TestForget(t *testing.T) {
	k := newFake()
	a := suite.Revision("a")
	if err := k.Load(ctx, a); err != nil || !k.Loaded(a.ID) {
		t.Fatal(err, "not loaded")
	}
	k.Forget(a.ID)
	err := k.Arm(ctx, nft.Arm{ID: a.ID, Entry: a.Entry, Tx: "t1", Lease: time.Minute})
	if !errors.Is(err, nft.ErrNotLoaded) || k.Loaded(a.ID) {
		t.Errorf("armed what was forgotten: %v", err)
	}
	r := nft.Rollback{ID: a.ID, Entry: a.Entry, Hooks: suite.Hooks, Tx: "t2", Kind: nft.TxRollback}
	if err := k.Rollback(ctx, r); !errors.Is(err, nft.ErrNotLoaded) {
		t.Errorf("rolled back to what was forgotten: %v", err)
	}
}
