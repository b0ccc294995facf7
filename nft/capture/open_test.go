package capture

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// Lines come from the moment at which a group is bound, between the answers to
// what else is asked of it: on a gateway that is busy when the daemon starts.
func TestPacketLogOpensUnderLoad(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, `
table inet t {
  chain f { type filter hook forward priority 10; policy accept;
    meta l4proto udp log prefix "weir n " group 100 queue-threshold 1
    meta l4proto udp log prefix "weir a desks " group 101 queue-threshold 1
  }
}`)
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			spray(t, lab.Client, 1000, 500)
		}
	}()
	defer func() { stop.Store(true); <-done }()
	opt := Options{NetNS: lab.Gateway.FD()}
	early := 0
	for i := range 200 {
		l, err := OpenPacketLog(opt, 100, 101)
		if err != nil {
			t.Fatalf("opened %d times, then: %v", i, err)
		}
		early += len(l.early)
		if i == 199 {
			// What came meanwhile is not lost.
			want, h := len(l.early), newHeard()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if err := l.Run(ctx, h.sink()); err != nil {
				t.Error(err)
			}
			cancel()
			if got := len(h.records); got < want || got == 0 {
				t.Errorf("%d records, of which %d came while it was opened", got, want)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if early == 0 {
		t.Error("no line came while the groups were bound: this test tests nothing")
	}
}
