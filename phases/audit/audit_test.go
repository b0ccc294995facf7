package audit

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var at = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func newKey(t testing.TB) Key {
	t.Helper()
	text, err := NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func leaf(n int) []byte { return fmt.Appendf(nil, `{"seq":%d,"words":"w%d"}`, n, n) }

// The root is that of RFC 6962, by its own definition.
func TestRootIsRFC6962(t *testing.T) {
	var mth func(d [][]byte) [32]byte
	mth = func(d [][]byte) [32]byte {
		switch len(d) {
		case 0:
			return sha256.Sum256(nil)
		case 1:
			return sha256.Sum256(append([]byte{0}, d[0]...))
		}
		k := 1
		for k*2 < len(d) {
			k *= 2
		}
		l, r := mth(d[:k]), mth(d[k:])
		return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
	}
	rapid.Check(t, func(t *rapid.T) {
		leaves := rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 0, 70).Draw(t, "leaves")
		var tree Tree
		for _, l := range leaves {
			tree.Append(l)
		}
		for n := range len(leaves) + 1 {
			want := fmt.Sprintf("sha256:%x", mth(leaves[:n]))
			if got, err := tree.RootAt(uint64(n)); err != nil || got != want {
				t.Fatalf("of %d leaves: %s, %v; want %s", n, got, err, want)
			}
		}
		if tree.Root() != fmt.Sprintf("sha256:%x", mth(leaves)) {
			t.Fatal("Root is not RootAt(Size)")
		}
		if _, err := tree.RootAt(uint64(len(leaves)) + 1); err == nil {
			t.Fatal("a root of leaves that are not there")
		}
	})
}

