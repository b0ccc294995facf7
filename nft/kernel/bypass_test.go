package kernel_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// What other tables do with packets before weir sees them, read from a real
// kernel, in every family.
func TestBypasses(t *testing.T) {
	l := newLab(t)
	must(t, l.Load(context.Background(), office(t)))
	read := func() []string {
		all, err := l.Bypasses(context.Background())
		must(t, err)
		var out []string
		for _, b := range all {
			out = append(out, fmt.Sprint(b, " ", b.Rules))
		}
		return out
	}
	if got := read(); got != nil {
		t.Errorf("weir's own: %v", got)
	}
	nftIn(t, l.Gateway, `table ip raw {
	chain pre { type filter hook prerouting priority -300; udp dport 53 notrack; tcp dport 53 notrack; }
}
table ip6 nat {
	chain pre { type nat hook prerouting priority -100; tcp dport 80 redirect to :3128; }
}
table inet fw {
	chain mangle { type filter hook prerouting priority -150; meta l4proto tcp tproxy to :3129; }
}
`, "-f", "-")
	want := []string{
		"notrack in chain pre of table ip raw 2",
		"redirect in chain pre of table ip6 nat 1",
		"tproxy in chain mangle of table inet fw 1",
	}
	if got := read(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
