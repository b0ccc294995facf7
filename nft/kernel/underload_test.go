package kernel_test

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/netns"
)

var switches = flag.Int("switches", 120, "how many switches TestSwitchingUnderLoad makes")

// interval is like narrow, with a set of ranges, which one transaction does not
// make visible at once.
func interval(t testing.TB, id string) nft.Revision {
	return revision(t, id, fmt.Sprintf(`table inet weir {
	set i4_%[1]s { type ipv4_addr . inet_proto . inet_service; flags interval; elements = { %[2]s . udp . 1001, 203.0.113.0/24 . tcp . 1-1000 } }
	set i6_%[1]s { type ipv6_addr . inet_proto . inet_service; flags interval; elements = { %[3]s . udp . 1001, 2001:db8:9::/64 . tcp . 1-1000 } }
	chain %[1]s_f {
		meta l4proto { icmp, 58 } accept
		ip daddr . meta l4proto . th dport @i4_%[1]s counter name w_c_desks_allowed accept
		ip6 daddr . meta l4proto . th dport @i6_%[1]s counter name w_c_desks_allowed accept
		counter name w_c_desks_denied drop
	}
}`, id, netns.OutsideIP4, netns.OutsideIP6))
}

// Revision follows revision, each newly loaded, armed, and confirmed, lapsed or
// rolled back, the old ones released, while allowed and denied packets of both
// families go on: none of them is decided wrongly.
func TestSwitchingUnderLoad(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	id := func(i int) string { return fmt.Sprintf("r%012x", i) }
	now := interval(t, id(0))
	l.step(now, "", "t")

	var wait sync.WaitGroup
	var asked, wrong, denied, passed atomic.Int64
	stop := make(chan struct{})
	for f := range outside {
		allowed, refused := l.dial("udp", f, good), l.dial("udp", f, bad)
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				asked.Add(1)
				if err := netns.Exchange(allowed, time.Second); err != nil {
					wrong.Add(1)
				}
			}
		})
		wait.Go(func() {
			buf := make([]byte, 16)
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, _ = refused.Write([]byte("let me out"))
				denied.Add(1)
				_ = refused.SetReadDeadline(time.Now().Add(200 * time.Microsecond))
				if _, err := refused.Read(buf); err == nil {
					passed.Add(1)
				}
			}
		})
	}
	for i := 1; i <= *switches; i++ {
		next := interval(t, id(i))
		must(t, l.Load(ctx, next))
		lease := time.Minute
		if i%3 == 0 {
			lease = 3 * time.Millisecond
		}
		err := l.Arm(ctx, nft.Arm{ID: next.ID, Entry: next.Entry, Tx: fmt.Sprint("a", i), Lease: lease, Over: now.ID})
		switch i % 3 {
		case 0: // let it lapse; on a busy machine it may have done so already
			time.Sleep(2 * lease)
		case 1:
			must(t, err)
			must(t, l.Confirm(ctx, nft.Confirm{ID: next.ID, Entry: next.Entry, Tx: fmt.Sprint("c", i)}))
			now = next
		case 2:
			must(t, err)
			must(t, l.Rollback(ctx, nft.Rollback{ID: now.ID, Entry: now.Entry, Hooks: []string{"f"}, Tx: fmt.Sprint("r", i), Kind: nft.TxRollback}))
		}
		must(t, l.Release(ctx, nil))
	}
	close(stop)
	wait.Wait()
	t.Logf("%d switches, %d allowed and %d denied packets", *switches, asked.Load(), denied.Load())
	if wrong.Load() != 0 || passed.Load() != 0 || asked.Load() < 100 || denied.Load() < 100 {
		t.Errorf("%d of %d allowed packets were lost, %d of %d denied ones passed",
			wrong.Load(), asked.Load(), passed.Load(), denied.Load())
	}
}