func TestKeygenVerifiesCheckpoints(t *testing.T) {
	key := newKey(t)
	s, err := Sign(Checkpoint{Machine: "m1", Size: 7, Root: Leaf([]byte("x")), At: at.Add(time.Millisecond)}, key)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseLine(s.Line())
	if err != nil || !bytes.Equal(back.Text(), s.Text()) || back.Verify(key.PublicKey()) != nil {
		t.Fatal(back, err)
	}
	if err := s.Verify(newKey(t).PublicKey()); !errors.Is(err, ErrSignature) {
		t.Fatal("another key:", err)
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{"allowed": []byte(Allowed(key.PublicKey(), Version)), "sig": back.Armoured()} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify := func(text []byte) error {
		c := exec.Command("ssh-keygen", "-Y", "verify", "-n", Version, "-f", "allowed", "-I", "machine", "-s", "sig")
		c.Dir, c.Stdin = dir, bytes.NewReader(text)
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := verify(s.Text()); err != nil {
		t.Fatal(err)
	}
	if verify(bytes.Replace(s.Text(), []byte("size: 7"), []byte("size: 8"), 1)) == nil {
		t.Fatal("ssh-keygen takes another text")
	}
	public, err := ParsePublic(Allowed(key.PublicKey(), Version))
	if err != nil || PublicText(public) != PublicText(key.PublicKey()) {
		t.Fatal(err)
	}
	if _, err := SignText(Version, s.Text(), key); err == nil {
		t.Fatal("a text of another kind can be signed as a checkpoint")
	}
}

// A byte changed anywhere in a checkpoint's line makes it none, or one that the
// key did not sign.
func TestEveryByteOfACheckpointCounts(t *testing.T) {
	key := newKey(t)
	s, err := Sign(Checkpoint{Machine: "m1", Size: 7, Root: Leaf([]byte("x")), At: at}, key)
	if err != nil {
		t.Fatal(err)
	}
	line := s.Line()
	for i := range line {
		for bit := range 8 {
			bad := []byte(line)
			bad[i] ^= 1 << bit
			c, err := ParseLine(string(bad))
			if err == nil && c.Verify(key.PublicKey()) == nil {
				t.Fatalf("byte %d: %s", i, bad)
			}
		}
	}
}

func TestOneForm(t *testing.T) {
	s, err := Sign(Checkpoint{Machine: "m1", Size: 7, Root: Leaf(nil), At: at}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	for old, new := range map[string]string{" 7 ": " 07 ", "08:00:00Z": "08:00:00.0Z", "00Z ": "00+00:00 ", "m1 ": "m1  "} {
		if _, err := ParseLine(strings.Replace(s.Line(), old, new, 1)); !errors.Is(err, ErrForm) {
			t.Errorf("%q for %q: %v", new, old, err)
		}
	}
}

func TestCheckNames(t *testing.T) {
	key := newKey(t)
	var leaves [][]byte
	var lines []string
	var tree Tree
	for n := 1; n <= 6; n++ {
		leaves = append(leaves, leaf(n))
		tree.Append(leaf(n))
		if n%2 == 0 {
			s, err := Sign(Checkpoint{Machine: "m1", Size: tree.Size(), Root: tree.Root(), At: at}, key)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, s.Line())
		}
	}
	if r := Check(leaves, lines, key.PublicKey()); len(r.Problems) > 0 || r.Checkpoints != 3 || r.Signed != 6 || r.Root != tree.Root() {
		t.Fatalf("%+v", r)
	}
	with := func(i int, l []byte) [][]byte {
		out := append([][]byte{}, leaves...)
		out[i] = l
		return out
	}
	for name, c := range map[string]struct {
		leaves [][]byte
		record uint64
		want   string
	}{
		"changed":     {with(2, []byte(`{"seq":3,"words":"x"}`)), 3, "one of the records 3 to 4 was changed"},
		"no record":   {with(2, []byte(`{}`)), 3, "record 3 of the log cannot be read"},
		"no JSON":     {with(2, nil), 3, "record 3 of the log cannot be read"},
		"cut off":     {leaves[:5], 6, "records 6 to 6 were dropped"},
		"nothing":     {nil, 1, "records 1 to 6 were dropped"},
		"put in":      {append(leaves[:3:3], append([][]byte{leaf(3)}, leaves[3:]...)...), 4, "in place 4 stands record 3 again"},
		"dropped":     {append(leaves[:1:1], leaves[2:]...), 2, "record 2 of the log was dropped"},
		"moved":       {[][]byte{leaf(1), leaf(4), leaf(3), leaf(2), leaf(5), leaf(6)}, 2, "stands in place 4"},
		"first moved": {[][]byte{leaf(2), leaf(1), leaf(3), leaf(4), leaf(5), leaf(6)}, 1, "record 1 of the log was moved"},
	} {
		r := Check(c.leaves, lines, key.PublicKey())
		found := false
		for _, p := range r.Problems {
			found = found || p.Record == c.record && strings.Contains(p.Words, c.want)
		}
		if !found {
			t.Errorf("%s: want record %d and %q in %+v", name, c.record, c.want, r.Problems)
		}
	}
	if r := Check(leaves, lines, newKey(t).PublicKey()); len(r.Problems) != 3 {
		t.Errorf("checkpoints of another key: %+v", r.Problems)
	}
}

func FuzzParseLine(f *testing.F) {
	s, err := Sign(Checkpoint{Machine: "m1", Size: 7, Root: Leaf(nil), At: at}, newKey(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Line())
	f.Add(Version + " - 1 " + Leaf(nil) + " 2026-03-01T08:00:00Z U1NIU0lH")
	f.Add(Version + " m 18446744073709551615 x y z")
	f.Fuzz(func(t *testing.T, line string) {
		s, err := ParseLine(line)
		switch {
		case err != nil && !errors.Is(err, ErrForm):
			t.Fatal(err)
		case err == nil && s.Line() != line:
			t.Fatalf("%q was read from %q", s.Line(), line)
		}
	})
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"seq":1}`+"\n"+`{"seq":2}`), []byte(`{"seq":1}`), "x")
	f.Add([]byte(`{"seq":18446744073709551615}`), []byte("\n\n"), Version)
	key := newKey(f).PublicKey()
	f.Fuzz(func(t *testing.T, log, journal []byte, line string) {
		leaves, texts := bytes.Split(log, []byte("\n")), bytes.Split(journal, []byte("\n"))
		r := Check(leaves, []string{line}, key)
		if len(r.Problems) == 0 {
			t.Fatalf("%q is no checkpoint of this key", line)
		}
		if same := bytes.Equal(log, journal); same != (diffs(leaves, texts) == "") {
			t.Fatalf("equal %v, and found %v", same, diffs(leaves, texts))
		}
	})
}

func diffs(leaves, texts [][]byte) string {
	words, _ := Differ(leaves, texts)
	return words
}

func FuzzParsePublic(f *testing.F) {
	f.Add(Allowed(newKey(f).PublicKey(), Version))
	f.Add("ssh-ed25519 AAAA")
	f.Fuzz(func(t *testing.T, line string) { _, _ = ParsePublic(line) })
}
