package kernel_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/nft"
)

var marks = regexp.MustCompile(`(?s)(map w_marker \{[^}]*?)\n\t\telements = \{[^}]*\}`)

// blocks are the objects of a listing in the order of their names.
func blocks(listing string) []string {
	listing = marks.ReplaceAllString(listing, "$1")
	b := strings.SplitAfter(listing, "\n\t}\n")
	for i := range b {
		b[i] = strings.TrimLeft(b[i], "\n")
	}
	slices.Sort(b)
	return b
}

// What Load writes lists as what "nft -f" makes of the same revision's text.
func TestLoadEqualsText(t *testing.T) {
	rev := office(t)
	a, ka := newNS(t)
	must(t, ka.Load(context.Background(), rev))
	got := nftIn(t, a, "", "-s", "list", "table", "inet", "weir")
	b, _ := newNS(t)
	nftIn(t, b, rev.Skeleton.String(), "-f", "-")
	nftIn(t, b, rev.Ruleset.String(), "-f", "-")
	want := nftIn(t, b, "", "-s", "list", "table", "inet", "weir")
	if d := cmp.Diff(blocks(want), blocks(got)); d != "" {
		t.Errorf("nft -f (-) and Load (+) differ:\n%s", d)
	}
}

// What a load that was cut short leaves is removed and loaded again; a load of
// what is loaded changes nothing at all.
func TestLoadAfterHalfALoad(t *testing.T) {
	ctx := context.Background()
	n, k := newNS(t)
	rev := office(t)
	must(t, k.Load(ctx, rev))
	list := func() string { return nftIn(t, n, "", "-s", "list", "table", "inet", "weir") }
	want := list()
	gen, err := k.Gen(ctx)
	must(t, err)
	must(t, k.Load(ctx, rev))
	if again, err := k.Gen(ctx); err != nil || again != gen {
		t.Errorf("a second load moved the generation from %d to %d (%v)", gen, again, err)
	}
	set := ""
	for _, s := range rev.Ruleset.Sets {
		if len(s.Elements) > 1 && !s.Interval && s.Data == "" {
			set = s.Name
		}
	}
	damage := map[string]string{
		"the marker forgot the revision":  "delete element inet weir w_marker { " + rev.ID + " }",
		"the marker forgot a set":         "delete element inet weir w_marker { " + rev.ID + " }; delete element inet weir w_marker { " + set + " }",
		"the marker forgot everything":    "flush map inet weir w_marker",
		"a chain lost its rules":          "flush chain inet weir " + rev.ID + "_f",
		"a chain of the skeleton did":     "flush chain inet weir w_main_f",
		"a base chain did":                "flush chain inet weir w_base_f",
		"the marker lost its first entry": `delete element inet weir w_marker { "layout" }`,
	}
	for what, cmd := range damage {
		nftIn(t, n, cmd, "-f", "-")
		must(t, k.Load(ctx, rev))
		if d := cmp.Diff(blocks(want), blocks(list())); d != "" {
			t.Errorf("%s, after loading again (+):\n%s", what, d)
		}
		look, err := k.Look(ctx)
		if err != nil || !slices.Equal(look.Loaded, []string{rev.ID}) {
			t.Errorf("%s: loaded %v, %v", what, look.Loaded, err)
		}
	}
}

// Elements that went missing are noticed, never believed to be there.
func TestStory24LoadNoticesLostElements(t *testing.T) {
	ctx := context.Background()
	n, k := newNS(t)
	rev := narrow(t, idA)
	must(t, k.Load(ctx, rev))
	nftIn(t, n, "flush set inet weir "+rev.Ruleset.Sets[0].Name, "-f", "-")
	must(t, k.Load(ctx, rev))
	if l := nftIn(t, n, "", "list", "set", "inet", "weir", rev.Ruleset.Sets[0].Name); !strings.Contains(l, "1001") {
		t.Errorf("load over a flushed set left\n%s", l)
	}
	// Where another revision uses it, it is not taken away under it.
	other := wide(t, idB)
	other.Ruleset.Sets = rev.Ruleset.Sets[:1]
	other.Ruleset.Chains[0].Rules = append(rev.Ruleset.Chains[1].Rules[3:4:4], other.Ruleset.Chains[0].Rules...)
	must(t, k.Load(ctx, other))
	nftIn(t, n, "flush set inet weir "+rev.Ruleset.Sets[0].Name, "-f", "-")
	if err := k.Load(ctx, rev); err == nil || !strings.Contains(err.Error(), "0 elements instead of 2") {
		t.Errorf("load over a flushed set in use: %v", err)
	}
}

