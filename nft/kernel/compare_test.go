package kernel_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/kernel"
	"weir/nft/netns"
)

func want(t testing.TB, known []string, revs ...nft.Revision) *kernel.Want {
	t.Helper()
	w, err := kernel.NewWant(revs, known)
	must(t, err)
	return w
}

// drifted is what a full comparison says, one line each.
func drifted(t testing.TB, k *kernel.Kernel, w *kernel.Want, elements bool) []string {
	t.Helper()
	diffs, _, err := k.Compare(context.Background(), w, elements)
	must(t, err)
	var out []string
	for _, d := range diffs {
		out = append(out, d.String())
		for _, l := range d.Lines {
			out = append(out, "  "+l)
		}
	}
	return out
}

// What weir wrote is what it would write, statement for statement and element
// for element, in use as well.
func TestCompareOwn(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	rev := office(t)
	must(t, l.Load(ctx, rev))
	w := want(t, nil, rev)
	if got := drifted(t, l.Kernel, w, true); got != nil {
		t.Fatalf("just loaded, and differs:\n%s", strings.Join(got, "\n"))
	}
	must(t, l.Arm(ctx, nft.Arm{ID: rev.ID, Entry: rev.Entry, Tx: "a", Lease: time.Minute, Spare: []string{"servers"}}))
	l.answers("tcp", good, true)
	must(t, l.AddException(ctx, exception("e1", "ipv4", "tcp/1", time.Hour)))
	must(t, l.AddException(ctx, exception("e2", "ipv6", "udp/1", 50*time.Millisecond)))
	must(t, l.Quarantine(ctx, prefixes("10.20.16.10")[0].Addr(), time.Hour))
	must(t, l.Back(ctx, "servers", true, "b"))
	time.Sleep(60 * time.Millisecond)
	for _, elements := range []bool{false, true} {
		if got := drifted(t, l.Kernel, w, elements); got != nil {
			t.Errorf("in use, and differs:\n%s", strings.Join(got, "\n"))
		}
	}
	// Another revision beside it is nobody's change, if it is known.
	other := revision(t, idB, "table inet weir {\n\tchain "+idB+"_f {\n\t\taccept\n\t}\n}")
	other.Skeleton = rev.Skeleton
	must(t, l.Load(ctx, other))
	if got := drifted(t, l.Kernel, want(t, []string{idB}, rev), true); got != nil {
		t.Errorf("with a known revision beside it:\n%s", strings.Join(got, "\n"))
	}
	if got := drifted(t, l.Kernel, w, true); !slices.Contains(got, "chain "+idB+"_f was added") {
		t.Errorf("an unknown revision is not said: %v", got)
	}
}

// every change that somebody else can make shows, with what it changed, and is
// put back: by itself, and in a table that is in use.
var changes = []struct {
	name, script string
	say          string // regexp over the lines
	exact        bool   // seen without reading elements
}{
	{"a rule is added", "add rule inet weir w_capture accept", `(?m)^chain w_capture was changed\n  \+ accept # handle \d+$`, true},
	{"a rule is inserted", "insert rule inet weir REV_d_servers tcp dport 443 counter accept", `(?m)^chain REV_d_servers was changed\n  \+ meta l4proto == 0x06 transport header 2\+2 == 0x01bb counter accept # handle \d+$`, true},
	{"a chain is flushed", "flush chain inet weir REV_d_servers", `(?m)^chain REV_d_servers was changed\n  - jump w_unblocks\n`, true},
	{"a rule is replaced", "REPLACE", `(?m)^chain REV_d_servers was changed\n  - .*\n  \+ accept # handle`, true},
	{"an element is deleted", "delete element inet weir REV_m { 02:00:5e:10:00:07 }", `(?m)^map REV_m was changed\n  - 02:00:5e:10:00:07 : goto REV_g_doorbell$`, true},
	{"an element is exchanged", "delete element inet weir REV_m { 02:00:5e:10:00:07 }; add element inet weir REV_m { 02:00:5e:10:00:08 : accept }",
		`(?m)^map REV_m was changed\n  - 02:00:5e:10:00:07 : goto REV_g_doorbell\n  \+ 02:00:5e:10:00:08 : accept$`, false},
	{"a range is deleted", "delete element inet weir REV_4 { 10.20.40.0/24 }", `(?m)^map REV_4 was changed\n  - 10.20.40.0/24 : goto REV_g_cameras$`, false},
	{"a policy is changed", "chain inet weir w_base_f { policy drop; }", `(?m)^chain w_base_f was changed\n  - type filter hook forward priority 10; policy accept\n  \+ .*policy drop$`, true},
	{"a chain is added", "add chain inet weir mine; add rule inet weir mine accept", `(?m)^chain mine was added\n  \+ accept # handle`, true},
	{"a base chain is added", "add chain inet weir REV_zz { type filter hook forward priority 0; }", `(?m)^chain REV_zz was added\n  \+ type filter hook forward priority 0; policy accept`, true},
	{"a chain of the skeleton's kind is added", "add chain inet weir w_mine", `(?m)^chain w_mine was added`, true},
	{"a set is added", "add set inet weir mine { type ipv4_addr; }", `(?m)^set mine was added`, true},
	{"the unblocks let everything pass", "add rule inet weir w_unblocks accept", `(?m)^chain w_unblocks was changed\n  \+ accept`, true},
	{"the unblocks look into another set", `add rule inet weir w_unblocks ip saddr @w_quar4 accept comment "e1"`, `(?m)^chain w_unblocks was changed\n  \+ .*@w_quar4 accept`, true},
	{"a chain and all that leads to it are deleted", "flush chain inet weir w_la_servers; flush chain inet weir w_a_servers; delete chain inet weir w_la_servers", `(?m)^chain w_la_servers is gone$`, true},
	{"a base chain is moved", "delete chain inet weir w_base_f; add chain inet weir w_base_f { type filter hook forward priority 20; }; add rule inet weir w_base_f jump w_main_f",
		`(?m)^chain w_base_f was changed\n  - .*priority 10; policy accept\n  \+ .*priority 20; policy accept$`, true},
	{"a base chain is deleted", "delete chain inet weir w_base_f", `(?m)^chain w_base_f is gone$`, true},
	{"a set is made anew, of another kind", "flush chain inet weir w_spare; delete set inet weir w_nospare4; add set inet weir w_nospare4 { type ipv4_addr; }", `(?m)^set w_nospare4 was changed\n  - key type`, true},
	{"the marker is emptied", "flush map inet weir w_marker", `(?m)^map w_marker was changed\n(.*\n)*  - layout`, true},
	{"two chains that lead to each other are added", "add chain inet weir one; add chain inet weir two; add rule inet weir one goto two; add rule inet weir w_capture jump one",
		`(?m)^chain one was added\n  \+ goto two`, true},
	{"the table is dormant", "add table inet weir { flags dormant; }", `^the table is dormant: nothing in it filters$`, true},
	{"a group goes elsewhere", "add element inet weir w_g_servers { ipv4 : accept }", `(?m)^map w_g_servers was changed\n  \+ accept`, true},
	{"stable leads into the middle", "flush map inet weir w_stable_f; add element inet weir w_stable_f { ipv4 : goto REV_g_guests, ipv6 : goto REV_g_guests }",
		`(?m)^map w_stable_f was changed\n  \+ goto REV_g_guests`, true},
}

