package kernel_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