// Release keeps what is named, on trial or stable, and shared sets.
func TestRelease(t *testing.T) {
	ctx := context.Background()
	n, k := newNS(t)
	a, b, off := narrow(t, idA), wide(t, idB), office(t)
	b.Ruleset.Sets = append(b.Ruleset.Sets, a.Ruleset.Sets[0])
	b.Ruleset.Chains[0].Rules = append(a.Ruleset.Chains[1].Rules[3:4:4], b.Ruleset.Chains[0].Rules...)
	for _, r := range []struct{ r int }{{0}, {1}, {2}} {
		must(t, k.Load(ctx, []nft.Revision{a, b, off}[r.r]))
	}
	must(t, k.Arm(ctx, nft.Arm{ID: idB, Entry: b.Entry, Tx: "t", Lease: time.Minute}))
	must(t, k.Release(ctx, []string{off.ID}))
	look, err := k.Look(ctx)
	must(t, err)
	if !slices.Equal(look.Loaded, sorted(idB, off.ID)) {
		t.Errorf("loaded after the release: %v", look.Loaded)
	}
	text := nftIn(t, n, "", "list", "table", "inet", "weir")
	if strings.Contains(text, "chain "+idA) || strings.Contains(text, a.Ruleset.Sets[1].Name) || !strings.Contains(text, a.Ruleset.Sets[0].Name) {
		t.Errorf("after the release:\n%s", text)
	}
	must(t, k.Release(ctx, nil))
	if look, err = k.Look(ctx); err != nil || !slices.Equal(look.Loaded, []string{idB}) {
		t.Errorf("loaded after the second release: %v, %v", look.Loaded, err)
	}
	must(t, k.Load(ctx, a))
	must(t, k.Load(ctx, off))
}

func sorted(s ...string) []string { slices.Sort(s); return s }

// Other tables stay as they are, through everything that weir does.
func TestForeignTablesStay(t *testing.T) {
	ctx := context.Background()
	n, k := newNS(t)
	nftIn(t, n, `table ip other {
		set s { type ipv4_addr; elements = { 192.0.2.1 } }
		chain c { type filter hook forward priority 0; policy accept; ip saddr @s counter drop; }
	}
	table inet weird { chain w_main_f { counter
 }
 }`, "-f", "-")
	foreign := func() string {
		return nftIn(t, n, "", "list", "table", "ip", "other") + nftIn(t, n, "", "list", "table", "inet", "weird")
	}
	before := foreign()
	a := narrow(t, idA)
	must(t, k.Probe(ctx))
	must(t, k.Load(ctx, a))
	must(t, k.Arm(ctx, nft.Arm{ID: idA, Entry: a.Entry, Tx: "a", Lease: time.Minute}))
	must(t, k.Confirm(ctx, nft.Confirm{ID: idA, Entry: a.Entry, Tx: "c"}))
	must(t, k.AddException(ctx, exception("e1", "ipv6", "", time.Minute)))
	must(t, k.Rollback(ctx, nft.Rollback{Hooks: []string{"f"}, Tx: "r", Kind: nft.TxRollback}))
	must(t, k.Release(ctx, nil))
	must(t, k.Remove(ctx))
	must(t, k.Remove(ctx))
	if after := foreign(); after != before {
		t.Errorf("other tables changed:\n%s\nto\n%s", before, after)
	}
	if tables := nftIn(t, n, "", "list", "tables"); strings.Contains(tables, "inet weir\n") || strings.Contains(tables, "weir_probe") {
		t.Errorf("left over: %s", tables)
	}
}

func TestSetCounters(t *testing.T) {
	ctx := context.Background()
	l := newLab(t)
	a := narrow(t, idA)
	l.step(a, "", "t")
	l.answers("tcp", good, true)
	for _, s := range a.Ruleset.Sets {
		c, err := l.SetCounters(ctx, s.Name)
		must(t, err)
		used := 0
		for _, e := range c {
			if e.Packets > 0 && e.Bytes > 0 {
				used++
			}
		}
		if len(c) != 2 || used != 1 {
			t.Errorf("%s: %+v, want one of two elements used", s.Name, c)
		}
	}
}
