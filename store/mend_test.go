package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"weir/phases"
)

func TestMendJournal(t *testing.T) {
	dir := auditFixture(t, 6)
	path := filepath.Join(dir, "journal.db")
	if _, err := MendJournal(dir); err == nil || !strings.Contains(err.Error(), "lacks nothing") {
		t.Fatal(err)
	}
	holds := func(what string) {
		t.Helper()
		if p := verified(t, dir); p != nil {
			t.Fatalf("%s: %s", what, words(p))
		}
		j, l := openAudit(t, dir)
		defer closeAudit(t, j, l)
		if err := l.Err(); err != nil {
			t.Fatal(what, err)
		}
		if r, err := j.Append(phases.Record{Kind: phases.Noted, At: at, Words: what}); err != nil || int(r.Seq) != len(mustTexts(t, j)) {
			t.Fatal(what, r.Seq, err)
		}
		if err := l.Follow(); err != nil {
			t.Fatal(what, err)
		}
	}
	rewrite(t, dir, func(b *bolt.Bucket) error {
		return errors.Join(b.Delete(recordKey(6)), b.Delete(recordKey(5)), b.SetSequence(4))
	})
	if n, err := MendJournal(dir); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	holds("the end came back")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if n, err := MendJournal(dir); n != 7 || err != nil {
		t.Fatal(n, err)
	}
	holds("all of it came back")

	rewrite(t, dir, func(b *bolt.Bucket) error {
		return errors.Join(b.Delete(recordKey(8)), b.Put(recordKey(3), seal(recordKey(3), []byte(`{"seq":3}`))))
	})
	if _, err := MendJournal(dir); !errors.Is(err, ErrAudit) || !strings.Contains(err.Error(), "record 3 of the audit log is not record 3") {
		t.Fatal("a journal that says something else was added to:", err)
	}
}

func mustTexts(t *testing.T, j *Journal) [][]byte {
	t.Helper()
	texts, err := j.Texts()
	if err != nil {
		t.Fatal(err)
	}
	return texts
}
