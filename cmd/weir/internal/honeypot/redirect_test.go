package honeypot_test

import (
	"testing"
	"time"

	"weir/cmd/weir/internal/honeypot"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/policy"
)

func allow(t testing.TB, services ...string) policy.Policy {
	t.Helper()
	r := policy.Rule{Group: "desks"}
	for _, s := range services {
		v, err := flow.ParseService(s)
		must(t, err)
		r.Services = append(r.Services, v)
	}
	return policy.Policy{Rules: []policy.Rule{r}}
}

func never(t testing.TB, deny compile.Treatment, services ...string) compile.Never {
	return compile.Never{Name: "no-rdp", Services: allow(t, services...).Rules[0].Services, Deny: deny}
}

// From the first trial to the end of the lease: denied at all times, redirected
// only when confirmed and only under the lease.
func TestLife(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.listen(honeypot.Options{})
	alert := l.step(compile.Alert, never(t, compile.Honeypot, "tcp/3389"))
	l.arm(alert, "", time.Minute)
	l.confirm(alert)
	l.reaches("tcp", "3389")

	block := l.step(compile.Reject, never(t, compile.Honeypot, "tcp/3389", "udp/3389"))
	l.arm(block, alert.ID, time.Minute)
	l.lease(time.Minute) // even so
	l.rejected("tcp", "3389")
	l.rejected("tcp", "22")
	l.nobody()

	l.confirm(block)
	l.captured("3389")
	l.rejected("tcp", "22")
	l.rejected("udp", "3389")
	l.reaches("tcp", "443")

	l.lease(100 * time.Millisecond)
	time.Sleep(150 * time.Millisecond)
	l.rejected("tcp", "3389")
	l.nobody()
}