func (c *changed) apply(t testing.TB, n *netns.NS) {
	script := strings.ReplaceAll(c.script, "REV", c.id)
	if script == "REPLACE" {
		list := nftIn(t, n, "", "-a", "list", "chain", "inet", "weir", c.id+"_d_servers")
		handle := regexp.MustCompile(`(?m)drop # handle (\d+)$`).FindAllStringSubmatch(list, -1)
		script = "replace rule inet weir " + c.id + "_d_servers handle " + handle[len(handle)-1][1] + " accept"
	}
	nftIn(t, n, script, "-f", "-")
}

type changed struct{ id, script string }

func TestCompareSeesEveryChange(t *testing.T) {
	ctx := context.Background()
	for _, row := range changes {
		t.Run(row.name, func(t *testing.T) {
			n, k := newNS(t)
			rev := office(t)
			must(t, k.Load(ctx, rev))
			must(t, k.Rollback(ctx, nft.Rollback{ID: rev.ID, Entry: rev.Entry, Hooks: []string{"f", "o", "n"}, Tx: "a", Kind: nft.TxRollback}))
			w := want(t, nil, rev)
			(&changed{rev.ID, row.script}).apply(t, n)
			full := strings.Join(drifted(t, k, w, true), "\n")
			if !regexp.MustCompile(strings.ReplaceAll(row.say, "REV", rev.ID)).MatchString(full) {
				t.Errorf("said:\n%s", full)
			}
			if quick := drifted(t, k, w, false); (len(quick) > 0) != row.exact {
				t.Errorf("without elements: %v", quick)
			}
			diffs, _, err := k.Compare(ctx, w, true)
			must(t, err)
			must(t, k.Repair(ctx, w, diffs, "mend"))
			if after := drifted(t, k, w, true); after != nil {
				t.Errorf("repaired, and differs:\n%s", strings.Join(after, "\n"))
			}
			look, err := k.Look(ctx)
			must(t, err)
			if id, ok := nft.One(look.Stable); look.Tx != "mend" || id != rev.ID || !ok {
				t.Errorf("repaired, and the table says %+v", look)
			}
		})
	}
}

// BenchmarkCompare compares a revision of so many elements, or of so many
// groups, with what the kernel holds: every element, and without reading them.
func BenchmarkCompare(b *testing.B) {
	for _, c := range []struct {
		name string
		rev  func(b *testing.B) nft.Revision
	}{
		{"elements=1000", func(b *testing.B) nft.Revision { return exact(b, idA, 1000, 10) }},
		{"elements=100000", func(b *testing.B) nft.Revision { return exact(b, idA, 100000, 100) }},
		{"groups=1000", func(b *testing.B) nft.Revision { return exact(b, idA, 2000, 1000) }},
	} {
		for _, elements := range []bool{true, false} {
			b.Run(c.name+map[bool]string{true: "/whole", false: "/quick"}[elements], func(b *testing.B) {
				_, k := newNS(b)
				rev := c.rev(b)
				must(b, k.Load(context.Background(), rev))
				w := want(b, nil, rev)
				for b.Loop() {
					if got := drifted(b, k, w, elements); got != nil {
						b.Fatal(got)
					}
				}
			})
		}
	}
}
