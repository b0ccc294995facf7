package nft_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/nft"
)

// Parse never panics; what it accepts prints as a text that is read back to
// itself; a mistake has a place.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.nft")
	if err != nil || len(files) == 0 {
		f.Fatal("no texts in testdata", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	for _, m := range mistakes {
		f.Add(m.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := nft.Parse(text)
		if err != nil {
			var at *nft.ParseError
			if !errors.As(err, &at) || at.Line < 1 || at.Col < 1 || at.Line > 1+strings.Count(text, "\n") {
				t.Fatalf("a mistake without a place: %v", err)
			}
			return
		}
		canon := r.String()
		again, err := nft.Parse(canon)
		if err != nil {
			t.Fatalf("%v\nof its own text:\n%s", err, canon)
		}
		if got := again.String(); got != canon {
			t.Fatalf("text:\n%s\nread back and printed:\n%s", canon, got)
		}
	})
}

var mistakes = []struct{ text, want string }{
	{"x", `1:1: want "table", found "x"`},
	{"table ip weir {\n}\n", `1:10: the family is "ip": only inet is known`},
	{"table inet weir {\n", `2:1: want counter, set, map, chain or }, found the end of text`},
	{"table inet weir {\n}\nmore", `3:1: want the end of the text, found "more"`},
	{"table inet weir {\n\tset s {\n\t\ttype ipv5_addr\n", `3:8: want a type of keys, found "ipv5_addr"`},
	{"table inet weir {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1/8 }\n\t}\n}", `4:16: want a value of type ipv4_addr, found "10.0.0.1/8"`},
	{"table inet weir {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.0/8 }\n\t}\n}", `4:16: a range in a set without the flag interval`},
	{"table inet weir {\n\tset s {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = { 10.0.0.9-10.0.0.1 }\n\t}\n}", `want a value of type ipv4_addr`},
	{"table inet weir {\n\tset s {\n\t\ttype inet_service\n\t\telements = { 65536 }\n\t}\n}", `want a value of type inet_service`},
	{"table inet weir {\n\tset s {\n\t\ttype mark\n\t\tsize 5\n\t\tsize 6\n\t}\n}", `5:3: this is written twice`},
	{"table inet weir {\n\tset s {\n\t\ttype mark\n\t\tflags timeout,timeout\n\t}\n}", `4:17: the flag timeout is written twice`},
	{"table inet weir {\n\tmap m {\n\t\ttype nf_proto : verdict\n\t\telements = { ipv4 }\n\t}\n}", `4:21: want ":", found "}"`},
	{"table inet weir {\n\tmap m {\n\t\ttype ifname : mark\n\t\telements = { lo : 1 }\n\t}\n}", `want an interface's name in double quotes, found "lo"`},
	{"table inet weir {\n\tset s {\n\t\ttype ifname\n\t\telements = { \"w*\" }\n\t}\n}", `"w*" is no interface's name`},
	{"table inet weir {\n\tchain c {\n\t\taccept accept2\n\t}\n}", `3:10: want a statement or a field that is known, found "accept2"`},
	{"table inet weir {\n\tchain c {\n\t\tip saddr @\n\t}\n}", `want @ and the name of a set, found "@"`},
	{"table inet weir {\n\tchain c {\n\t\tct state established,brandnew accept\n\t}\n}", `"established,brandnew" is no mask of ct state`},
	{"table inet weir {\n\tchain c {\n\t\tct state . ip saddr @s\n\t}\n}", `a bit mask (ct_state) cannot be part of a concatenation`},
	{"table inet weir {\n\tchain c {\n\t\tlog prefix \"open group 1\n\t}\n}", `3:14: want the prefix in double quotes`},
	{"table inet weir {\n\tchain c {\n\t\taccept comment bare\n\t}\n}", `want the comment in double quotes`},
	{"table inet weir {\n\tchain c {\n\t\tlimit rate 0/second\n\t}\n}", `want a rate as 50/second`},
	{"table inet weir {\n\tchain c {\n\t\treject with anger\n\t}\n}", `want tcp reset, icmpx`},
	{"table inet weir {\n\tchain c {\n\t\tjump 9\n\t}\n}", `"9" is no name`},
	{"table inet weir {\n\tchain c {\n\t\ttype filter hook forward priority filter; policy accept;\n\t}\n}", `want the priority as a number`},
	{"table inet weir {\n\tchain c {\n\t\ttype filter hook forward priority 10; policy drop;\n\t}\n}", `want "accept", found "drop"`},
	{"table inet weir {\n\tset s {\n\t\ttype ipv4_addr\n\t\ttimeout 1m1h\n\t}\n}", `want a time as 1d2h3m4s5ms, found "1m1h"`},
}

func TestMistakesHaveAPlace(t *testing.T) {
	for _, m := range mistakes {
		_, err := nft.Parse(m.text)
		if err == nil || !strings.Contains(err.Error(), m.want) {
			t.Errorf("text:\n%s\ngot  %v\nwant %s", m.text, err, m.want)
		}
	}
}
