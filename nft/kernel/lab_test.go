package kernel_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/kernel"
	"weir/nft/netns"
)

// The lab's client speaks to echo servers outside on three ports. Port 1001 is
// what a narrow revision allows; 1002 is denied by it.
const (
	good = ":1001"
	bad  = ":1002"
)

var outside = map[string]string{"ipv4": netns.OutsideIP4, "ipv6": "[" + netns.OutsideIP6 + "]"}

type lab struct {
	*netns.Lab
	*kernel.Kernel
	t testing.TB
}

func newLab(t testing.TB) *lab {
	t.Helper()
	n, err := netns.NewLab()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, a := range outside {
		for _, p := range []string{good, bad} {
			if err := n.Outside.EchoTCP(a + p); err != nil {
				t.Fatal(err)
			}
			if err := n.Outside.EchoUDP(a + p); err != nil {
				t.Fatal(err)
			}
		}
	}
	return &lab{n, open(t, n.Gateway), t}
}

func open(t testing.TB, n *netns.NS) *kernel.Kernel {
	t.Helper()
	k, err := kernel.Open(kernel.Options{NetNS: n.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func newNS(t testing.TB) (*netns.NS, *kernel.Kernel) {
	t.Helper()
	n, err := netns.New("kernel")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, open(t, n)
}

// answers tries one exchange with the outside in both families and wants both
// to end as said.
func (l *lab) answers(network, port string, want bool) {
	l.t.Helper()
	for f, a := range outside {
		wait := 2 * time.Second
		if !want {
			wait = 150 * time.Millisecond
		}
		err := l.Client.Try(network, a+port, wait)
		if (err == nil) != want {
			l.t.Errorf("%s %s%s: answered %v, want %v (%v)", f, network, port, err == nil, want, err)
		}
	}
}

func (l *lab) dial(network, family, port string) net.Conn {
	l.t.Helper()
	c, err := l.Client.Dial(network, outside[family]+port, 3*time.Second)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

// nft runs the nft program in a namespace.
func nftIn(t testing.TB, n *netns.NS, stdin string, args ...string) string {
	t.Helper()
	var out []byte
	err := n.Do(func() error {
		cmd := exec.Command("nft", args...)
		cmd.Stdin = strings.NewReader(stdin)
		var err error
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// skeletonText is a skeleton small enough to read, for one group.
const skeletonText = `table inet weir {
	counter w_reply { }
	counter w_spared { }
	counter w_c_desks_allowed { }
	counter w_c_desks_would { }
	counter w_c_desks_denied { }
	map w_marker { type ifname : mark; }
	map w_tx { type ifname : mark; }
	map w_trial_f { type nf_proto : verdict; flags timeout; }
	map w_stable_f { type nf_proto : verdict; }
	map w_g_desks { type nf_proto : verdict; flags timeout; }
	map w_s_desks { type nf_proto : verdict; flags timeout; }
	set w_nospare4 { type ipv4_addr . ipv4_addr; flags interval,timeout; }
	set w_nospare6 { type ipv6_addr . ipv6_addr; flags interval,timeout; }
	set w_quar4 { type ipv4_addr; flags timeout; }
	set w_quar6 { type ipv6_addr; flags timeout; }
	chain w_unblocks {
	}
	chain w_spare {
		ip saddr . ip daddr @w_nospare4 return
		ip6 saddr . ip6 daddr @w_nospare6 return
		counter name w_spared accept
	}
	chain w_quarantined { counter drop }
	chain w_a_desks { counter name w_c_desks_would accept }
	chain w_main_f {
		ct direction reply counter name w_reply accept
		ct state related accept
		meta nfproto vmap @w_trial_f
		meta nfproto vmap @w_stable_f
	}
	chain w_base_f {
		type filter hook forward priority 10; policy accept;
		jump w_main_f
	}
}`

// narrow allows tcp and udp port 1001 to the outside host; every other flow
// from inside is dropped. open allows everything.
func narrow(t testing.TB, id string) nft.Revision {
	return revision(t, id, fmt.Sprintf(`table inet weir {
	set s_x4_%[1]s { type ipv4_addr . inet_proto . inet_service; size 16; counter; elements = { %[2]s . tcp . 1001, %[2]s . udp . 1001 } }
	set s_x6_%[1]s { type ipv6_addr . inet_proto . inet_service; size 16; counter; elements = { %[3]s . tcp . 1001, %[3]s . udp . 1001 } }
	chain %[1]s_d_desks {
		jump w_unblocks
		meta nfproto vmap @w_g_desks
		ct state established meta nfproto vmap @w_s_desks
		counter name w_c_desks_denied drop
	}
	chain %[1]s_f {
		ip saddr @w_quar4 goto w_quarantined
		ip6 saddr @w_quar6 goto w_quarantined
		meta l4proto { icmp, 58 } accept
		ip daddr . meta l4proto . th dport @s_x4_%[1]s counter name w_c_desks_allowed accept
		ip6 daddr . meta l4proto . th dport @s_x6_%[1]s counter name w_c_desks_allowed accept
		goto %[1]s_d_desks
	}
}`, id, netns.OutsideIP4, netns.OutsideIP6))
}

func wide(t testing.TB, id string) nft.Revision {
	return revision(t, id, fmt.Sprintf("table inet weir {\n\tchain %s_f {\n\t\tcounter name w_c_desks_allowed accept\n\t}\n}", id))
}

func revision(t testing.TB, id, text string) nft.Revision {
	t.Helper()
	return nft.Revision{ID: id, Skeleton: parse(t, skeletonText), Ruleset: parse(t, text), Entry: map[string]string{"f": id + "_f"}, Groups: []string{"desks"}}
}

const (
	idA = "r00000000000a"
	idB = "r00000000000b"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// step loads, arms and confirms a revision over what is stable.
func (l *lab) step(rev nft.Revision, over, tx string) {
	l.t.Helper()
	ctx := context.Background()
	must(l.t, l.Load(ctx, rev))
	must(l.t, l.Arm(ctx, nft.Arm{ID: rev.ID, Entry: rev.Entry, Tx: tx + "a", Lease: time.Minute, Over: over}))
	must(l.t, l.Confirm(ctx, nft.Confirm{ID: rev.ID, Entry: rev.Entry, Tx: tx + "c"}))
}

// parse reads nft text in which a set stands on one line.
func parse(t testing.TB, s string) nft.Ruleset {
	t.Helper()
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		trim := strings.TrimSpace(line)
		open, body, ok := strings.Cut(trim, " { ")
		if ok && strings.HasSuffix(trim, " }") && (strings.HasPrefix(trim, "set ") || strings.HasPrefix(trim, "map ") || strings.HasPrefix(trim, "chain ")) {
			out = append(out, open+" {")
			out = append(out, strings.Split(strings.TrimSuffix(strings.TrimSuffix(body, " }"), ";"), "; ")...)
			trim = "}"
		}
		out = append(out, trim)
	}
	rs, err := nft.Parse(strings.Join(out, "\n"))
	if err != nil {
		t.Fatalf("%v in\n%s", err, strings.Join(out, "\n"))
	}
	return rs
}
