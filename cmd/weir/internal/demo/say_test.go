package demo

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"weir", "daemon", "&"}, "weir daemon &"},
		{[]string{"kill", "-9", "$!"}, "kill -9 $!"},
		{[]string{"weir", "unblock", "--to", "2001:db8::/64", "--reason", "it's $HOME"}, `weir unblock --to 2001:db8::/64 --reason 'it'\''s $HOME'`},
		{[]string{"weir", ""}, "weir ''"},
	} {
		if got := quoteAll(c.args); got != c.want {
			t.Errorf("%q: got %s, want %s", c.args, got, c.want)
		}
	}
}

func TestPicks(t *testing.T) {
	table := []string{"ID  GROUP  OPEN", "a   desks  1", "b   mail   2"}
	for name, c := range map[string]struct {
		p    pick
		want []string
	}{
		"everything": {everything, table},
		"first":      {first(2), table[:2]},
		"matching":   {matching("^ID|mail"), []string{table[0], table[2]}},
		"before":     {before("OPEN", matching("^ID|mail")), []string{"ID  GROUP  ", "b   mail   "}},
		"no column":  {before("NONE", everything), table},
	} {
		if got := c.p(table); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if got := c.p(nil); len(got) > 0 {
			t.Errorf("%s of nothing: %q", name, got)
		}
	}
}

// What does not fit ends in "…", so that nobody takes a part for the whole;
// colours add nothing that the words do not say.
func TestTeller(t *testing.T) {
	long := strings.Repeat("ü", 200)
	var plain, colour bytes.Buffer
	for _, x := range []*teller{{out: &plain, width: 80}, {out: &colour, width: 80, colour: true}} {
		x.scene(1, "title", "words")
		x.typed([]string{"weir", "status"})
		x.answer([]string{long, "short  "})
		x.packet(talk{"camera", "tcp/443", web}, denied)
	}
	if want := "      " + strings.Repeat("ü", 73) + "…\n      short\n"; !strings.Contains(plain.String(), want) {
		t.Errorf("got\n%s, want in it\n%s", &plain, want)
	}
	if strings.Contains(plain.String(), "\x1b") {
		t.Error("escapes without colour")
	}
	text := colour.String()
	for _, code := range []string{"0", bold, dim, green, cyan} {
		text = strings.ReplaceAll(text, "\x1b["+code+"m", "")
	}
	if text != plain.String() {
		t.Errorf("in colour\n%s\nwithout\n%s", text, &plain)
	}
}
