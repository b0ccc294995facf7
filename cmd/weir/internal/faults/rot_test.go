package faults

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/phases"
	"weir/store"
)

const page = 4096

// rot is what disks, crashes and people do to a database.
var rot = []struct {
	name    string
	do      func(r *rand.Rand, data []byte) []byte
	refused bool // the file must not be opened; else it may be
}{
	{"zero length", func(*rand.Rand, []byte) []byte { return nil }, true},
	{"one page", func(_ *rand.Rand, d []byte) []byte { return d[:page] }, true},
	{"truncated", func(r *rand.Rand, d []byte) []byte { return d[:r.IntN(len(d))] }, false},
	{"first meta page", func(r *rand.Rand, d []byte) []byte { return noise(r, d, 0, page) }, false},
	{"second meta page", func(r *rand.Rand, d []byte) []byte { return noise(r, d, page, 2*page) }, false},
	{"both meta pages", func(r *rand.Rand, d []byte) []byte { return noise(r, d, 0, 2*page) }, true},
	{"a random page", func(r *rand.Rand, d []byte) []byte {
		n := 2 + r.IntN(len(d)/page-2)
		return noise(r, d, n*page, (n+1)*page)
	}, false},
	{"random bytes", func(r *rand.Rand, d []byte) []byte {
		for range 1 + r.IntN(20) {
			d[r.IntN(len(d))] ^= byte(1 + r.IntN(255))
		}
		return d
	}, false},
	{"something else", func(*rand.Rand, []byte) []byte { return []byte(strings.Repeat("not a database\n", 2000)) }, true},
}

func noise(r *rand.Rand, d []byte, from, to int) []byte {
	for i := from; i < min(to, len(d)); i++ {
		d[i] = byte(r.Uint32())
	}
	return d
}

// replace writes a file of its own: where bbolt panics in the middle of opening,
// the old one stays locked until the process ends.
func replace(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func damage(t testing.TB, path string, do func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, path, do(data))
}

// TestRottenJournal: a damaged journal is refused with a word, or what is left
// of it is brought together with the kernel. It never changes what packets
// meet, and the way back from plain files works.
func TestRottenJournal(t *testing.T) {
	t.Parallel()
	r := seed(t)
	for _, before := range []string{"apply drill to:enforce/block:desks", "apply drill to:enforce/block:desks req ok arm"} {
		g := newGround(t, false, nil)
		w := newWorld(t, g, time.Hour)
		w.run(before)
		records := encoded(t, w.m)
		w.stop()
		journal := filepath.Join(w.dir, "journal.db")
		whole, err := os.ReadFile(journal)
		if err != nil {
			t.Fatal(err)
		}
		passed, held := g.passes(w), *g.(*imagined)
		opened, refused := 0, 0
		for _, row := range rot {
			for range bound(t, 12) {
				g.(*imagined).Kernel = held.Kernel
				replace(t, journal, row.do(r, append([]byte(nil), whole...)))
				err := w.open()
				if err != nil {
					refused++
					if !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrVersion) && !strings.Contains(err.Error(), "a newer weir wrote it") &&
						!strings.Contains(err.Error(), "cannot read") {
						t.Fatalf("%s: refused without a word of what is wrong: %v", row.name, err)
					}
				} else {
					opened++
					if row.refused {
						t.Fatalf("%s: it was opened as if nothing were wrong", row.name)
					}
					if left := encoded(t, w.m); len(left) < len(records)-1 || !slices.Equal(left, records[:len(left)]) {
						t.Fatalf("%s: the journal says what was never written, %d records of %d", row.name, len(left), len(records))
					}
					_, err = w.m.Recover(ctx, w.now)
					if err != nil && !errors.Is(err, store.ErrDamaged) {
						t.Logf("%s: recovering: %v", row.name, err)
					}
					w.m.Status(w.now, facts(w.now))
					w.stop()
				}
				if got := g.passes(w); got != passed {
					t.Fatalf("%s: before %q was denied, now %q", row.name, passed, got)
				}
			}
		}
		t.Logf("%q: %d times opened, %d times refused", before, opened, refused)
		if opened == 0 || refused == 0 {
			t.Error("the damage is all of one kind")
		}
		if err := w.do("raw:off"); err != nil || g.passes(w) != "" {
			t.Errorf("the way back from plain files: %v, denied %q", err, g.passes(w))
		}
	}
}

// encoded are the journal's records as text.
func encoded(t testing.TB, m *phases.Machine) []string {
	t.Helper()
	records, err := m.History()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(line))
	}
	return out
}

// TestLostLastRecord: where one meta page is bad the database silently opens as
// it was one transaction earlier. Whatever the last record was, the kernel
// makes up for it: nothing that was confirmed is lost, and nothing is in force
// that nobody armed.
func TestLostLastRecord(t *testing.T) {
	t.Parallel()
	lost := 0
	for _, before := range []string{
		"apply drill to:enforce/alert req ok arm", "apply drill to:enforce/alert req ok arm yes", "apply drill to:enforce/block:desks back",
		"apply drill to:enforce/block:desks group:desks", "apply drill to:enforce/block:desks delete look", "apply drill to:enforce/block:desks delete restore",
		"apply drill to:enforce/block:desks hand look", "apply drill to:enforce/block:desks resume=", "apply drill to:enforce/block:desks req ok",
	} {
		before = strings.TrimSuffix(before, " resume=")
		for meta := range 2 {
			w := newWorld(t, newGround(t, false, nil), time.Hour)
			w.run(before)
			want := w.view()
			records, err := w.m.History()
			if err != nil {
				t.Fatal(err)
			}
			w.stop()
			damage(t, filepath.Join(w.dir, "journal.db"), func(d []byte) []byte {
				for i := meta*page + 16; i < meta*page+80; i++ {
					d[i] ^= 0xff
				}
				return d
			})
			w.start()
			left, err := w.m.History()
			if err != nil {
				t.Fatal(err)
			}
			if len(left) < len(records) {
				lost++
			}
			if len(left) < len(records)-1 {
				t.Errorf("%s: %d records of %d are left", before, len(left), len(records))
			}
			if _, err := w.m.Recover(ctx, w.now); err != nil {
				t.Fatal(err)
			}
			got := w.view()
			// A pause that was the last record comes back with what the kernel shows.
			if got.Step != want.Step || got.Trial != want.Trial || got.Back != want.Back || got.Denied != want.Denied || got.Gone != want.Gone {
				t.Errorf("%s, meta page %d, %d of %d records left:\nwas %+v\nis  %+v", before, meta, len(left), len(records), want, got)
			}
			w.holds()
			w.goesOn()
			w.stop()
		}
	}
	if lost == 0 {
		t.Error("no damage lost a record")
	}
}

// TestRottenEvidence: damaged evidence is refused with a word or read; it is
// apart from the journal, so the rollout is not in it.
func TestRottenEvidence(t *testing.T) {
	t.Parallel()
	r := seed(t)
	path := filepath.Join(folder(t), "evidence.db")
	s, err := store.OpenEvidence(path)
	if err != nil {
		t.Fatal(err)
	}
	var told []string // what was kept after each block
	for i := range 4 {
		if err := fillEvidence(s, i); err != nil {
			t.Fatal(err)
		}
		told = append(told, evidenceText(t, s))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, row := range rot {
		for range bound(t, 10) {
			replace(t, path, row.do(r, append([]byte(nil), whole...)))
			s, err := store.OpenEvidence(path)
			if err == nil {
				if row.refused {
					t.Fatalf("%s: it was opened as if nothing were wrong", row.name)
				}
				_, lerr := s.Load()
				if lerr == nil && !slices.Contains(told[len(told)-2:], evidenceText(t, s)) {
					t.Fatalf("%s: the evidence says what was never seen", row.name)
				}
				_, aerr := s.Answers()
				err = errors.Join(lerr, aerr, fillEvidence(s, 5))
				if cerr := s.Close(); cerr != nil {
					err = errors.Join(err, cerr)
				}
			}
			if err != nil {
				refused++
				if !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrVersion) {
					t.Errorf("%s: %v", row.name, err)
				}
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// TestRottenFrozenStep: a frozen step's file that was changed is never armed,
// and a rollback that cannot read its target opens.
func TestRottenFrozenStep(t *testing.T) {
	t.Parallel()
	r := seed(t)
	for range bound(t, 15) {
		w := newWorld(t, newGround(t, false, nil), time.Hour)
		w.run("apply drill to:enforce/alert req ok")
		d := w.m.State().Request.Digest
		file := filepath.Join(w.dir, "frozen", strings.TrimPrefix(d, "sha256:")+".json")
		damage(t, file, func(b []byte) []byte {
			if r.IntN(4) == 0 {
				return b[:r.IntN(len(b))]
			}
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
			return b
		})
		if err := w.do("arm"); !errors.Is(err, phases.ErrCorrupt) {
			t.Fatalf("armed a changed file: %v", err)
		}
		w.forget()
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if got := w.g.passes(w); got != "" {
			t.Fatalf("denied is %q", got)
		}
		w.run("req ok arm yes") // frozen again
		w.holds()
		w.stop()
	}
}
